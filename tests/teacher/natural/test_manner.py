"""How natural tasks are written, whatever they are about: names that say nothing, one wording, arguments in order."""

from __future__ import annotations

import json
import re
from random import Random

from helpers.projects import default_params

from synthagent.episodes.episode import Episode, play
from synthagent.episodes.scripted import Style, reference
from synthagent.records import Task
from synthagent.stages.personas import built_in
from synthagent.teacher.natural.compose import compose
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.propose import propose_natural
from synthagent.teacher.natural.writing import Manner
from synthagent.worlds import Tool

_MASKED = re.compile(r"[a-z][0-9]{1,2}")


def tools(manner: Manner) -> list[tuple[Tool, ...]]:
    return [
        compose(domain, "A baker", "one", False, Random(f"{domain.name}-{number}"), manner).tools
        for domain in load_domains()
        for number in range(4)
    ]


def test_so_many_toolsets_are_masked_as_the_params_say_and_of_these_all_names() -> None:
    def masked(some: tuple[Tool, ...]) -> list[bool]:
        return [bool(_MASKED.fullmatch(name)) for tool in some for name in (tool.name, *tool.arguments)]

    assert not any(any(masked(some)) for some in tools(Manner(masked=0)))
    assert all(all(masked(some)) for some in tools(Manner(masked=1)))
    half = [all(masked(some)) for some in tools(Manner(masked=0.5))]
    assert 0.35 < sum(half) / len(half) < 0.65


def test_with_one_wording_requests_of_a_kind_differ_in_their_values_only() -> None:
    (energy,) = (domain for domain in load_domains() if domain.name == "energy")

    def starts(manner: Manner) -> set[str]:
        drawn = (compose(energy, "A baker", "one", False, Random(number), manner) for number in range(60))
        return {" ".join(draft.instruction.split()[:3]) for draft in drawn}

    one, many = starts(Manner(wordings="one")), starts(Manner())
    kinds = len(energy.lookups) + len(energy.actions)
    assert len(one) <= 2 * kinds
    assert len(many) > 3 * len(one)


def test_arguments_of_a_demonstrated_call_are_in_the_order_of_the_schema() -> None:
    params = default_params().tasks
    groups = [propose_natural(range(n, n + 2), list(built_in()), load_domains(), params, 3) for n in range(0, 120, 2)]
    seen = 0
    for task in (task for found in groups for group in found for task in group):
        for call in _calls(task):
            (tool,) = (tool for tool in task.tools if tool.name == call["name"])
            names = list(json.loads(call["arguments"]) if isinstance(call["arguments"], str) else call["arguments"])
            assert names == [name for name in tool.arguments if name in names]
            seen += len(names) > 1
    assert seen > 60


def _calls(task: Task) -> list[dict[str, str]]:
    episode = Episode(task)
    played = play(episode, reference(episode, Style()))
    return [call["function"] for message in played.messages for call in message.get("tool_calls", ())]
