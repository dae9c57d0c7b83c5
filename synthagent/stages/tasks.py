"""Stage `tasks`: personas -> tasks with proofs (`data/tasks.parquet`); what fails goes to `data/rejected.parquet`.

Launch: `synthagent tasks` or `dvc repro tasks`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from synthagent.params import Params, TasksParams
from synthagent.proofs import PROOFS, Uniqueness, prove
from synthagent.records import Persona, Rejected, Split, Task
from synthagent.stage import Paths, progress, running, say
from synthagent.store import read_records, write_records
from synthagent.teacher.compose import compose
from synthagent.teacher.domains import BLEND, Vocabulary, blend, domain_of, load_vocabulary

VERSION = "embedded-1"


def propose(number: int, personas: Sequence[Persona], vocabulary: Vocabulary, params: TasksParams, seed: int) -> Task:
    """The teacher's proposal `number`: depends on nothing but its arguments."""
    rng = random.Random(f"tasks-{seed}-{number}")
    persona = personas[number % len(personas)]
    draw = rng.random()
    if draw < params.unseen_share:
        domain = domain_of(persona.text, vocabulary.unseen, rng)
    elif draw < params.unseen_share + params.blend_share:
        domain = blend(vocabulary, rng)
    else:
        domain = domain_of(persona.text, vocabulary.train, rng)
    difficulty = rng.choices((1, 2, 3), params.difficulty_mix)[0]
    draft = compose(domain, persona.text, difficulty, vocabulary.names, rng)
    task = Task(
        id=f"task-{number:07d}",
        persona_id=persona.id,
        domain=domain.name,
        difficulty=difficulty,
        split="train",
        instruction=draft.instruction,
        workflow=(),
        facts=draft.facts,
        tools=draft.tools,
        distractors=draft.distractors,
        constraints=draft.constraints,
        world_kind="executable",
        world=draft.world,
        reference=draft.reference,
        provenance={"backend": "embedded", "version": VERSION, "seed": seed, "tokens": 0},
    )
    return task.model_copy(update={"split": split_of(task, domain.split, params.heldout_share)})


def split_of(task: Task, domain_split: str, heldout_share: float) -> Split:
    """The split by content: what the user knows decides, so that no request of `heldout` has its like in `train`."""
    if domain_split == "unseen_domain":
        return "unseen_domain"
    content = json.dumps([task.domain, sorted(fact.value for fact in task.facts)])
    draw = int.from_bytes(hashlib.sha256(content.encode()).digest()[:8]) / 2**64
    return "heldout" if task.domain != BLEND and draw < heldout_share else "train"


def judge_proposals(proposals: Iterable[Task]) -> Iterator[Task | Rejected]:
    """Prove every proposal; yield it as an accepted task, or as a rejected row with the first proof that failed."""
    index = Uniqueness()
    for task in proposals:
        proved = prove(task)
        failed = next((name for name in PROOFS if not proved.holds.get(name, True)), None)
        if failed:
            yield _rejected(task, failed, proved.detail[failed])
        elif twin := index.twin_of(task):
            yield _rejected(task, "unique", f"nearly the same as {twin}")
        else:
            update = {**proved.holds, "unique": True, "workflow": proved.extracted.workflow}
            yield task.model_copy(update=update)


def _rejected(task: Task, reason: str, detail: str) -> Rejected:
    return Rejected(id=task.id, stage="tasks", reason=reason, detail=detail, payload=task.model_dump_json())


@dataclass
class Funnel:
    """Counts what passes by, for the metrics."""

    tasks: int = 0
    tools: int = 0
    names: set[str] = field(default_factory=set)
    domains: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    levels: Counter[int] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)

    def accepted(self, judged: Iterable[Task | Rejected]) -> Iterator[Task]:
        """Yield the accepted tasks; keep the rejected rows and the counts."""
        for row in judged:
            if isinstance(row, Rejected):
                self.rejected.append(row)
                continue
            self.tasks += 1
            self.tools += len(row.tools)
            self.names.update(tool["function"]["name"] for tool in row.tools)
            self.domains[row.domain] += 1
            self.splits[row.split] += 1
            self.levels[row.difficulty] += 1
            yield row


def run(params: Params) -> None:
    """Read deps, write outs."""
    with running("tasks", Paths.tasks, Paths.rejected) as metrics:
        personas, vocabulary = list(read_records(Paths.personas, Persona)), load_vocabulary()
        count = params.tasks.count
        proposals = (propose(n, personas, vocabulary, params.tasks, params.seed) for n in range(count))
        funnel = Funnel()
        judged = judge_proposals(progress(proposals, count, "tasks"))
        write_records(Paths.tasks, Task, funnel.accepted(judged))
        write_records(Paths.rejected, Rejected, funnel.rejected)
        metrics |= {
            "proposed": count,
            "accepted": funnel.tasks,
            "rejected": dict(Counter(row.reason for row in funnel.rejected)),
            "tools_per_task": round(funnel.tools / max(1, funnel.tasks), 2),
            "distinct_tools": len(funnel.names),
            "domains": len(funnel.domains),
            "tokens_per_accepted_task": 0,
            "splits": dict(sorted(funnel.splits.items())),
            "levels": {str(level): n for level, n in sorted(funnel.levels.items())},
        }
        say(f"{funnel.tasks} of {count} proposals accepted; rejected {metrics['rejected']}; splits {metrics['splits']}")
