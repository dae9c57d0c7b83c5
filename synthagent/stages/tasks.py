"""Stage `tasks`: personas -> tasks with proofs (`data/tasks.parquet`); what fails goes to `data/rejected.parquet`.

The teacher is code (`synthagent.teacher`) or, where `roles.teacher` is `openai`, a model (`synthagent.teacher.llm`).
Tasks are made in pairs, twins (`synthagent.teacher.twins`). Of a simulated task only `no_leak` and `unique` can be
known, and it has no twin; the other proofs are null.

Launch: `synthagent tasks` or `dvc repro tasks`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from synthagent.episodes.user import CONFIRM
from synthagent.errors import ParamsError
from synthagent.judging.proofs import PROOFS, WITHOUT_GAP, Uniqueness
from synthagent.llm.client import Llm
from synthagent.llm.embeddings import embeddings_of
from synthagent.llm.ordered import ordered
from synthagent.params import Params, TasksParams
from synthagent.problems import read_problems
from synthagent.records import Persona, Rejected, Split, Task
from synthagent.spread import shared_out
from synthagent.stage import Figures, Paths, progress, say
from synthagent.store import read_records, records_written, write_records
from synthagent.teacher.acceptance import (
    COPIED,
    OF_NATURAL,
    PairProved,
    accept,
    alone,
    judge,
    rejected,
    rejected_with_twin,
)
from synthagent.teacher.compose import compose
from synthagent.teacher.decontaminate import Decontamination, in_batches
from synthagent.teacher.domains import BLEND, Vocabulary, blend, domain_of, load_vocabulary
from synthagent.teacher.funnel import Funnel
from synthagent.teacher.llm.write import Proposal, id_of, share_of, write_two
from synthagent.teacher.natural.domain import NaturalDomain
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.propose import numbers_together, propose_natural
from synthagent.teacher.natural.reword import reword, tokens_of
from synthagent.teacher.twins import pair
from synthagent.teacher.variety import Variety, headlines, variety_of
from synthagent.teacher.wording import without_gap

VERSION = "embedded-1"
_A_PIECE = 128  # pairs that a process proves at a time
_PLAIN_PAIRS = 1_000  # of the plain teacher, with whose variety that of others is compared; a third of a second


def propose(
    number: int, personas: Sequence[Persona], vocabulary: Vocabulary, params: TasksParams, seed: int
) -> tuple[Task, Task]:
    """The teacher's pair `number`, two tasks that are twins: depends on nothing but its arguments."""
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
    names = [id_of(2 * number + of_two) for of_two in (0, 1)]
    rng.shuffle(names)  # whether the act is permitted cannot be told from the number
    provenance = {"backend": "embedded", "version": VERSION, "seed": seed, "tokens": 0}
    task = draft.task(names[0], persona, domain.name, difficulty, "train", provenance)
    task = task.model_copy(update={"split": split_of(task, domain.split, params.heldout_share)})
    assert draft.change is not None
    first, second = sorted(pair(task, draft.change, names[1]), key=lambda twin: twin.id)
    return (first, second) if params.information_gap else (without_gap(first), without_gap(second))


def split_of(task: Task, domain_split: str, heldout_share: float) -> Split:
    """The split by content: what the user knows decides, so that no request of `heldout` has its like in `train`."""
    if domain_split == "unseen_domain":
        return "unseen_domain"
    known = sorted(fact.value for fact in task.facts if fact.slot != CONFIRM)  # in which twins may differ
    content = json.dumps([task.domain, known or [task.instruction]])
    return "heldout" if task.domain != BLEND and share_of(content) < heldout_share else "train"


def domain_split(domain: str, unseen_share: float) -> str:
    """Of an openai teacher's task: whole domains are unseen, by the hash of their name."""
    return "unseen_domain" if share_of(f"domain {domain}") < unseen_share else "train"


def settle(
    proposals: Iterable[Sequence[Proposal]], params: TasksParams, comparison: Decontamination | None = None
) -> Iterator[Proposal]:
    """Compare an openai teacher's proposals, with problems and in their order with each other; give tasks their split.

    Two that were made together may be twins: then they share the split, and one is not accepted without the other.
    """
    index = Uniqueness()
    for compared in in_batches(proposals, _tasks_of, comparison):
        faults = {id: (COPIED, copied) for id, copied in compared.hits.items()}
        if not faults:
            likes = {task.id: index.near_duplicate_of(task) for task in _tasks_of(compared.group)}
            faults = {id: ("unique", f"nearly the same as {like}") for id, like in likes.items() if like}
        for proposal in compared.group:
            row = proposal.row
            if isinstance(row, Rejected):
                yield proposal
            elif row.id in faults:
                yield replace(proposal, row=rejected(row, *faults[row.id]))
            elif row.twin_of in faults:
                yield replace(proposal, row=rejected_with_twin(row))
            else:
                split = split_of(row, domain_split(row.domain, params.unseen_share), params.heldout_share)
                yield replace(proposal, row=row.model_copy(update={"unique": True, "split": split}))


