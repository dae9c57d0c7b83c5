"""The suites there are. One that you add is a module and a line here (docs/suites.md)."""

from __future__ import annotations

from synthagent.errors import SuiteError
from synthagent.suites.agentdojo import AGENTDOJO
from synthagent.suites.bfcl import BFCL
from synthagent.suites.suite import Suite
from synthagent.suites.tau2 import TAU2

SUITES: dict[str, Suite] = {
    "bfcl": BFCL,
    "tau2": TAU2,
    "agentdojo": AGENTDOJO,
}


def suite_of(name: str) -> Suite:
    """The suite of a name.

    Raises:
        SuiteError: there is none.
    """
    if name not in SUITES:
        raise SuiteError(f"suite {name!r}: there is none of this name; name one of {', '.join(SUITES)}")
    return SUITES[name]
