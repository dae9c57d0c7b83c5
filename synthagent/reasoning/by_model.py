"""An openai teacher: puts a problem into a persona's life, and solves what it wrote, with the real tools.

The known answer stays: a scenario that loses or adds a number, a formula or a quoted text, or that tells the answer,
is not taken, and the problem is woven by templates in its stead. Whether it still asks the same is proved by those who
solve it: they see the scenario alone, and the source's scorer judges what they answer.
"""

from __future__ import annotations

import re
from collections import Counter

from synthagent.episodes.endpoint import EndpointPolicy
from synthagent.episodes.episode import Environment
from synthagent.episodes.policy import Setting, Start
from synthagent.episodes.real_tools import task_of
from synthagent.errors import BadReplyError
from synthagent.frozen import Record
from synthagent.llm.client import Llm, Request
from synthagent.llm.prompts import fenced, render
from synthagent.params import Params
from synthagent.reasoning.agreement import Solved
from synthagent.reasoning.weave import weave
from synthagent.records import Persona, Problem

_FIXED = re.compile(r'\$[^$]+\$|"[^"]*"|0x[0-9a-f]+|\d+(?:[.,]\d+)*')
_MOST_LONGER = 800  # characters that a scenario may be longer than the problem


class Scenario(Record):
    """What the teacher is asked for."""

    instruction: str


async def rewrite_and_solve(
    problem: Problem, persona: Persona, llm: Llm, environment: Environment, params: Params
) -> Solved:
    """Rewrite a problem, then solve it `reasoning.attempts` times.

    Raises:
        SynthAgentError: endpoint, budget or replay.
    """
    told = await rewritten(problem, persona, llm, params.seed)
    extra = render("reason_solve").messages[0]["content"]
    setting = Setting(environment, params.episode.max_turns)
    teacher = EndpointPolicy(llm, params, setting, name="teacher", role="teacher", extra=extra)
    task = task_of(told)
    attempts = [await teacher.act(Start(task, sample)) for sample in range(params.reasoning.attempts)]
    return Solved(told, tuple(attempts), tuple(attempts))


async def rewritten(problem: Problem, persona: Persona, llm: Llm, seed: int) -> Problem:
    """The problem in the teacher's words, or in those of a template; `rewrite` in its provenance says why."""
    prompt = render("reason_rewrite", persona=fenced(persona.text), problem=fenced(problem.instruction))
    woven = weave(problem, persona, seed)
    try:
        scenario = (await llm.ask("teacher", Request.of(prompt), Scenario)).value.instruction.strip()
        fault = lost(problem, scenario)
    except BadReplyError as error:
        scenario, fault = "", error.reason
    if fault:
        return woven.model_copy(update={"provenance": {**problem.provenance, "rewrite": f"template: {fault}"}})
    provenance = {**problem.provenance, "rewrite": prompt.version}
    return woven.model_copy(update={"instruction": scenario, "provenance": provenance})


def lost(problem: Problem, scenario: str) -> str:
    """In what a scenario is not the problem any more; nothing where no such thing is seen."""
    question = problem.instruction
    if not scenario:
        return "empty"
    if len(scenario) > len(question) + _MOST_LONGER:
        return "too long"
    before, after = Counter(_FIXED.findall(question)), Counter(_FIXED.findall(scenario))
    if missing := before - after:
        return f"lost {next(iter(missing))!r}"
    if added := after - before:
        return f"added {next(iter(added))!r}"
    if problem.answer in scenario and problem.answer not in question:
        return "tells the answer"
    return ""
