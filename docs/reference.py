"""The reference, written from the code: params, commands, records -> Markdown in docs/reference/ (not in git).

Launch: `make docs` (`conf.py` calls it).
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from synthagent.frozen import JsonText, Record

_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
_OPEN = {"evaluate.suites": "[]", "llm.prices": ".MODEL"}  # keys that hold any number of sections


def write_pages(folder: Path, root: Path) -> None:
    """Write all pages; one that is as it was is not touched, so that Sphinx does not read it again."""
    folder.mkdir(exist_ok=True)
    pages = {"params": params_page(root / "params.yaml"), "commands": commands_page(), "records": records_page()}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def params_page(file: Path) -> str:
    """Every key of params.yaml with the value that ships, what it may be, and what it means."""
    from ruamel.yaml import YAML

    from synthagent.params import Params

    shipped = YAML().load(file.read_text(encoding="utf-8"))
    lines = [
        "# Params",
        "",
        "`params.yaml` is the only home of defaults. A key that is not listed here is an error that names it, and so "
        "is one that is missing. The descriptions are those of `synthagent/params.py`; where it has none, that of the "
        "comment in `params.yaml`. `dvc repro` runs the stages that a change touches.",
    ]
    top = [name for name in Params.model_fields if not _record_in(Params.model_fields[name].annotation)]
    lines += ["", "## At the top", "", *_table(_params(Params, shipped, "", only=top))]
    for name, field in Params.model_fields.items():
        if (section := _record_in(field.annotation)) is not None:
            said = (section.__doc__ or "").strip().splitlines()[0]
            lines += ["", f"## {name}", "", said, "", *_table(_params(section, shipped[name], f"{name}."))]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Every command with its options, as typer writes it."""
    import typer.cli
    from typer.main import get_command

    from synthagent.cli import app

    command = get_command(app)
    context = typer.Context(command, info_name="synthagent")
    return typer.cli.get_docs_for_click(obj=command, ctx=context, name="synthagent", title="Commands").rstrip() + "\n"


def records_page() -> str:
    """Every record: the rows of the datasets, and what they are made of."""
    from synthagent import records, worlds

    lines = [
        "# Records",
        "",
        f"The rows of the datasets, in format {records.FORMAT}, which stands in the metadata of each Parquet file. "
        "Scalars and lists are native columns; *JSON* says that a column holds JSON text. `synthagent schema task` "
        "prints a record as JSON schema.",
    ]
    for title, module in (("Rows", records), ("What a task is made of", worlds)):
        lines += ["", f"## {title}"]
        for name, kind in vars(module).items():
            if isinstance(kind, type) and issubclass(kind, Record) and kind.__module__ == module.__name__:
                said = " ".join((kind.__doc__ or "").split())
                lines += ["", f"### {name}", "", said, "", *_table(_columns(kind))]
    return "\n".join(lines) + "\n"


def _params(
    section: type[Record], shipped: Any, prefix: str, only: Sequence[str] | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """A line for each key, those of inner sections included."""
    yield ("key", "shipped as", "may be", "what it means")
    yield from _keys(section, shipped, prefix, only)


def _keys(
    section: type[Record], shipped: Any, prefix: str, only: Sequence[str] | None = None
) -> Iterator[tuple[str, str, str, str]]:
    for name, field in section.model_fields.items():
        if only is not None and name not in only:
            continue
        value = shipped.get(name) if isinstance(shipped, dict) else None
        inner, place = _record_in(field.annotation), f"{prefix}{name}"
        if inner is None or not isinstance(value, dict) or place in _OPEN:
            ships = "" if shipped is None else f"`{json.dumps(value, ensure_ascii=False)}`"
            means = field.description or _comment(shipped, name)
            yield (f"`{place}`", ships, _type(field.annotation, field.metadata), means)
        if inner is not None:
            yield from _keys(inner, None if place in _OPEN else value, f"{place}{_OPEN.get(place, '')}.")


def _comment(shipped: Any, name: str) -> str:
    """What stands behind a key in params.yaml."""
    tokens = getattr(shipped, "ca", None) and shipped.ca.items.get(name)
    comment = tokens[2] if tokens and len(tokens) > 2 else None
    return comment.value.strip().lstrip("# ") if comment is not None else ""


def _columns(kind: type[Record]) -> Iterator[tuple[str, str, str]]:
    yield ("column", "type", "what it means")
    for name, field in kind.model_fields.items():
        json_text = "*JSON*: " if JsonText in field.metadata else ""
        yield (f"`{name}`", json_text + _type(field.annotation, field.metadata), field.description or "")


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in words, with its bounds; a record of `records` or `worlds` links to its description."""
    origin, args = get_origin(annotation), get_args(annotation)
    match origin:
        case _ if origin is Annotated:
            return _type(args[0], args[1:])
        case _ if origin is Literal:
            return ", ".join(f"`{arg}`" for arg in args)
        case _ if origin in (Union, types.UnionType):
            return " or ".join(_type(arg, () if arg is type(None) else metadata) for arg in args)
        case _ if origin is tuple:
            return f"list of {_type(args[0])}" if args[-1] is Ellipsis else f"{len(args)} of: {_type(args[0])}"
        case _ if origin is dict:
            return f"mapping from {_type(args[0])} to {_type(args[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Record):
        own = annotation.__module__.endswith((".records", ".worlds"))
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})" if own else "the keys below"
    return _NAMES.get(annotation, "any JSON") + _bounds(metadata)


def _bounds(metadata: Iterable[Any]) -> str:
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    parts = [part for one in metadata for part in getattr(one, "metadata", (one,))]
    found = [f" {word} {getattr(part, name)}" for part in parts for name, word in words.items() if hasattr(part, name)]
    return "".join(found)


def _record_in(annotation: Any) -> type[Record] | None:
    """The record of `Record`, `Record | None`, a tuple or a mapping of records."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, Record):
            return one
    return None


def _table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table; the first row is the head."""
    for number, row in enumerate(rows):
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            yield "|" + " --- |" * len(row)
