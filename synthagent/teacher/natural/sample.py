"""Natural tasks to look at: (how many, a seed, a domain) -> tasks whose proofs hold, freshly composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synthagent.errors import InputError
from synthagent.judging.proofs import decisive, prove
from synthagent.params import TasksParams
from synthagent.records import Persona, Task
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.propose import propose_natural


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
    groups, refused, number = list[tuple[Task, ...]](), 0, 0
    while len(groups) < count:
        for group in propose_natural(range(number, number + 2), personas, domains, params, seed):
            if _holds(group):
                groups.append(group)
            else:
                refused += 1
        number += 2
    return FreshTasks(groups[:count], refused)


def _holds(group: Sequence[Task]) -> bool:
    """Whether all proofs that a task, or two twins, can have hold."""
    proved = [prove(task) for task in group]
    if any(holds is False for found in proved for holds in found.holds.values()):
        return False
    return len(group) == 1 or decisive(group[0], group[1], proved[0].extracted, proved[1].extracted).holds
