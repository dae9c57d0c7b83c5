"""Demonstrations by a language model: task -> k trajectories in the live world -> a rubric, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from synthagent.episodes.endpoint import EndpointPolicy
from synthagent.episodes.environment import ModelEnvironment
from synthagent.episodes.policy import Setting, Start
from synthagent.episodes.rerun import rerun
from synthagent.episodes.world import World, fresh_world
from synthagent.errors import BadReplyError, RecordError
from synthagent.judging.criteria import extract
from synthagent.judging.reward import verdicts_by_check
from synthagent.judging.transcript import one_line
from synthagent.llm.client import Llm
from synthagent.llm.prompts import fenced, render
from synthagent.params import Params
from synthagent.records import Rejected, Rubric, Task, Trajectory
from synthagent.teacher.llm.rubrics import ExtractedRubric, extract_rubric


@dataclass(frozen=True, slots=True)
class LiveDemos:
    """All demonstrations of a task, faulty ones among them, and its rubric; or `dropped`."""

    demos: tuple[Trajectory, ...]
    extracted: ExtractedRubric | None
    dropped: Rejected | None


async def demonstrate_live(task: Task, environment: ModelEnvironment, llm: Llm, params: Params) -> LiveDemos:
    """Let the teacher act, `rubrics.trajectories` times, one after another, so that each sees what M already holds.

    An executable task keeps the criteria that its proofs were run with; those of a simulated one are extracted.

    Raises:
        SynthAgentError: endpoint, budget or replay.
    """
    plan = "\n".join(f"{n}. {one_line(text, 500)}" for n, text in enumerate(task.workflow, 1))
    told = render("demonstrate", plan=fenced(plan)).messages[0]["content"]
    setting = Setting(environment, params.episode.max_turns)
    teacher = EndpointPolicy(llm, params, setting, name="teacher", role="teacher", extra=told)
    demos = [await teacher.act(Start(task, sample)) for sample in range(params.rubrics.trajectories)]
    good, worlds = _run_again(task, demos, params.episode.max_turns)
    if not good:
        faults = sorted({demo.error or "cannot be run again" for demo in demos})
        return LiveDemos(tuple(demos), None, _dropped(task, demos, "no_demonstration", "; ".join(faults)))
    try:
        extracted = (
            _of_reference(task, worlds)
            if task.world_kind == "executable"
            else await extract_rubric(task, worlds, [demo.messages for demo in good], llm)
        )
    except BadReplyError as fault:
        return LiveDemos(tuple(demos), None, _dropped(task, demos, fault.reason, fault.detail))
    rubric, dropped = extracted.rubric, None
    if rubric.coverage < params.rubrics.min_coverage:
        detail = f"the demonstrations executed {rubric.coverage:.2f} of the workflow"
        dropped = _dropped(task, demos, "coverage", detail, rubric)
    elif not any(criterion.kind == "subgoal" for criterion in rubric.criteria):
        dropped = _dropped(task, demos, "no_subgoal", "no demonstration reached any of the sub-goals", rubric)
    return LiveDemos(tuple(demos), extracted, dropped)


def _run_again(task: Task, demos: Sequence[Trajectory], max_turns: int) -> tuple[list[Trajectory], list[World]]:
    """The demonstrations without a fault, and their worlds."""
    good, worlds = [], []
    for demo in demos:
        if demo.error is not None:
            continue
        try:
            worlds.append(rerun(task, demo.messages, max_turns).world)
            good.append(demo)
        except RecordError:
            continue
    return good, worlds


def _of_reference(task: Task, worlds: Sequence[World]) -> ExtractedRubric:
    criteria = extract(task, fresh_world(task)).criteria
    rubric = Rubric(task_id=task.id, criteria=criteria, coverage=1.0)
    reached = {verdict.criterion for world in worlds for verdict in verdicts_by_check(rubric, world) if verdict.passed}
    work = [criterion.id for criterion in criteria if criterion.kind != "constraint"]
    share = len(reached.intersection(work)) / max(1, len(work))
    decidable = sum(criterion.check is not None for criterion in criteria)
    return ExtractedRubric(rubric.model_copy(update={"coverage": share}), decidable, decidable, 0)


def _dropped(
    task: Task, demos: Sequence[Trajectory], reason: str, detail: str, rubric: Rubric | None = None
) -> Rejected:
    ends = [{"id": demo.id, "end": demo.end, "error": demo.error} for demo in demos]
    payload = rubric.model_dump_json() if rubric else json.dumps({"demos": ends})
    return Rejected(id=task.id, stage="rubrics", reason=reason, detail=detail, payload=payload)
