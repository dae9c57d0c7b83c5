"""A suite is one module and one line: what the others of its parts have to be named like is looked up here."""

from __future__ import annotations

import pytest
from helpers.projects import ROOT

from synthagent.ops.environments import ENVIRONMENTS
from synthagent.suites.known import SUITES, suite_of


@pytest.mark.parametrize("name", list(SUITES))
def test_a_suite_has_an_environment_that_a_script_makes_and_a_worker(name: str) -> None:
    suite = suite_of(name)
    assert suite.name == suite.environment.name == name
    script = (ROOT / "suites" / f"{name}.sh").read_text(encoding="utf-8")
    assert f"{suite.environment.version}\n" in script or f"{suite.environment.version} " in script
    assert f"venv=.venv-{name}\n" in script
    assert (ROOT / f"{suite.worker.replace('.', '/')}.py").is_file()
    assert set(suite.refusals) <= set(suite.categories)


def test_one_command_runs_the_scripts_of_all_suites() -> None:
    assert "for script in suites/*.sh;" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {script.stem for script in (ROOT / "suites").glob("*.sh")} == set(SUITES)


def test_every_environment_is_that_of_a_suite() -> None:
    assert {environment.name for environment in ENVIRONMENTS} == set(SUITES)
