"""The patterns in which the world decides, the user goes on, or two rows are alike: what earns, and what does not."""

from __future__ import annotations

import json
import re

from helpers.natural import acted, calls_of, pairs, score_of, tasks

from synthagent.episodes.episode import Episode, opening, play
from synthagent.episodes.scripted import MIXES_UP, NEVER_ASKS, RECKLESS, Style
from synthagent.episodes.turn import Turn, answer_turn
from synthagent.episodes.user import DOES_NOT_KNOW, NEXT
from synthagent.judging.criteria import extract
from synthagent.judging.natural_proofs import does_the_same
from synthagent.judging.proofs import prove
from synthagent.records import Task
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.policy import wordings
from synthagent.teacher.natural.spoken import today_of
from synthagent.worlds import Answer, Call, Called, Condition, Guard, Never, Pick


def ending(task: Task) -> str:
    return str(acted(task).messages[-1]["content"])


def guard_of(task: Task) -> Guard:
    return next(step for step in task.reference if isinstance(step, Guard))


# --- a condition ------------------------------------------------------------------------------------------------------


def test_a_condition_has_a_twin_in_which_the_other_thing_is_right() -> None:
    found = list(pairs("condition"))
    assert found
    for first, second in found:
        assert first.instruction == second.instruction
        assert first.reference == second.reference
        done = [calls_of(acted(task)) for task in (first, second)]
        assert done[0] != done[1]
        if not guard_of(first).instead:
            assert {ending(first), ending(second)} == {"<answer>Done</answer>", "<answer>Kept</answer>"}


def test_where_something_else_is_to_be_done_instead_both_of_the_pair_are_done() -> None:
    found = [two for two in pairs("condition") if guard_of(two[0]).instead]
    assert found
    for two in found:
        tool = guard_of(two[0]).instead[0].tool
        assert {ending(task) for task in two} == {"<answer>Done</answer>"}
        made = [any(call["name"] == tool for turn in calls_of(acted(task)) for call in turn) for task in two]
        assert sorted(made) == [False, True]


def test_who_acts_without_looking_at_the_condition_earns_nothing() -> None:
    for task in tasks("condition"):
        assert "asked" in task.world.rules
        assert "asked" not in {constraint.id for constraint in task.constraints}
        assert score_of(task, acted(task, RECKLESS)).reward == 0.0


def test_the_path_of_the_other_case_earns_at_most_half() -> None:
    for two in pairs("condition"):
        for task, twin in (two, two[::-1]):
            assert score_of(task, replayed(task, twin)).reward <= 0.5


def replayed(task: Task, twin: Task) -> Episode:
    """The turns of the expert in the twin, in the task."""
    return play(Episode(task), iter(extract(twin, Episode(twin).world).turns))


# --- two requests -----------------------------------------------------------------------------------------------------


def test_the_next_request_is_made_once_the_first_is_met_and_not_before() -> None:
    found = tasks("two")
    assert found
    for task in found:
        said = next(fact.phrase for fact in task.facts if fact.slot == NEXT)
        assert said not in json.dumps(opening(task))
        episode = Episode(task)
        answered = episode.step(Turn("What would you like next, and what is your next_request?"))
        assert answered[0]["content"] == DOES_NOT_KNOW
        assert episode.step(Turn(f"It is {task.world.goes_on[0]}."))[0]["content"] == said


def test_in_the_experts_conversation_the_report_stands_between_the_two_requests() -> None:
    for task in tasks("two"):
        said = next(fact.phrase for fact in task.facts if fact.slot == NEXT)
        messages = acted(task).messages
        at = next(n for n, message in enumerate(messages) if message["content"] == said)
        assert task.world.goes_on[0] in str(messages[at - 1]["content"])
        assert any(message.get("tool_calls") for message in messages[:at])
        assert any(message.get("tool_calls") for message in messages[at:])


def test_who_stops_after_the_first_request_earns_less() -> None:
    for task in tasks("two"):
        stopped = acted(task, NEVER_ASKS)
        assert stopped.end == "answer"
        assert task.world.goes_on[0] in str(stopped.messages[-1]["content"])
        assert score_of(task, stopped).reward < 0.5
        assert prove(task).holds["needs_user"]


