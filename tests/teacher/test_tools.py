"""Tools that the embedded teacher writes: what a schema promises, its effects keep."""

from __future__ import annotations

import random

from helpers.tasks import accepted_tasks, played, tasks_of_all_domains

from synthagent.episodes.world import ToolEvent, fresh_world
from synthagent.teacher.domains import load_vocabulary
from synthagent.teacher.tools import choose_words

TASKS = accepted_tasks()[:150]


def test_a_call_that_goes_well_gives_just_the_outputs_that_the_schema_promises() -> None:
    seen = 0
    for task in TASKS:
        tools = {tool.name: tool for tool in task.tools}
        for event in played(task).world.events:
            if isinstance(event, ToolEvent) and event.ok:
                promised = tools[event.tool].outputs
                assert set(event.result) == set(promised), event
                kinds = {"string": str, "integer": int}
                assert all(type(event.result[name]) is kinds[kind["type"]] for name, kind in promised.items())
                seen += 1
    assert seen > len(TASKS)


def test_one_argument_too_few_too_many_or_of_another_form_is_refused_before_anything_happens() -> None:
    for task in TASKS:
        world = fresh_world(task)
        for good in (e for e in played(task).world.events if isinstance(e, ToolEvent)):
            for name in good.args:
                less = {other: value for other, value in good.args.items() if other != name}
                for args in (less, good.args | {"more": "x"}, good.args | {name: "?"}, good.args | {name: 1}):
                    assert not world.call(good.tool, args).valid, args
        assert world.state() == fresh_world(task).state()


def test_effects_read_and_write_only_what_the_schema_names() -> None:
    for task in TASKS:
        for tool in task.tools:
            for effect in task.world.effects[tool.name]:
                written = {source["arg"] for source in effect.write.values() if "arg" in source}
                used = written | set(effect.where.values()) | ({effect.key} if effect.key else set())
                assert used <= set(tool.arguments)
                assert set(effect.returns) <= set(tool.outputs)


def test_the_words_of_a_task_vary_with_the_draw_and_each_stands_for_one_argument() -> None:
    for domain in load_vocabulary().train:
        drawn = [choose_words(domain, random.Random(seed)) for seed in range(20)]
        assert len(set(drawn)) > 10
        assert choose_words(domain, random.Random(3)) == drawn[3]
        for words in drawn:
            names = (words.id, words.person, words.day, words.choice, words.receipt, words.contact)
            assert len(set(names)) == len(names), domain.name


def test_every_tool_says_what_it_takes_and_gives_and_the_world_can_run_it() -> None:
    for task in tasks_of_all_domains():
        for tool in task.tools:
            assert tool.description
            assert tool.parameters["additionalProperties"] is False
            assert tuple(tool.parameters["required"]) == tool.arguments
            assert tool.outputs
        assert set(task.world.effects) == {tool.name for tool in task.tools}
        assert set(task.world.rules) == {line.id for line in task.constraints}
