"""Natural tasks to look at: (how many, a seed, a domain) -> tasks whose proofs hold, freshly composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synthagent.errors import InputError
from synthagent.params import TasksParams
from synthagent.records import Persona, Task
from synthagent.teacher.acceptance import OF_NATURAL, judge
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.propose import numbers_together, propose_natural


@dataclass(frozen=True, slots=True)
class FreshTasks:
    """Tasks, each with its twin behind it where it has one; and how many proposals failed a proof."""

    groups: list[tuple[Task, ...]]
    refused: int


def fresh_tasks(
    count: int, seed: int, domain: str | None, personas: Sequence[Persona], params: TasksParams
) -> FreshTasks:
    """So many tasks with the shares of `params`. `domain`: of this one only.

    Raises:
        InputError: there is no such domain.
    """
    domains = [one for one in load_domains() if domain in (None, one.name)]
    if not domains:
        known = ", ".join(one.name for one in load_domains())
        raise InputError(f"domain sample: there is no domain {domain!r}; name one of {known}")
    if domain:
        params = params.model_copy(update={"unseen_share": float(domains[0].split == "unseen_domain")})
    groups, refused, number, together = list[tuple[Task, ...]](), 0, 0, numbers_together(params.natural)
    while len(groups) < count:
        for group in propose_natural(range(number, number + together), personas, domains, params, seed):
            if any(judge(group, OF_NATURAL).faults):
                refused += 1
            else:
                groups.append(group)
        number += together
    return FreshTasks(groups[:count], refused)