def test_a_user_who_never_hears_the_result_never_goes_on() -> None:
    task = tasks("two")[0]
    mute = task.model_copy(update={"world": task.world.model_copy(update={"goes_on": ("something else",)})})
    assert prove(mute).holds["solvable"] is False


# --- rows that are easily mixed up ------------------------------------------------------------------------------------


def alike() -> list[Task]:
    return [task for task in tasks() if any(isinstance(step, Pick) for step in task.reference)]


def test_the_lookup_brings_two_rows_of_the_user_that_differ_in_what_the_request_says() -> None:
    found = alike()
    assert len(found) > 10
    for task in found:
        messages = acted(task).messages
        seen = [json.loads(str(message["content"])) for message in messages if message["role"] == "tool"]
        rows = next(result["results"] for result in seen if "results" in result)
        assert len(rows) == 2
        assert all(len({json.dumps(row[name]) for row in rows}) == 2 for name in rows[0])
    places = {json.dumps(picked(task)).find("true") for task in found}
    assert len(places) == 2  # the right one stands first in some, second in others


def picked(task: Task) -> list[bool]:
    """For each of the two rows whether the expert went on with it."""
    messages = acted(task).messages
    at, rows = next(
        (n, json.loads(str(m["content"]))["results"]) for n, m in enumerate(messages) if "results" in str(m["content"])
    )
    later = json.dumps(messages[at + 1 :])
    return [any(str(value) in later for name, value in row.items() if name.endswith("code")) for row in rows]


def test_who_takes_the_other_row_earns_less() -> None:
    for task in alike():
        assert score_of(task, acted(task)).reward == 1.0
        assert score_of(task, acted(task, MIXES_UP)).reward < 1.0
        assert prove(task).holds["apart"]


def test_a_task_in_which_either_row_will_do_fails_the_proof() -> None:
    task = next(task for task in alike() if task.provenance["pattern"] == "chain")
    at = next(number for number, step in enumerate(task.reference) if isinstance(step, Pick))
    for_nothing = (*task.reference[: at + 1], task.reference[-1])  # nothing is done with the row
    assert prove(task.model_copy(update={"reference": for_nothing})).holds["apart"] is False


# --- rules that do not matter ----------------------------------------------------------------------------------------


def test_prompts_have_several_rules_and_sentences_that_decide_nothing() -> None:
    counts = [len(task.constraints) for task in tasks()]
    assert max(counts) >= 3
    assert sum(count > 1 for count in counts) > 0.1 * len(counts)
    said = [task for task in tasks() if any(line in task.world.opening for line in wordings().neutral)]
    assert 0.2 < len(said) / len(tasks()) < 0.6


def test_every_rule_in_a_prompt_has_a_check_and_the_expert_breaks_none() -> None:
    for task in tasks():
        assert {constraint.id for constraint in task.constraints} <= task.world.rules.keys()
        assert score_of(task, acted(task)).gate == 1.0


def test_a_decoy_names_the_right_tool_and_another_status_or_amount() -> None:
    found = [task for task in tasks() if "decoy" in task.world.rules]
    assert found
    for task in found:
        decoy, live = task.world.rules["decoy"], task.world.rules["live"]
        assert decoy.tool == live.tool
        assert decoy.seen is not None
        assert live.seen is not None
        assert decoy.seen.result != live.seen.result


def test_a_decoy_that_did_matter_would_be_found_out() -> None:
    task = next(task for task in tasks() if "decoy" in task.world.rules and ending(task) == "<answer>Done</answer>")
    decoy = task.world.rules["decoy"]
    assert decoy.seen is not None
    never = Called(tool=decoy.seen.tool, result=(Condition(field="status", value="no such status"),))
    rules = task.world.rules | {"decoy": Never(tool=decoy.tool, seen=never, same=decoy.same)}
    forbidden = task.model_copy(update={"world": task.world.model_copy(update={"rules": rules})})
    assert prove(forbidden).holds["solvable"] is False


# --- no tool fits -----------------------------------------------------------------------------------------------------


def test_no_other_tool_does_what_the_removed_one_did() -> None:
    for task in tasks("cannot"):
        removed = task.world.removed
        assert removed is not None
        assert removed.tool.name not in {tool.name for tool in task.tools}
        assert does_the_same(task, removed) is None
        assert prove(task).holds["nothing"]


