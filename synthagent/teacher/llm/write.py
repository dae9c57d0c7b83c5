"""Writes one proposal: a persona -> the teacher's steps, each one question to its model -> a task, or what is wrong.

toolset      domain, workflow, tools, what is forbidden
tool_check   tools for what a model can do by itself go, outputs become text, distractors are added
fuzzy        instruction, facts, background
constraint   its words and, where there is one, its rule
world        tables, effects, reference (only for `tasks.world: executable`, and only if the constraint has a rule)
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from synthagent.errors import BadReplyError
from synthagent.frozen import Record
from synthagent.judging.proofs import leaked
from synthagent.llm.client import Llm, Request
from synthagent.llm.prompts import fenced, render
from synthagent.params import Params
from synthagent.records import Persona, Rejected, Task
from synthagent.teacher.llm.checks import (
    RefusedError,
    checked_facts,
    checked_tools,
    constraint_text,
    forbidden_tool,
    rule_of,
)
from synthagent.teacher.llm.executable import executable
from synthagent.teacher.llm.shapes import ConstraintForm, Fuzzy, ToolCheck, Toolset, WorldForm
from synthagent.teacher.llm.twin import proved_pair
from synthagent.worlds import Constraint, Fact, Never, Tool, WorldSpec

STEPS = ("toolset", "tool_check", "fuzzy", "constraint", "world")
WISHES = {1: (5, 2), 2: (6, 3), 3: (7, 4)}  # level -> milestones and facts that are asked for
_LONGEST_PERSONA, _LONGEST_DETAIL = 1_000, 300
S = TypeVar("S", bound=Record)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What came of one proposal: a task that is yet to be compared with the others, or a rejected row.

    `tokens`: by step. `not_executable`: why the executable world that was asked for was refused.
    """

    row: Task | Rejected
    tokens: dict[str, int]
    not_executable: str | None = None


async def write_task(llm: Llm, personas: Sequence[Persona], params: Params, number: int) -> Proposal:
    """The teacher's proposal `number`, which depends on its persona, the params and the model's answers only.

    Raises:
        SynthAgentError: no further call makes sense.
    """
    persona = personas[number % len(personas)]
    writer = _Writer(llm, params, persona, number)
    try:
        return Proposal(await writer.task(), writer.tokens, writer.not_executable)
    except (BadReplyError, RefusedError) as fault:
        return Proposal(writer.rejected(fault.reason, fault.detail), writer.tokens)


async def write_two(
    llm: Llm, personas: Sequence[Persona], params: Params, numbers: Sequence[int]
) -> tuple[Proposal, ...]:
    """Two proposals: a task and its twin, if its executable world has one; else the teacher is asked twice.

    Raises:
        SynthAgentError: as `write_task`.
    """
    first = await write_task(llm, personas, params, numbers[0])
    if len(numbers) == 1:
        return (first,)
    row = first.row
    if isinstance(row, Task) and row.world_kind == "executable" and (twins := proved_pair(row, id_of(numbers[1]))):
        return replace(first, row=twins[0]), Proposal(twins[1], {})
    return first, await write_task(llm, personas, params, numbers[1])


def id_of(number: int) -> str:
    """The id of proposal `number`."""
    return f"task-{number:07d}"