def _tasks_of(proposals: Iterable[Proposal]) -> list[Task]:
    return [proposal.row for proposal in proposals if isinstance(proposal.row, Task)]


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    personas, proposed = list(read_records(Paths.personas, Persona)), params.tasks.count
    llm = Llm(params) if params.roles.teacher.backend == "openai" else None
    if llm and not params.tasks.information_gap:
        raise ParamsError(
            "params.yaml: tasks.information_gap: an openai teacher has no tasks without one; set it to true, or "
            "roles.teacher.backend to embedded"
        )
    reworded = params.tasks.natural.reword
    if reworded and (llm is None or params.tasks.language != "natural"):
        raise ParamsError(
            "params.yaml: tasks.natural.reword: a model rewords natural tasks only; set tasks.language to natural and "
            "roles.teacher.backend to openai, or reword to false"
        )
    comparison = _comparison(params)
    if llm and not reworded:
        judged = _by_model(llm, personas, params, comparison)
    else:
        judged = _by_code(personas, params, comparison, llm)
    funnel = Funnel()
    with closing(judged), records_written(Paths.tasks, Task) as write:
        for proposal in judged:
            funnel.add(proposal)
            if isinstance(proposal.row, Task):
                write(proposal.row)
    write_records(Paths.rejected, Rejected, funnel.rejected)
    details = funnel.details(proposed, comparison)
    if llm or params.tasks.language != "plain":
        details["variety"] = {"plain": headlines(_plain_variety(personas, params))}
    say(f"{funnel.tasks} of {proposed} proposals accepted; rejected {details['rejected']}; splits {details['splits']}")
    metrics = funnel.metrics(proposed, comparison.embeddings if comparison else None)
    return Figures(metrics, details, {"llm": llm.metrics()} if llm else {})


def _comparison(params: Params) -> Decontamination | None:
    """What tasks must not be copies of, where params name something."""
    chosen = params.tasks.decontaminate
    if chosen.path is None:
        return None
    problems = read_problems(Path(chosen.path), "tasks.decontaminate.path")
    say(f"tasks are compared with {len(problems):,} problems of {chosen.path}")
    return Decontamination(problems, embeddings_of(chosen.embeddings, params.llm) if chosen.embeddings else None)


def _plain_variety(personas: Sequence[Persona], params: Params) -> Variety:
    """Of what the plain teacher proposes to the same personas: for a comparison, and not proved."""
    vocabulary = load_vocabulary()
    pairs = (propose(number, personas, vocabulary, params.tasks, params.seed) for number in range(_PLAIN_PAIRS))
    return variety_of(chain.from_iterable(pairs))


def _by_code(
    personas: Sequence[Persona], params: Params, comparison: Decontamination | None, llm: Llm | None
) -> Generator[Proposal, None, None]:
    """The embedded teacher's proposals, judged. `llm`: whose teacher words them anew."""
    natural = params.tasks.language == "natural"
    numbers = _numbers(params.tasks.count, numbers_together(params.tasks.natural) if natural else 2)
    proposing = (
        partial(_propose_and_judge_natural, personas, load_domains(), params)
        if natural
        else partial(_propose_and_judge, personas, load_vocabulary(), params)
    )
    with closing(shared_out(params.compute, proposing, numbers, _A_PIECE)) as judged:
        groups = chain.from_iterable(progress(judged, len(numbers), "tasks"))
        if llm is None:
            yield from (Proposal(row, {}) for row in accept(groups, comparison))
            return
        work = partial(reword, llm, {persona.id: persona.text for persona in personas})
        with closing(ordered(work, groups, params.llm.max_concurrency, llm.close)) as said:
            yield from (Proposal(row, tokens_of(row)) for row in accept(said, comparison))


def _propose_and_judge(
    personas: Sequence[Persona], vocabulary: Vocabulary, params: Params, numbers: range
) -> list[PairProved]:
    """The pair of these two numbers; or, at the end, half of one."""
    two = propose(numbers.start // 2, personas, vocabulary, params.tasks, params.seed)
    required = PROOFS if params.tasks.information_gap else WITHOUT_GAP
    return [judge(two if len(numbers) == 2 else (alone(two[0]),), required)]


def _propose_and_judge_natural(
    personas: Sequence[Persona], domains: Sequence[NaturalDomain], params: Params, numbers: range
) -> list[PairProved]:
    """Twins of these numbers, or tasks of one desk, or such as have nothing to do with each other."""
    groups = propose_natural(numbers, personas, domains, params.tasks, params.seed)
    return [judge([_with_split(task, params.tasks) for task in group], OF_NATURAL) for group in groups]


def _with_split(task: Task, params: TasksParams) -> Task:
    return task.model_copy(update={"split": split_of(task, task.split, params.heldout_share)})


def _by_model(
    llm: Llm, personas: Sequence[Persona], params: Params, comparison: Decontamination | None
) -> Generator[Proposal, None, None]:
    """An openai teacher's proposals, judged. Only an executable world can have a twin."""
    numbers = _numbers(params.tasks.count, 2 if params.tasks.world == "executable" else 1)
    work = partial(write_two, llm, personas, params)
    with closing(ordered(work, numbers, params.llm.max_concurrency, llm.close)) as proposals:
        yield from settle(progress(proposals, len(numbers), "tasks"), params.tasks, comparison)


def _numbers(count: int, together: int) -> list[range]:
    """The numbers of the proposals, those together that may be twins."""
    return [range(first, min(first + together, count)) for first in range(0, count, together)]
