"""A params file changed as text, whose comments stay: values by dotted keys, checked before anything is written."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from synthagent.errors import MissingBackendError, ParamsError


@dataclass(frozen=True, slots=True)
class Document:
    """A params file as ruamel.yaml reads it: `content` may be changed, and `text` keeps all else as it was."""

    yaml: Any
    content: dict[str, Any]

    def text(self) -> str:
        """The file's new text."""
        out = io.StringIO()
        self.yaml.dump(self.content, out)
        return out.getvalue()


def read_document(path: Path) -> Document:
    """Read a params file to change it.

    Raises:
        ParamsError: no such file, not YAML, or no mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Writes null as `null`, as the file does, and not as nothing; and 1e-05, a text to DVC's reader, in full."""

    Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))
    Representer.add_representer(
        float, lambda self, value: self.represent_scalar("tag:yaml.org,2002:float", format(Decimal(repr(value)), "f"))
    )
    yaml = YAML()
    yaml.Representer = Representer
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}; run from the project's root, where params.yaml is") from None
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ParamsError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: the file: a mapping of sections is wanted; `git checkout {path.name}` restores it")
    return Document(yaml, content)


def override(document: Document, overrides: Mapping[str, Any], place: str) -> None:
    """Put values in by dotted keys, such as `grpo.steps`. Whether key and value are valid, `check_text` says.

    Raises:
        ParamsError: a key leads through something that has no keys; `place` says where it was given.
    """
    for key, value in overrides.items():
        *sections, last = key.split(".")
        target: Any = document.content
        for depth, section in enumerate(sections):
            if section not in target:
                raise ParamsError(f"{place}: {key}: unknown key; {_hint(document.content, key)}")
            target = target[section]
            if not isinstance(target, dict):
                above = ".".join(sections[: depth + 1])
                raise ParamsError(
                    f"{place}: {key}: {above} is {target!r} in params.yaml and has no keys; give it whole, "
                    f'as in {{"{above}": {{"{".".join([*sections[depth + 1 :], last])}": ...}}}}'
                )
        target[last] = _written(value)


def check_text(text: str, path: Path, place: str, document: Document | None = None) -> None:
    """Whether `text` is a valid params file; a fault is told as one of `place`.

    Raises:
        ParamsError: it is not; each fault in a line. `document`: where a key like an unknown one is looked for.
    """
    from synthagent.params_file import load_params

    with TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        draft.write_text(text, encoding="utf-8")
        try:
            load_params(draft)
        except (ParamsError, MissingBackendError) as error:
            faults = str(error).replace(str(draft), place).splitlines()
            raise ParamsError("\n".join(_with_hint(fault, place, document) for fault in faults)) from None


def check_types(text: str, overrides: Mapping[str, Any], place: str) -> None:
    """Whether values given from outside have the very types of their keys: a file may say "20" for 20, these may not.

    Raises:
        ParamsError: one has not; each fault in a line.
    """
    import yaml
    from pydantic import ValidationError

    from synthagent.params import Params

    try:
        Params.model_validate_json(json.dumps(yaml.safe_load(text)), strict=True)
    except ValidationError as error:
        at = {".".join(map(str, fault["loc"])): fault for fault in error.errors()}
        ours = {key for key in at if any(f"{key}.".startswith(f"{given}.") for given in overrides)}
        if ours:
            faults = (f"{place}: {key}: {at[key]['msg']}, but it is {at[key]['input']!r}" for key in sorted(ours))
            raise ParamsError("\n".join(faults)) from None


def _with_hint(fault: str, place: str, document: Document | None) -> str:
    if document is None or ": unknown key; " not in fault:
        return fault
    key = fault.removeprefix(f"{place}: ").partition(":")[0]
    return f"{place}: {key}: unknown key; {_hint(document.content, key)}"


def _hint(content: Mapping[str, Any], key: str) -> str:
    known = [name for name in _keys(content) if name != key]
    like = get_close_matches(key, known, n=1, cutoff=0.7)
    where = "params.yaml has the keys there are, synthagent/params.py describes them"
    return f"is {like[0]} meant? {where}" if like else where


def _keys(content: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in content.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{name}.")


def _written(value: Any) -> Any:
    """A value as YAML of any version reads it: texts in quotes, what has parts on one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, str):
        return DoubleQuotedScalarString(value)
    if isinstance(value, Mapping):
        mapping = CommentedMap({name: _written(part) for name, part in value.items()})
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list | tuple):
        sequence = CommentedSeq(map(_written, value))
        sequence.fa.set_flow_style()
        return sequence
    return value
