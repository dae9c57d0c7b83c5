"""Scripted policies: they act from the task's reference program, more or less faithfully.

The expert follows it; the lazy and reckless ones leave parts out. The proofs, the demonstrations and the baselines of
the evaluation all come from here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from synthagent.episodes.episode import Episode, Message, ToolCall, Turn
from synthagent.episodes.user import CONFIRM
from synthagent.episodes.world import Row, ToolEvent, UserEvent, World, meets_all
from synthagent.records import Answer, Ask, Call, Guard, Step, Task

QUESTIONS = ("What is the {slot}?", "Please tell me the {slot}.")
CONFIRMATIONS = ("Do you confirm?", "Please confirm.")


@dataclass(frozen=True, slots=True)
class Style:
    """How faithfully the reference is followed. `skill`: the chance to keep each good habit."""

    asks: bool = True
    careful: bool = True
    skill: float = 1.0


EXPERT = Style()
NEVER_ASKS = Style(asks=False)
RECKLESS = Style(careful=False)


def play(task: Task, world: World, style: Style = EXPERT, rng: random.Random | None = None) -> Episode:
    """Run the reference program in `world` in the given style."""
    return _Run(task, world, style, rng or random.Random(0)).run()


def noop(task: Task, world: World) -> Episode:
    """Answers at once."""
    episode = Episode(task, world)
    episode.step(_answer_turn("done", ()))
    return episode


def asks_only(task: Task, world: World) -> Episode:
    """Asks for every fact, calls nothing, answers."""
    episode = Episode(task, world)
    for fact in task.facts:
        episode.step(Turn(_question(fact.slot, random.Random(0))))
    episode.step(_answer_turn("done", ()))
    return episode


BASELINES: dict[str, Callable[[Task, World], Episode]] = {
    "noop": noop,
    "never_asks": lambda task, world: play(task, world, NEVER_ASKS),
    "asks_only": asks_only,
    "expert": play,
}


@dataclass(frozen=True, slots=True)
class Executed:
    """A step that the expert took, and the world's tables after it. `values`: what an answer's names stood for."""

    step: Step
    args: dict[str, Any]
    ok: bool
    after: dict[str, dict[Any, Row]]
    values: dict[str, Any]


def solve(task: Task, world: World) -> Sequence[Executed]:
    """The path of the reference program through this world, as the expert takes it."""
    run = _Run(task, world, EXPERT, random.Random(0), trace=True)
    run.run()
    return run.executed


class _Run:
    """The interpreter of a reference program. `known` holds what the policy has learnt, by name."""

    def __init__(self, task: Task, world: World, style: Style, rng: random.Random, trace: bool = False) -> None:
        self.style, self.rng, self.trace = style, rng, trace
        self.steps = task.reference
        self.episode = Episode(task, world)
        self.known: dict[str, Any] = {}
        self.guesses = _guesses(task.reference)
        self.executed: list[Executed] = []

    def run(self) -> Episode:
        for step in self.steps:
            match step:
                case Ask():
                    self._ask(step)
                case Call():
                    self._call(step)
                case Guard():
                    self._guard(step)
                case Answer():
                    self._answer(step)
            if self.episode.end:
                break
        return self.episode

    def _keeps_habit(self) -> bool:
        return self.style.skill >= 1 or self.rng.random() < self.style.skill

    def _ask(self, step: Ask) -> None:
        careless = step.slot == CONFIRM and not self.style.careful
        if step.slot in self.known or careless or not self.style.asks or not self._keeps_habit():
            return
        self._step(step, Turn(_question(step.slot, self.rng)))
        event = self.episode.world.events[-1]
        if isinstance(event, UserEvent):
            self.known.update(event.told)

    def _call(self, step: Call) -> None:
        if step.precaution and not (self.style.careful and self._keeps_habit()):
            return
        args = {arg: self.known.get(name, self.guesses.get(name)) for arg, name in step.args.items()}
        observation = self._step(step, Turn(calls=(ToolCall(step.tool, args),)))
        result = json.loads(observation[0]["content"]) if observation else {}
        self.known.update(result)
        if "error" in result and step.otherwise and self.style.careful and self._keeps_habit():
            self._answer(step.otherwise)

    def _guard(self, step: Guard) -> None:
        # What was not looked up cannot stop anyone.
        seen = [c for c in step.conditions if c.field in self.known]
        if self.style.careful and not meets_all(self.known, seen) and self._keeps_habit():
            self._answer(step.otherwise)

    def _answer(self, step: Answer) -> None:
        values = tuple(str(self.known[name]) for name in step.values if name in self.known)
        if self.style.skill < 1 and self.rng.random() > (1 + self.style.skill) / 2:
            values = ()
        self._step(step, _answer_turn(step.outcome, values))

    def _step(self, step: Step, turn: Turn) -> Sequence[Message]:
        observations = self.episode.step(turn)
        if self.trace:
            world = self.episode.world
            event = world.events[-1]
            args, ok = (dict(event.args), event.ok) if isinstance(event, ToolEvent) else ({}, True)
            values = {name: self.known[name] for name in step.values} if isinstance(step, Answer) else {}
            self.executed.append(Executed(step, args, ok, world.state(), values))
        return observations


def _guesses(steps: Sequence[Step]) -> dict[str, str]:
    """What a policy would assume, by name, had it neither asked nor looked."""
    guesses: dict[str, str] = {}
    for step in steps:
        match step:
            case Ask():
                guesses[step.slot] = step.guess
            case Call():
                guesses.update(step.guess)
            case _:
                pass
    return guesses


def _question(slot: str, rng: random.Random) -> str:
    return rng.choice(CONFIRMATIONS if slot == CONFIRM else QUESTIONS).format(slot=slot)


def _answer_turn(outcome: str, values: Sequence[str]) -> Turn:
    return Turn(f"<answer>{' '.join([outcome.capitalize(), *values])}</answer>")
