"""Tasks with rubrics -> a package for a trainer of others: of verifiers (and so prime-rl), or of OpenEnv.

The package is whole: tasks, rubrics and rules of the run, and of synthagent the modules that play and judge an episode,
copied under a name of its own. A trainer's environment cannot hold synthagent beside it: their pins exclude each other.

Launch: `synthagent export verifiers FOLDER`, `synthagent export openenv FOLDER`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from modulefinder import ModuleFinder
from pathlib import Path
from string import Template

from synthagent import __version__
from synthagent.exchange.files import CARD, dataset, mark, replaceable_folder, told
from synthagent.exchange.playable import Rules, read_playables
from synthagent.params import Params
from synthagent.records import Rubric, Task
from synthagent.stage import Paths
from synthagent.store import directory_written_atomically, read_keys, records_written

_SOURCE = Path(__file__).parents[1]
_TEMPLATES = Path(__file__).parent / "packages"
_IMPORT = re.compile(r"^(\s*(?:from|import) )synthagent\b", re.MULTILINE)
_DATA = ("tasks.parquet", "rubrics.parquet", "rules.json")


@dataclass(frozen=True, slots=True)
class PackageKind:
    """A kind of package. `files`: name of `packages/KIND-NAME.txt` -> place; `root`: the module that it starts from."""

    name: str
    package: str
    root: str
    files: Mapping[str, str]


_OPENENV = "synthagent_openenv"
KINDS: Mapping[str, PackageKind] = {
    kind.name: kind
    for kind in (
        PackageKind(
            "verifiers",
            "synthagent_verifiers",
            "synthagent.exchange.verifiers_env",
            {"pyproject": "pyproject.toml", "readme": CARD, "init": "synthagent_verifiers/__init__.py"},
        ),
        PackageKind(
            "openenv",
            _OPENENV,
            "synthagent.exchange.openenv_env",
            {
                "pyproject": "pyproject.toml",
                "readme": CARD,
                "manifest": "openenv.yaml",
                "dockerfile": "server/Dockerfile",
                "app": f"{_OPENENV}/server/app.py",
                "init": f"{_OPENENV}/__init__.py",
            },
        ),
    )
}


def export_package(name: str, out: Path, params: Params, data: Path = Paths.data) -> str:
    """Write the package of a kind, and say how many tasks are in it.

    Raises:
        InputError: `out` holds something else, or no task can be played by code alone.
        StoreError: a dataset is missing, or of another version; names the stage that writes it.
    """
    kind = KINDS[name]
    made_by_use = (p for p in out.rglob("*") if "__pycache__" in p.parts or f"{kind.package}/core/" in p.as_posix())
    ours = [*kind.files.values(), *(f"{kind.package}/{file}" for file in _DATA)]
    target = replaceable_folder(out, name, [*ours, *(p.relative_to(out).as_posix() for p in made_by_use)])
    tasks, rubrics = dataset(data, "tasks"), dataset(data, "rubrics")
    rules = Rules(max_turns=params.episode.max_turns, reward=params.reward)
    counts: Counter[str] = Counter()
    with directory_written_atomically(target) as folder:
        package = folder / kind.package
        _copy_core(kind, package / "core")
        (package / "rules.json").write_text(rules.model_dump_json(indent=2) + "\n", encoding="utf-8")
        with (
            records_written(package / "tasks.parquet", Task) as write_task,
            records_written(package / "rubrics.parquet", Rubric) as write_rubric,
        ):
            for playable in read_playables(tasks, rubrics):
                write_task(playable.task)
                write_rubric(playable.rubric)
                counts[playable.task.split] += 1
        known = {"mark": mark(name), "version": __version__, "counts": told(counts), "package": kind.package}
        for template, place in kind.files.items():
            text = (_TEMPLATES / f"{name}-{template}.txt").read_text(encoding="utf-8")
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(Template(text).substitute(known), encoding="utf-8")
    left_out = len(read_keys(tasks, Task)) - sum(counts.values())
    return f"{out}: {told(counts)}; {left_out} tasks without a rubric, or that need a model, left out"


def _copy_core(kind: PackageKind, core: Path) -> None:
    """Copy the module that the package starts from, and of ours all that it imports, under the package's name."""
    finder = ModuleFinder(path=[str(_SOURCE.parent)])
    finder.import_hook(kind.root)
    # What is built into the interpreter, on Debian `unicodedata` too, has no file.
    files: list[str] = [file for module in finder.modules.values() if (file := vars(module)["__file__"])]
    for source in map(Path, files):
        place = core / source.relative_to(_SOURCE)
        place.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8")
        place.write_text(_IMPORT.sub(rf"\1{kind.package}.core", text), encoding="utf-8")