def test_the_removed_tool_under_another_name_is_found_out() -> None:
    for task in tasks("cannot"):
        removed = task.world.removed
        assert removed is not None
        again = removed.tool.model_copy(update={"name": "another_name"})
        world = task.world.model_copy(update={"effects": {**task.world.effects, "another_name": removed.effects}})
        back = task.model_copy(update={"tools": (*task.tools, again), "world": world})
        assert does_the_same(back, removed) == "another_name"
        assert prove(back).holds["nothing"] is False


def test_a_removed_tool_that_did_nothing_proves_nothing() -> None:
    task = tasks("cannot")[0]
    removed = task.world.removed
    assert removed is not None
    assert does_the_same(task, removed.model_copy(update={"args": {}})) == removed.tool.name


def test_an_agent_that_says_it_cannot_ends_right() -> None:
    task = tasks("cannot")[0]
    assert score_of(task, play(Episode(task), iter([answer_turn("cannot")]))).reward == 1.0
    assert score_of(task, play(Episode(task), iter([answer_turn("done")]))).reward < 1.0


# --- what no tool does, what failed at first, what is told at the end -------------------------------------------------


def desk_of(task: Task) -> str:
    """The domain whose tools a task has, by the tables that they read and write."""
    there = {effect.table for effects in task.world.effects.values() for effect in effects}
    names = [domain.name for domain in load_domains() if there <= domain.tables]
    return task.domain if task.domain in names else names[0]


def test_a_prompt_names_the_desk_and_the_day_or_neither_and_neither_only_where_no_day_is_asked_for() -> None:
    named = {domain.name: domain.about for domain in load_domains()}
    anywhere = [task for task in tasks() if task.world.opening.startswith(wordings().anywhere)]
    assert 0.08 < len(anywhere) / len(tasks()) < 0.35
    for task in tasks():
        told = (named[desk_of(task)] in task.world.opening, today_of(task.world.opening) is not None)
        assert told == ((False, False) if task in anywhere else (True, True))
    days = re.compile(r"\b(today|tomorrow|next week|from now|(this|next|coming) \w+day)\b")
    assert not [task.id for task in anywhere if task.world.removed is None and days.search(task.instruction)]
    assert any(task.world.removed for task in anywhere)


def test_of_what_no_tool_does_a_part_is_asked_at_another_desk_and_a_part_at_the_right_one() -> None:
    found = tasks("cannot")
    elsewhere = [task for task in found if desk_of(task) != task.domain]
    assert 0.4 < len(elsewhere) / len(found) < 0.8
    splits = {domain.name: domain.split for domain in load_domains()}
    assert all(splits[desk_of(task)] == task.split for task in elsewhere)
    for task in found:
        assert "Cannot" in ending(task)
        assert score_of(task, acted(task)).reward == 1.0


def test_at_another_desk_no_tool_reads_or_writes_what_the_removed_one_did() -> None:
    for task in tasks("cannot"):
        removed = task.world.removed
        assert removed
        if desk_of(task) != task.domain:
            there = {effect.table for effects in task.world.effects.values() for effect in effects}
            assert not there & {effect.table for effect in removed.effects}


def test_of_calls_made_together_only_those_that_failed_in_passing_are_made_again() -> None:
    busy = [
        task
        for task in (*tasks("several"), *tasks("parallel"))
        if any(effect.busy for effects in task.world.effects.values() for effect in effects)
    ]
    assert busy
    for task in busy:
        turns = calls_of(acted(task, Style(parallel=True)))
        assert len(turns) == 2
        assert len(turns[1]) < len(turns[0]) or len({str(call["name"]) for call in turns[0]}) == 1
        assert all(call in turns[0] for call in turns[1])


def told(task: Task) -> set[str]:
    """The words of the answer, each once."""
    return set(ending(task).replace("</answer>", "").split())


def test_the_answer_tells_what_each_lookup_found_and_one_that_tells_only_the_last_earns_less() -> None:
    differ = 0
    for task in (*tasks("several"), *tasks("parallel")):
        answer = task.reference[-1]
        assert isinstance(answer, Answer)
        assert len(answer.values) == sum(isinstance(step, Call) for step in task.reference)
        short = task.model_copy(
            update={"reference": (*task.reference[:-1], answer.model_copy(update={"values": answer.values[-1:]}))}
        )
        if told(short) != told(task):  # by chance the same may be found each time
            differ += 1
            assert score_of(task, acted(short)).reward < 1.0
    assert differ
