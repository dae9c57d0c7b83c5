"""Scripted policies: an episode -> turns, one after another. Those here act from the task's reference program.

The expert follows it; others leave out asking or caution. The proofs, the demonstrations and, with `lazy`, the
baselines of the evaluation come from here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from synthagent.episodes.episode import Episode, Script, play
from synthagent.episodes.lazy import LAZY
from synthagent.episodes.turn import ToolCall, Turn, answer_turn
from synthagent.episodes.user import CONFIRM, told_at_once
from synthagent.episodes.world import BUSY, Row, ToolEvent, UserEvent, meets, meets_all
from synthagent.meaning import same
from synthagent.worlds import Answer, Ask, Call, Condition, Guard, Pick, Step

QUESTIONS = ("What is the {slot}?", "Please tell me the {slot}.")
CONFIRMATIONS = ("Do you confirm?", "Please confirm.")


@dataclass(frozen=True, slots=True)
class Style:
    """How faithfully the reference is followed. `skill`: the chance to keep each good habit: to ask, to look, to heed
    an error, to answer in full.

    `aloud`: what was looked up is held against the policy in words, before the turn that depends on it.
    `parallel`: calls that do not depend on each other are made in one turn. `asks_again`: what the request has said
    already is asked for once more. `mixes_up`: of several results another one is taken.
    """

    asks: bool = True
    careful: bool = True
    skill: float = 1.0
    aloud: bool = False
    parallel: bool = False
    asks_again: bool = False
    mixes_up: bool = False


EXPERT = Style()
NEVER_ASKS = Style(asks=False)
RECKLESS = Style(careful=False)
ASKS_AGAIN = Style(asks_again=True)
MIXES_UP = Style(mixes_up=True)
_TRIES = 3  # of a call that fails in passing


def reference(episode: Episode, style: Style = EXPERT, rng: random.Random | None = None) -> Iterator[Turn]:
    """Follows the task's reference program in the given style."""
    return _Reference(episode, style, rng or random.Random(0)).turns()


def never_asks(episode: Episode) -> Iterator[Turn]:
    """Follows the reference on guesses."""
    return reference(episode, NEVER_ASKS)


SCRIPTS: dict[str, Script] = {**LAZY, "never_asks": never_asks, "expert": reference}


@dataclass(frozen=True, slots=True)
class Executed:
    """A step that the expert took, and the world's tables after it. `values`: what an answer's names stood for."""

    step: Step
    args: dict[str, Any]
    ok: bool
    after: dict[str, dict[Any, Row]]
    values: dict[str, Any]


def solve(episode: Episode) -> Sequence[Executed]:
    """The path of the reference program through the episode's world, as the expert takes it."""
    path: list[Executed] = []
    play(episode, _Reference(episode, EXPERT, random.Random(0), path).turns())
    return path


