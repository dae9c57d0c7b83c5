"""Rules about a tool: the text of a constraint, and the check that decides whether it was violated.

There are five kinds. The agent may call the tool only if it has seen a good status (`check`); only if the user agrees
(`confirm`); not if it has seen a bad status (`status`); not if the price is above a limit (`limit`); or not at all
(`never`). For the first, third and fourth it must look at the row first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synthagent.episodes.user import CONFIRM
from synthagent.worlds import Called, Condition, Never, Told

RuleKind = Literal["check", "confirm", "status", "limit", "never"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule about `tool`. `look` is the tool that shows the row; `same` is the argument that both calls share."""

    id: str
    rule: RuleKind
    tool: str
    look: str | None
    same: str
    ok: str
    bad: str
    limit: int

    @property
    def text(self) -> str:
        """The text of the constraint. A tool that may be called after all stands at its end, after a small `never`."""
        match self.rule:
            case "check":
                return f"Unless you saw status {self.ok}, never {self.tool}."
            case "confirm":
                return f"Unless the user did confirm, never {self.tool}."
            case "status":
                return f"Look first: if status is {self.bad}, never {self.tool}."
            case "limit":
                return f"Look first: if price is above {self.limit}, never {self.tool}."

            case "never":
                return f"Never {self.tool}."

    @property
    def licence(self) -> tuple[Condition, ...]:
        """What `look` must have shown before `tool` is called."""
        match self.rule:
            case "check":
                return (Condition(field="status", value=self.ok),)
            case "status":
                return (Condition(field="status", op="ne", value=self.bad),)
            case "limit":
                return (Condition(field="price", op="le", value=self.limit),)
            case "confirm" | "never":
                return ()

    @property
    def check(self) -> Never:
        """The rule in executable form."""
        if self.rule == "never":
            return Never(tool=self.tool)  # nothing licenses it
        if self.rule == CONFIRM or self.look is None:
            return Never(tool=self.tool, told=Told(slot=CONFIRM, value="yes"))
        return Never(tool=self.tool, seen=Called(tool=self.look, result=self.licence), same=(self.same,))
