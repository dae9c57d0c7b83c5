"""What became of a teacher's proposals, counted: for the metrics and the details of the stage `tasks`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from synthagent.judging.proofs import PROOFS
from synthagent.llm.embeddings import Embeddings
from synthagent.records import Rejected
from synthagent.teacher.acceptance import COPIED
from synthagent.teacher.decontaminate import Decontamination
from synthagent.teacher.llm.checks import REASONS
from synthagent.teacher.llm.write import Proposal
from synthagent.teacher.natural.reword import DONE, NOTE
from synthagent.teacher.variety import VarietyCount, headlines


@dataclass
class Funnel:
    """What became of the proposals, in numbers; and the rejected rows."""

    tasks: int = 0
    tools: int = 0
    variety: VarietyCount = field(default_factory=VarietyCount)
    domains: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    levels: Counter[int] = field(default_factory=Counter)
    worlds: Counter[str] = field(default_factory=Counter)
    ruled: int = 0
    reworded: int = 0
    worded_anew: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    not_executable: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)

    def add(self, proposal: Proposal) -> None:
        """Count a proposal that has been judged."""
        row = proposal.row
        self.tokens.update(proposal.tokens)
        if isinstance(row, Rejected):
            self.rejected.append(row)
            return
        self.tasks += 1
        self.tools += len(row.tools)
        self.variety.add_task(row)
        self.domains[row.domain] += 1
        self.splits[row.split] += 1
        self.levels[row.difficulty] += 1
        self.worlds[row.world_kind] += 1
        self.reworded += int(row.provenance.get("reworded", 0))
        self.worded_anew.update([str(row.provenance[NOTE])] if NOTE in row.provenance else [])
        self.ruled += all(constraint.id in row.world.rules for constraint in row.constraints)
        self.not_executable.update([proposal.not_executable] if proposal.not_executable else [])

    def metrics(self, proposed: int, embeddings: Embeddings | None = None) -> dict[str, float | None]:
        """What `data/metrics/tasks.json` says. `embeddings`: the model that shows how far instructions are apart."""
        varied = headlines(self.variety.variety(embeddings=embeddings))
        return {
            "proposed": proposed,
            "accepted": self.tasks,
            "tools_per_task": round(self.tools / max(1, self.tasks), 2),
            "distinct_tools": varied["distinct_tools"],
            "domains": len(self.domains),
            "tokens_per_accepted_task": round(self.tokens.total() / self.tasks) if self.tasks else None,
            "constraints_checked_by_code": self.ruled,
            "facts_reworded": self.reworded,
            **({"tasks_reworded": self.worded_anew[DONE]} if self.worded_anew else {}),
            **varied,
        }

    def details(self, proposed: int, comparison: Decontamination | None = None) -> dict[str, Any]:
        """What `data/details/tasks.json` says. `comparison`: the problems with which they were compared."""
        reasons = Counter(row.reason for row in self.rejected)
        unique = proposed - reasons.total() + reasons["unique"]  # that came as far as being compared with each other
        copied = reasons[COPIED]
        proved = sum(reasons[name] for name in (*PROOFS, "twin") if name != "unique")
        checked = sum(reasons[name] for name in REASONS)
        return {
            "rejected": dict(reasons),
            "tokens": dict(self.tokens),
            "splits": dict(sorted(self.splits.items())),
            "levels": {str(level): n for level, n in sorted(self.levels.items())},
            "worlds": dict(sorted(self.worlds.items())),
            "funnel": {
                "proposed": proposed,
                "parsed": unique + copied + proved + checked,
                "checked": unique + copied + proved,
                "proved": unique + copied,
                "unique": self.tasks,
                "accepted": self.tasks,
                "not_executable": dict(sorted(self.not_executable.items())),
            },
            **({"reword": dict(sorted(self.worded_anew.items()))} if self.worded_anew else {}),
            **({"decontamination": comparison.details()} if comparison else {}),
        }
