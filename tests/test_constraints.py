"""The releases that `make setup` installs: where a Python of ours cannot have one, pip searches for half an hour."""

from __future__ import annotations

import tomllib
from importlib.metadata import distributions

from helpers.projects import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name


def test_every_release_that_is_pinned_runs_on_the_first_of_each_python_that_the_project_names() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(each.name): each.specifier for each in map(Requirement, lines)}
    named = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    pythons = [version for minor in range(30) if (version := f"3.{minor}.0") in named]
    assert pythons[0] == "3.11.0"
    none = SpecifierSet("<0")
    seen = [each for each in distributions() if each.version in pins.get(canonicalize_name(each.name), none)]
    assert len(seen) > len(pins) / 2
    for each in seen:
        wanted = SpecifierSet(each.metadata.get("Requires-Python") or "")
        assert [python for python in pythons if python not in wanted] == [], f"{each.name} {each.version}: {wanted}"
