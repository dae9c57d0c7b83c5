"""The domains of the natural teacher, one YAML file each in `domains/`: files -> records, read once."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml

from synthagent.teacher.natural.domain import NaturalDomain

_FILES = resources.files("synthagent.teacher") / "natural" / "domains"
# It reads all files in a twentieth of a second, the reader in Python in a third; not every build has it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def load_domains() -> tuple[NaturalDomain, ...]:
    """All domains that ship with the package, in the order of their files' names."""
    files = sorted((file for file in _FILES.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return tuple(NaturalDomain.model_validate(yaml.load(file.read_text(encoding="utf-8"), _LOADER)) for file in files)
