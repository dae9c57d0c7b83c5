"""Lines of policy: a rule about a tool, in words and as the check that decides it.

Four kinds: look and see a good status before acting; ask for consent before acting; never when the row says so; never
above a limit. All but the consent demand a look before the act.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synthagent.episodes.user import CONFIRM
from synthagent.records import Called, Condition, Never, Told

RuleKind = Literal["check", "confirm", "status", "limit"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of policy. `look` shows what the rule is about; `same` is the argument that both calls share."""

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
        """The line in words."""
        match self.rule:
            case "check":
                return f"Never {self.tool} unless you saw status {self.ok}."
            case "confirm":
                return f"Never {self.tool} unless the user did confirm."
            case "status":
                return f"Look first: never {self.tool} if status is {self.bad}."
            case "limit":
                return f"Look first: never {self.tool} if price is above {self.limit}."

    @property
    def licence(self) -> tuple[Condition, ...]:
        """What a look must have shown before the act."""
        match self.rule:
            case "check":
                return (Condition(field="status", value=self.ok),)
            case "status":
                return (Condition(field="status", op="ne", value=self.bad),)
            case "limit":
                return (Condition(field="price", op="le", value=self.limit),)
            case "confirm":
                return ()

    @property
    def check(self) -> Never:
        """The line in executable form."""
        if self.rule == CONFIRM or self.look is None:
            return Never(tool=self.tool, told=Told(slot=CONFIRM, value="yes"))
        return Never(tool=self.tool, seen=Called(tool=self.look, result=self.licence), same=(self.same,))
