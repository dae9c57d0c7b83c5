"""What modules import and which files beside them they read, told from their text alone: nothing is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROMPTS = "synthagent.llm.prompts"
_MODULE = re.compile(r"synthagent(\.\w+)+")
_IMPORTERS = ("importlib.import_module", "import_module", "__import__")


@dataclass(frozen=True)
class Import:
    """A dotted name that a file imports, or may: of `from a import b` both `a` and `a.b`. `typing`: for types only."""

    name: str
    typing: bool


@cache
def tree_of(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> frozenset[Import]:
    """What a file imports, anywhere in it."""
    return frozenset(_imports(tree_of(path), False))


def _imports(node: ast.AST, typing: bool) -> Iterator[Import]:
    match node:
        case ast.Import():
            yield from (Import(alias.name, typing) for alias in node.names)
        case ast.ImportFrom(module=str(module), level=0):
            yield Import(module, typing)
            yield from (Import(f"{module}.{alias.name}", typing) for alias in node.names)
        case ast.Call(args=[ast.Constant(value=str(name)), *_]) if ast.unparse(node.func) in _IMPORTERS:
            yield Import(name, typing)
        case ast.Constant(value=str(name)) if _MODULE.fullmatch(name):  # run in a process of its own
            yield Import(name, typing)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            for child in node.body:
                yield from _imports(child, True)
            for child in node.orelse:
                yield from _imports(child, typing)
            return
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, typing)


@cache
def modules_of(package: Path) -> dict[str, Path]:
    """The modules of a package by their dotted names; a package itself is one if its `__init__.py` has code."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if path.name != "__init__.py":
            found[".".join(parts)] = path
        elif len(tree_of(path).body) > 1:
            found[".".join(parts[:-1])] = path
    return found


def modules_imported_by(path: Path, package: Path) -> set[Path]:
    """The modules of a package that a file imports when it runs."""
    modules = modules_of(package)
    return {modules[found.name] for found in imports_of(path) if not found.typing and found.name in modules}


def reached_from(path: Path, package: Path) -> set[Path]:
    """A file, the modules of a package that it imports, that these import and so on; and the data files they read."""
    reached, due = set(), [path]
    while due:
        module = due.pop()
        if module not in reached:
            reached.add(module)
            due += modules_imported_by(module, package)
    return reached | {file for module in reached for file in files_read_by(module, package)}


def files_read_by(module: Path, package: Path) -> Iterator[Path]:
    """The files of a package that a module names: by their whole name, by a folder beside it, or as a prompt."""
    rendered = set(_prompts_named_in(module))
    constants = {node.value for node in ast.walk(tree_of(module)) if isinstance(node, ast.Constant)}
    for file in data_files_of(package):
        if file.parent.name == "prompts":
            if any(file.stem == name or (name.endswith("*") and file.stem.startswith(name[:-1])) for name in rendered):
                yield file
        elif file.name in constants or (file.parent.parent == module.parent and file.parent.name in constants):
            yield file


def _prompts_named_in(module: Path) -> Iterator[str]:
    """What a module renders: `render("judge", ..)`; of `render(f"teacher_{step}", ..)` it is `teacher_*`."""
    if any(found.name == PROMPTS for found in imports_of(module)):
        for node in ast.walk(tree_of(module)):
            match node:
                case ast.Call(func=ast.Name(id="render"), args=[ast.Constant(value=str(name)), *_]):
                    yield name
                case ast.Call(
                    func=ast.Name(id="render"), args=[ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]), *_]
                ):
                    yield f"{start}*"


@cache
def data_files_of(package: Path) -> tuple[Path, ...]:
    """The files of a package that are not code."""
    files = (path for path in sorted(package.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return tuple(path for path in files if path.suffix != ".py" and path.name != "py.typed")
