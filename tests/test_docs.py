"""The documents: built strictly, asking nothing of other servers; reference, messages and YAML held to the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.projects import ROOT, write_params

from synthagent import records
from synthagent.cli import STAGES
from synthagent.frozen import Record
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.teacher.domains import Domain

DOCS = ROOT / "docs"
PAGES = tuple(path for path in sorted(DOCS.rglob("*.md")) if path.parent.name != "reference")
MESSAGES = re.findall(r"^### `(.+)`$", (DOCS / "how_to/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
BLOCKS = [
    (path.name, block)
    for path in PAGES
    for block in re.findall(r"^```yaml\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
]


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build as `make docs` does."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^docs: .*\n\tsphinx-build (.*) -d build/doctrees docs build/docs$", makefile, re.MULTILINE)
    assert found
    places = ["-d", str(out / "doctrees"), str(source), str(out / "html")]
    command = [sys.executable, "-m", "sphinx", *found.group(1).split(), *places]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    out = tmp_path_factory.mktemp("docs")
    done = build(DOCS, out)
    assert (done.returncode, done.stderr) == (0, "")
    return out / "html"


def test_every_page_is_built_and_stands_in_the_navigation(built: Path) -> None:
    index = (built / "index.html").read_text(encoding="utf-8")
    for path in PAGES:
        page = path.relative_to(DOCS).with_suffix(".html")
        assert (built / page).exists()
        assert page.name == "index.html" or f'href="{page.as_posix()}"' in index, page


def test_a_built_page_asks_nothing_of_other_servers(built: Path) -> None:
    asked = re.compile(r"""(?:\bsrc\s*=|<link[^>]*href\s*=|@import|url\()\s*['"]?((?:https?:)?//[^'")\s]+)""")
    files = [path for path in built.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > len(PAGES)
    assert asked.findall("<script src='//a.b/c'> <link rel=x href=\"https://d/e\"> url(http://f)") == [
        "//a.b/c",
        "https://d/e",
        "http://f",
    ]
    assert {url for path in files for url in asked.findall(path.read_text(encoding="utf-8"))} == set()


@pytest.mark.parametrize(
    ("text", "told"), [("[x](nowhere.md)\n", "nowhere.md"), ("[x](index.md#nothing)\n", "nothing")]
)
def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path, text: str, told: str) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    (source / "conf.py").write_text((DOCS / "conf.py").read_text().partition("def setup")[0])
    (source / "index.md").write_text(f"# A page\n\n{text}")
    done = build(source, tmp_path / "out")
    assert done.returncode == 1
    assert told in done.stderr


def test_the_reference_has_every_key_command_and_record_and_says_what_most_keys_mean(built: Path) -> None:
    pages = {name: (DOCS / "reference" / f"{name}.md").read_text() for name in ("params", "commands", "records")}

    def keys(kind: type[Record], given: object, prefix: str = "") -> Iterator[str]:
        for name in kind.model_fields:
            value = getattr(given, name)
            if isinstance(value, Record):
                yield from keys(type(value), value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"

    known = set(keys(Params, load_params(ROOT / "params.yaml")))
    rows = {
        row[0]: row
        for row in re.findall(r"^\| `([\w.\[\]]+)` \| (.*) \| (.*) \| (.*) \|$", pages["params"], re.MULTILINE)
    }
    assert known - rows.keys() == set()
    assert sum(not row[3].strip() for row in rows.values()) < len(rows) / 3
    assert {name for name in STAGES if f"## `synthagent {name}`" not in pages["commands"]} == set()
    rows_of = [kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, Record)]
    assert {kind.__name__ for kind in rows_of if f"### {kind.__name__}\n" not in pages["records"]} == {"Record"}


def texts_of_the_code() -> Iterator[str]:
    """Every text in the code; what an f-string fills in is `...`."""
    for folder in ("synthagent", "flows"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.JoinedStr(values=parts):
                        yield "".join(part.value if isinstance(part, ast.Constant) else "..." for part in parts)
                    case ast.Constant(value=str() as text):
                        yield text


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(texts_of_the_code())


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_troubleshooting_stands_in_the_code(message: str, texts: list[str]) -> None:
    parts = [re.escape(part) for part in message.split("...")]
    assert max(map(len, parts)) >= 10
    wanted = re.compile(r".*".join(parts), re.DOTALL)
    assert any(wanted.search(text) for text in texts)


def test_a_message_that_the_code_does_not_have_is_not_found(texts: list[str]) -> None:
    assert len(MESSAGES) > 30
    assert not any("the moon is made of cheese; eat less" in text for text in texts)


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_a_block_of_params_or_of_a_domain_is_valid(page: str, block: str, tmp_path: Path) -> None:
    given = yaml.safe_load(block)
    if "keywords" in given:
        Domain.model_validate(given)
        return
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    load_params(write_params(tmp_path, dict(laid_over(shipped, given))))


def laid_over(shipped: dict[str, Any], given: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys that a block sets, as `section.key`; a section that is not whole leaves the rest as it ships."""
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(shipped.get(key), dict):
            yield from laid_over(shipped[key], value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