class _Reference:
    """The interpreter of a reference program. `known` holds what the policy has learnt, by name."""

    def __init__(self, episode: Episode, style: Style, rng: random.Random, path: list[Executed] | None = None) -> None:
        self.episode, self.style, self.rng, self.path = episode, style, rng, path
        self.known: dict[str, Any] = dict(told_at_once(episode.task))
        self.known |= {slot: value for slot, value in episode.task.world.canonical.items() if slot in self.known}
        self.guesses = _guesses(episode.task.reference)
        self.thought = ""

    def turns(self) -> Iterator[Turn]:
        if self.style.asks_again:
            yield Turn(self.rng.choice(CONFIRMATIONS))
        for steps in _in_turns(self.episode.task.reference, self.style.parallel):
            match steps[0]:
                case Ask() as step:
                    yield from self._ask(step)
                case Call():
                    yield from self._call([step for step in steps if isinstance(step, Call)])
                case Guard() as step:
                    yield from self._guard(step)
                case Pick() as step:
                    self._pick(step)
                case Answer() as step:
                    yield from self._answer(step)
            if self.episode.end:
                return

    def _keeps_habit(self) -> bool:
        return self.style.skill >= 1 or self.rng.random() < self.style.skill

    def _ask(self, step: Ask) -> Iterator[Turn]:
        careless = step.slot == CONFIRM and not self.style.careful
        if step.slot in self.known or careless or not self.style.asks or not self._keeps_habit():
            if step.tells:  # who does not tell what was found takes it for the end, and hears of nothing else
                yield from self._answer(Answer(outcome="done", values=step.tells, milestone=step.milestone))
            return
        question = step.question.format(**{name: self.known.get(name, "") for name in step.tells}) or None
        yield from self._take(step, Turn(question or _question(step.slot, self.rng)))
        event = self.episode.world.events[-1]
        if isinstance(event, UserEvent):
            canonical = self.episode.task.world.canonical
            self.known.update({slot: canonical.get(slot, value) for slot, value in event.told.items()})

    def _call(self, steps: Sequence[Call]) -> Iterator[Turn]:
        """Make the calls of one turn."""
        step = steps[0]
        if step.precaution and not (self.style.careful and self._keeps_habit()):
            return
        calls = [ToolCall(each.tool, self._arguments(each)) for each in steps]
        results: list[dict[str, Any]] = [{} for _ in steps]
        left = [*range(len(steps))]
        for _ in range(_TRIES):
            yield self._said(Turn(calls=tuple(calls[number] for number in left)))
            answers = [] if self.episode.end else self.episode.messages[-len(left) :]
            for number, message in zip(left, answers, strict=False):
                results[number] = json.loads(message["content"])
            left = [number for number in left if results[number].get("error") == BUSY]
            if not (left and self.style.careful and self._keeps_habit()):
                break
        for each, result in zip(steps, results, strict=True):
            self.known.update(result)
            self.known.update({name: result[output] for output, name in each.keeps.items() if output in result})
            self._note(each)
        failed = any("error" in result for result in results)
        if failed and step.otherwise and self.style.careful and self._keeps_habit():
            yield from self._answer(step.otherwise)

    def _arguments(self, step: Call) -> dict[str, Any]:
        known = {arg: self.known.get(name, self.guesses.get(name)) for arg, name in step.args.items()}
        found = {**step.given, **known}
        (tool,) = (tool for tool in self.episode.task.tools if tool.name == step.tool)
        return {name: found[name] for name in tool.arguments if name in found} | found  # in the order of its schema

    def _guard(self, step: Guard) -> Iterator[Turn]:
        # What was not looked up cannot stop anyone. What was seen is heeded whatever the skill: from demonstrations of
        # which some act against what they saw, a student learns much later that it matters (docs/decisions.md).
        seen = [c for c in step.conditions if c.field in self.known]
        if not seen or not self.style.careful:
            return
        fits = meets_all(self.known, seen)
        if self.style.aloud:
            self.thought = "".join(_held_against(c, self.known[c.field]) for c in seen if c.field != CONFIRM)
        if not fits:
            for call in step.instead:
                yield from self._call([call])
            if not self.episode.end:
                yield from self._answer(step.otherwise)

    def _pick(self, step: Pick) -> None:
        """Learn one of several results; where none has the values, the first."""
        results = self.known.pop("results", None)
        if not results:
            return
        names = {output: self.known.get(name, self.guesses.get(name)) for output, name in step.known.items()}
        wanted = {**step.given, **names}
        right = [row for row in results if all(same(row.get(name), value) for name, value in wanted.items())]
        if self.style.mixes_up:
            right = [row for row in results if row not in right]
        self.known.update((right or results)[0])

    def _answer(self, step: Answer) -> Iterator[Turn]:
        values = tuple(str(self.known[name]) for name in step.values if name in self.known)
        if self.style.skill < 1 and self.rng.random() > (1 + self.style.skill) / 2:
            values = ()
        yield from self._take(step, answer_turn(step.outcome, values))

    def _take(self, step: Step, turn: Turn) -> Iterator[Turn]:
        yield self._said(turn)
        self._note(step)

    def _said(self, turn: Turn) -> Turn:
        """The turn, after what was thought."""
        said, self.thought = self.thought, ""
        return replace(turn, text=said + turn.text)

    def _note(self, step: Step) -> None:
        """Put a step that was taken on the path."""
        if self.path is not None:
            world = self.episode.world
            event = world.events[-1]
            args, ok = (dict(event.args), event.ok) if isinstance(event, ToolEvent) else ({}, True)
            values = {name: self.known[name] for name in step.values} if isinstance(step, Answer) else {}
            self.path.append(Executed(step, args, ok, world.state(), values))


def _in_turns(steps: Sequence[Step], parallel: bool) -> Iterator[list[Step]]:
    """The steps one by one; or, in parallel, calls that are made together as one."""
    turn: list[Step] = []
    for step in steps:
        if turn and parallel and isinstance(step, Call) and step.together:
            turn.append(step)
            continue
        if turn:
            yield turn
        turn = [step]
    if turn:
        yield turn


def _guesses(steps: Sequence[Step]) -> dict[str, Any]:
    """What a policy would assume, by name, had it neither asked nor looked."""
    guesses: dict[str, Any] = {}
    for step in steps:
        match step:
            case Ask():
                guesses[step.slot] = step.guess
            case Call():
                guesses.update(step.guess)
            case _:
                pass
    return guesses


def _held_against(condition: Condition, value: Any) -> str:
    """What the policy says of a word, then the word that was seen, each with its verdict: "active yes, frozen no."

    Beside each other, with their verdicts, two words are compared by a small network after some thousand examples;
    apart from each other, or without words for it, they are not (docs/decisions.md). Nothing is said of a limit.
    """
    if condition.op not in ("eq", "ne"):
        return ""
    fits = meets({condition.field: value}, condition)
    named = "yes" if condition.op == "eq" else "no"
    return f"{condition.value} {named}, {value} {'yes' if fits else 'no'}.\n"


def _question(slot: str, rng: random.Random) -> str:
    return rng.choice(CONFIRMATIONS if slot == CONFIRM else QUESTIONS).format(slot=slot)
