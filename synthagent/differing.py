"""Which params differ from the defaults: those that `synthagent profile embedded` sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from synthagent.params import Params

_FOLDER, _DEFAULTS = "ops/profiles", "embedded.yaml"
_HOW = ("llm.", "serve.", "compute.runner", "compute.ray_address", "compute.checkpoint_minutes")


@dataclass(frozen=True, slots=True)
class Changed:
    """A key, as `section.key`, and its value. `default`: a list of one; of none where there is no such default."""

    key: str
    value: Any
    default: tuple[Any, ...]


def default_values() -> dict[str, Any]:
    """The defaults, as they stand in a params file."""
    values: dict[str, Any] = yaml.safe_load(
        resources.files("synthagent").joinpath(_FOLDER, _DEFAULTS).read_text("utf-8")
    )
    return values


def differing(given: Mapping[str, Any], defaults: Mapping[str, Any], within: str = "") -> Iterator[Changed]:
    """The values of `given` that are not those of `defaults`; what only `defaults` has is not looked at."""
    for name, value in given.items():
        key, default = f"{within}{name}", defaults.get(name)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            yield from differing(value, default, f"{key}.")
        elif name not in defaults:
            yield Changed(key, value, ())
        elif value != default:
            yield Changed(key, value, (default,))


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"roles.judge": x}` as `{"roles": {"judge": x}}`."""
    whole: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        inner = whole
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return whole


def changed_params(params: Params) -> list[Changed]:
    """All params but the seed that are not the defaults."""
    defaults = Params.model_validate(default_values()).model_dump(mode="json")
    return [change for change in differing(params.model_dump(mode="json"), defaults) if change.key != "seed"]


def decides(change: Changed) -> bool:
    """Whether a param decides any figure of a run, and not only how it is run."""
    return not change.key.startswith(_HOW)
