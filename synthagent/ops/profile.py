"""`synthagent profile NAME`: ready-made params, `profiles/NAME.yaml` laid over `params.yaml`, whose comments stay.

A profile names whole values, `section.key`: a role that it sets is replaced, not merged. All but `embedded`, which sets
everything, set the same keys, so that it does not matter which profile was there before.

Launch: `synthagent profile vllm-cpu`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from synthagent.errors import ParamsError
from synthagent.ops.params_text import Document, check_text, read_document

PROFILES = {
    "embedded": "the defaults: every role is code or the student, no server, no key; resets all of params.yaml",
    "vllm-cpu": "every role is SmolLM2-135M on this CPU (`make vllm-cpu`); the whole chain on a handful of poor tasks",
    "smollm2": "the student is SmolLM2-135M (`make smollm2`), every other role is code; two CPU cores over a night",
    "one-gpu": "the student is Qwen3-1.7B, all else one Qwen3-30B-A3B, on a GPU of 80 GB (`make vllm-gpu`)",
    "paper": "the paper's figures: Qwen3-8B, a 235B teacher, 30B simulator and judge, 15,096 tasks, 16 rollouts a task",
}


def apply_profile(name: str, path: Path = Path("params.yaml")) -> list[str]:
    """Lay a profile over a params file, which is replaced whole or not at all; return the keys that changed.

    Raises:
        ParamsError: no such profile; or the result would not be valid, since the file has a fault elsewhere.
        StoreError: the file cannot be written.
    """
    from synthagent.store import write_text

    path = path.resolve()  # of a link, the file that it leads to
    if name not in PROFILES:
        raise ParamsError(f"profile: no profile {name!r}; there are {', '.join(PROFILES)}")
    document = read_document(path)
    changed = lay_profile(document, name)
    text = document.text()
    try:
        check_text(text, path, str(path))
    except ParamsError as error:
        raise ParamsError(f"{error}; {path.name} is unchanged") from None
    write_text(path, text)
    return changed


def lay_profile(document: Document, name: str) -> list[str]:
    """Lay a profile over a params file that was read; return the keys that changed."""
    from ruamel.yaml import YAML

    profile = YAML(typ="safe").load(
        resources.files("synthagent.ops").joinpath(f"profiles/{name}.yaml").read_text("utf-8")
    )
    return _lay(document.content, profile)


def _lay(document: dict[str, Any], profile: Mapping[str, Any]) -> list[str]:
    """Put a profile's values in; one that is there already is left as it is written."""
    changed = []
    for section, value in profile.items():
        there = document.get(section)
        if not isinstance(value, dict) or not isinstance(there, dict):
            if there != value:
                document[section] = value
                changed.append(section)
            continue
        for key, item in value.items():
            if key not in there or there[key] != item:
                there[key] = _on_one_line(item)
                changed.append(f"{section}.{key}")
    return changed


def _quoted(value: Any) -> Any:
    """A text with a colon in quotes: the YAML reader of DVC refuses `{url: http://host:80}`."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    return DoubleQuotedScalarString(value) if isinstance(value, str) and ":" in value else value


def _on_one_line(item: Any) -> Any:
    """A role as `{a: b}`: as a block, its last value would take the comment after it along."""
    from ruamel.yaml.comments import CommentedMap

    if isinstance(item, dict):
        item = CommentedMap({key: _quoted(value) for key, value in item.items()})
        item.fa.set_flow_style()
    return item
