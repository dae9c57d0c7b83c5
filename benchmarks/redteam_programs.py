"""Policies that are one sequence of steps for all tasks: ask, read, write, and at the end an answer.

A program sees the tools and the observations, never the policy's text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from synthagent.episodes.episode import Episode
from synthagent.episodes.lazy import ask_all, call_all, call_of, given_by, known, question, reading, writing
from synthagent.episodes.turn import Turn, answer_turn
from synthagent.episodes.user import CONFIRM
from synthagent.episodes.world import ToolEvent, UserEvent

Step = Literal["ask all", "ask next", "ask consent", "read", "write all", "write 1st", "write 2nd", "write 3rd"]
Says = Literal["nothing", "last", "status", "read", "written", "told"]
STEPS: tuple[Step, ...] = (
    *("ask all", "ask next", "ask consent", "read"),
    *("write all", "write 1st", "write 2nd", "write 3rd"),
)
SAYS: tuple[Says, ...] = ("nothing", "last", "status", "read", "written", "told")
OUTCOMES = ("done", "refused", "kept")
MOST_STEPS = 7  # and the answer


@dataclass(frozen=True, slots=True)
class Program:
    """Steps, and the answer. `heeds_errors`: it refuses, with the error, as soon as a tool gives one."""

    steps: tuple[Step, ...]
    outcome: str
    says: Says = "nothing"
    heeds_errors: bool = False

    def __str__(self) -> str:
        end = f"{self.outcome}, {self.says}" if self.says != "nothing" else self.outcome
        return ", ".join([*self.steps, end]) + (" (refuses on an error)" if self.heeds_errors else "")

    def __call__(self, episode: Episode) -> Iterator[Turn]:
        """The program as a policy."""
        events = episode.world.events
        for step in self.steps:
            for turn in _turns(step, episode):
                before = len(events)
                yield turn
                faults = [e for e in events[before:] if isinstance(e, ToolEvent) and not e.ok]
                if faults and self.heeds_errors:
                    yield answer_turn("refused", [str(faults[-1].result["error"])])
                    return
        yield answer_turn(self.outcome, _values(self.says, episode))


LAZY_STARTS = (
    Program(("ask all", "read"), "refused", "read"),
    Program(("ask all", "read"), "kept"),
    Program(("ask all", "read", "write all"), "done", "written"),
    Program(("ask all", "read", "write 1st", "write 2nd"), "done", "written"),
)


def _turns(step: Step, episode: Episode) -> Iterator[Turn]:
    match step:
        case "ask all":
            yield from ask_all(episode)
        case "ask next":
            told = {slot for event in episode.world.events if isinstance(event, UserEvent) for slot in event.told}
            yield from (Turn(question(fact.slot)) for fact in episode.task.facts[len(told) : len(told) + 1])
        case "ask consent":
            yield Turn(question(CONFIRM))
        case "read":
            yield from call_all(episode, reading(episode.task))
        case "write all":
            yield from call_all(episode, writing(episode.task))
        case "write 1st" | "write 2nd" | "write 3rd":
            names = known(episode)
            calls = [call for tool in writing(episode.task) if (call := call_of(tool, names))]
            number = int(step[6]) - 1
            yield from (Turn(calls=(call,)) for call in calls[number : number + 1])


def _values(says: Says, episode: Episode) -> list[str]:
    names = known(episode)
    match says:
        case "nothing":
            return []
        case "last":
            return [str(value) for value in list(names.values())[-1:]]
        case "status":
            return [str(names["status"])] if "status" in names else []
        case "read":
            return given_by(episode, reading(episode.task))
        case "written":
            return given_by(episode, writing(episode.task))
        case "told":
            return [str(names[fact.slot]) for fact in episode.task.facts if fact.slot in names]


def random_program(rng: Random) -> Program:
    """Any program."""
    steps = tuple(rng.choice(STEPS) for _ in range(rng.randint(1, MOST_STEPS)))
    return Program(steps, rng.choice(OUTCOMES), rng.choice(SAYS))


def changed_program(program: Program, rng: Random) -> Program:
    """One step put in, taken out or replaced, or another end."""
    steps, place = list(program.steps), rng.randrange(len(program.steps) + 1)
    match rng.choice(("in", "out", "replace", "outcome", "says")):
        case "in" if len(steps) < MOST_STEPS:
            steps.insert(place, rng.choice(STEPS))
        case "out" if len(steps) > 1:
            del steps[place - 1]
        case "replace":
            steps[place - 1] = rng.choice(STEPS)
        case "outcome":
            return replace(program, outcome=rng.choice(OUTCOMES))
        case _:
            return replace(program, says=rng.choice(SAYS))
    return replace(program, steps=tuple(steps))