def difficulty_of(workflow: Sequence[str], facts: Sequence[Fact]) -> int:
    """1 to 3: a level up for every two milestones or facts more than five and two."""
    return min(3, 1 + max(0, len(workflow) - 5 + len(facts) - 2) // 2)


def share_of(text: str) -> float:
    """A number in [0, 1) that depends on the text only: its hash."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


@dataclass
class _Writer:
    """A proposal in the making: the answers so far, and their cost."""

    llm: Llm
    params: Params
    persona: Persona
    number: int
    at: str = ""
    not_executable: str | None = None
    reworded: int = 0
    answers: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    async def task(self) -> Task:
        wants_world = self.params.tasks.world == "executable"
        toolset, tools, distractors = await self._tools(wants_world)
        fuzzy = await self._ask(
            "fuzzy",
            Fuzzy,
            persona=self._persona(),
            workflow=toolset.workflow,
            tools=_told(tools, distractors),
            forbidden=_forbidden(toolset),
            n_facts=self._wish()[1],
        )
        facts = checked_facts(fuzzy, tools, toolset.workflow)
        text, rule = await self._constraint(toolset, tools, fuzzy, facts)
        self.reworded = sum(fact.phrase != known.phrase for fact, known in zip(facts, fuzzy.facts, strict=True))
        task = self._simulated(toolset, tools, distractors, fuzzy, facts, text, rule)
        if leaks := leaked(task):
            raise RefusedError("no_leak", f"values in plain sight: {', '.join(leaks)}")
        if wants_world:
            task = await self._executable(task)
        return task.model_copy(update={"provenance": self._provenance()})

    def rejected(self, reason: str, detail: str) -> Rejected:
        """The row of a proposal that failed; its payload holds all answers so far."""
        told = " ".join(f"{self.at}: {detail}".split())[:_LONGEST_DETAIL].encode("utf-8", "replace").decode()
        payload = {"persona_id": self.persona.id, "answers": self.answers, "provenance": self._provenance()}
        return Rejected(id=id_of(self.number), stage="tasks", reason=reason, detail=told, payload=json.dumps(payload))

    async def _tools(self, strings: bool) -> tuple[Toolset, tuple[Tool, ...], tuple[str, ...]]:
        wished = self._wish()[0]
        toolset = await self._ask("toolset", Toolset, persona=self._persona(), milestones=wished, strings=strings)
        forbidden_tool(toolset)  # before further steps cost tokens
        change = await self._ask(
            "tool_check",
            ToolCheck,
            workflow=toolset.workflow,
            tools=fenced(_json([tool.model_dump() for tool in toolset.tools])),
            forbidden=_forbidden(toolset),
            strings=strings,
        )
        return toolset, *checked_tools(toolset, change)

    async def _constraint(
        self, toolset: Toolset, tools: Sequence[Tool], fuzzy: Fuzzy, facts: Sequence[Fact]
    ) -> tuple[str, Never | None]:
        form = await self._ask(
            "constraint",
            ConstraintForm,
            forbidden=_forbidden(toolset),
            tools=_told(tools, ()),
            instruction=fenced(fuzzy.instruction),
            facts=_told_facts(facts),
        )
        tool = forbidden_tool(toolset)
        return constraint_text(form, tool, facts), rule_of(form, tool, tools, facts)

    async def _executable(self, task: Task) -> Task:
        """The task in an executable world; unchanged if that fails."""
        try:
            if "live" not in task.world.rules:
                raise RefusedError("no_rule", "the constraint has no rule that a world could prove")
            form = await self._ask(
                "world",
                WorldForm,
                instruction=fenced(task.instruction),
                background=fenced(task.world.background),
                workflow=task.workflow,
                tools=_told(task.tools, task.distractors),
                facts=_told_facts(task.facts),
                constraint=fenced(task.constraints[0].text),
                rule=_json(task.world.rules["live"].model_dump()),
            )
            return executable(task, form)
        except (BadReplyError, RefusedError) as fault:
            self.not_executable = fault.reason
            return task

    async def _ask(self, step: str, shape: type[S], **values: Any) -> S:
        prompt = render(f"teacher_{step}", **values)
        self.at, self.versions[step] = step, prompt.version
        try:
            given = await self.llm.ask("teacher", Request.of(prompt, self.number), shape)
        except BadReplyError as fault:
            self.tokens[step] = fault.tokens
            raise
        self.tokens[step] = given.tokens
        self.answers[step] = given.value.model_dump(mode="json")
        return given.value

    def _simulated(
        self,
        toolset: Toolset,
        tools: tuple[Tool, ...],
        distractors: tuple[str, ...],
        fuzzy: Fuzzy,
        facts: tuple[Fact, ...],
        text: str,
        rule: Never | None,
    ) -> Task:
        return Task(
            id=id_of(self.number),
            persona_id=self.persona.id,
            domain=toolset.domain,
            difficulty=difficulty_of(toolset.workflow, facts),
            split="train",
            instruction=fuzzy.instruction,
            workflow=toolset.workflow,
            facts=facts,
            tools=tools,
            distractors=distractors,
            constraints=(Constraint(id="live", text=text),),
            world_kind="simulated",
            world=WorldSpec(tables={}, effects={}, background=fuzzy.background, rules={"live": rule} if rule else {}),
            reference=(),
            no_leak=True,
        )

    def _wish(self) -> tuple[int, int]:
        """How many milestones and facts are asked for, by a level drawn as `tasks.difficulty_mix` says."""
        rng = random.Random(f"teacher-{self.params.seed}-{self.number}")
        return WISHES[rng.choices((1, 2, 3), self.params.tasks.difficulty_mix)[0]]

    def _persona(self) -> str:
        return fenced(self.persona.text[:_LONGEST_PERSONA])

    def _provenance(self) -> dict[str, Any]:
        """Where the task comes from. `reworded`: facts whose phrase did not say their value."""
        notes = {"not_executable": self.not_executable, "reworded": self.reworded}
        return {
            "backend": "openai",
            "model": self.params.roles.teacher.model,
            "prompts": dict(self.versions),
            "seed": self.params.seed,
            "tokens": sum(self.tokens.values()),
            **{name: note for name, note in notes.items() if note},
        }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _forbidden(toolset: Toolset) -> str:
    said = toolset.forbidden
    return fenced(f"{forbidden_tool(toolset)} must not be used to {said.must_not}, because {said.because}")


def _told(tools: Sequence[Tool], distractors: Sequence[str]) -> str:
    """The tools, one a line."""
    lines = [
        _json({**tool.schema_of_openai["function"], "outputs": tool.outputs})
        + (" (changes the world)" if tool.changes_state else "")
        + (" (distractor: not needed)" if tool.name in distractors else "")
        for tool in tools
    ]
    return fenced("\n".join(lines))


def _told_facts(facts: Sequence[Fact]) -> str:
    return fenced("\n".join(_json(fact.model_dump()) for fact in facts))
