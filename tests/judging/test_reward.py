"""The reward lies in [0, 1], grows with what was achieved, and is never made up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from helpers.tasks import accepted_tasks, played, reward_row, rubric_of, scripted
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.scripted import RECKLESS, SCRIPTS
from synthagent.judging.reward import Formula, Score, by_prompt, middling, score, score_world, sifted
from synthagent.records import Criterion, Kind, Reward, Verdict

FORMULAS: tuple[Formula, ...] = ("cubed", "product", "paper")
outcomes = st.lists(
    st.tuples(st.sampled_from(["constraint", "subgoal", "interaction"]), st.booleans()), min_size=1, max_size=10
)


def scored(
    outcomes: Sequence[tuple[Kind, bool]], *, answered: bool = True, formula: Formula = "product", require: bool = True
) -> Score:
    criteria = [Criterion(id=f"c{n}", kind=kind, text="") for n, (kind, _) in enumerate(outcomes)]
    verdicts = [
        Verdict(criterion=f"c{n}", passed=passed, by="check", evidence="") for n, (_, passed) in enumerate(outcomes)
    ]
    return score(criteria, verdicts, answered=answered, formula=formula, require_answer=require)


@given(outcomes, st.booleans(), st.sampled_from(FORMULAS), st.booleans())
def test_every_value_lies_between_0_and_1(
    outcomes: list[tuple[Kind, bool]], answered: bool, formula: Formula, require: bool
) -> None:
    found = scored(outcomes, answered=answered, formula=formula, require=require)
    for value in (found.gate, found.subgoals, found.interactions, found.reward, found.reward_paper):
        assert 0 <= value <= 1
    assert found.reward_paper == scored(outcomes, answered=answered, formula="paper", require=require).reward


@given(outcomes, st.integers(0, 9), st.sampled_from(FORMULAS))
def test_meeting_one_more_criterion_never_lowers_the_reward(
    outcomes: list[tuple[Kind, bool]], which: int, formula: Formula
) -> None:
    which %= len(outcomes)
    without = [*outcomes[:which], (outcomes[which][0], False), *outcomes[which + 1 :]]
    with_it = [*outcomes[:which], (outcomes[which][0], True), *outcomes[which + 1 :]]
    assert scored(with_it, formula=formula).reward >= scored(without, formula=formula).reward


@given(outcomes, st.sampled_from(FORMULAS))
def test_one_violated_constraint_takes_everything(outcomes: list[tuple[Kind, bool]], formula: Formula) -> None:
    found = scored([*outcomes, ("constraint", False)], formula=formula)
    assert (found.gate, found.reward, found.reward_paper) == (0, 0, 0)


@given(outcomes)
def test_the_product_pays_at_most_what_the_paper_pays(outcomes: list[tuple[Kind, bool]]) -> None:
    found = scored(outcomes)
    assert found.reward <= found.reward_paper + 1e-12


@given(outcomes)
def test_the_product_is_the_gate_times_the_work_times_half_of_one_plus_the_asking(
    outcomes: list[tuple[Kind, bool]],
) -> None:
    found = scored(outcomes)
    assert found.reward == pytest.approx(found.gate * found.subgoals * (1 + found.interactions) / 2)


@given(outcomes, st.sampled_from(FORMULAS))
def test_an_episode_without_an_answer_earns_nothing_if_one_is_required(
    outcomes: list[tuple[Kind, bool]], formula: Formula
) -> None:
    assert scored(outcomes, answered=False, formula=formula).reward == 0
    lenient = scored(outcomes, answered=False, formula=formula, require=False)
    assert lenient == scored(outcomes, answered=True, formula=formula)


@given(outcomes)
def test_only_all_criteria_met_is_perfect(outcomes: list[tuple[Kind, bool]]) -> None:
    everything = [*outcomes, ("subgoal", True)]
    assert scored(everything).perfect == all(passed for _, passed in everything)


@given(outcomes)
def test_cubed_is_the_third_power_of_the_product_so_that_half_the_work_earns_an_eighth(
    outcomes: list[tuple[Kind, bool]],
) -> None:
    product, cubed = scored(outcomes), scored(outcomes, formula="cubed")
    assert cubed == replace(product, reward=pytest.approx(product.reward**3))
    assert cubed.perfect == product.perfect


def test_asking_everything_and_doing_nothing_pays_by_the_paper_but_not_by_the_product() -> None:
    idle = [("interaction", True), ("interaction", True), ("subgoal", False), ("subgoal", False)]
    assert scored(idle).reward == 0
    assert scored(idle).reward_paper == 0.5


def test_without_required_interactions_each_formula_pays_by_the_work() -> None:
    found = scored([("subgoal", True), ("subgoal", False)])
    assert (found.reward, found.reward_paper) == (0.5, 0.5)
    assert scored([("subgoal", True), ("subgoal", False)], formula="cubed").reward == 0.125


def test_a_criterion_without_a_verdict_raises_and_is_named() -> None:
    criteria = [Criterion(id=name, kind="subgoal", text="") for name in ("judged", "left_out")]
    verdicts = [Verdict(criterion="judged", passed=True, by="judge", evidence="")]
    with pytest.raises(ValueError, match="left_out"):
        score(criteria, verdicts, answered=True)


def test_an_undecidable_criterion_cannot_be_scored_by_checks_alone() -> None:
    task = accepted_tasks()[0]
    rubric = rubric_of(task)
    polite = Criterion(id="polite", kind="subgoal", text="The agent is polite.")
    world = played(task).world
    with pytest.raises(ValueError, match="polite"):
        score_world(rubric.model_copy(update={"criteria": (*rubric.criteria, polite)}), world)


def test_the_expert_earns_one_the_reckless_nothing_and_the_idle_little() -> None:
    for task in accepted_tasks()[:60]:
        rubric = rubric_of(task)
        earned = {name: score_world(rubric, scripted(name, task).world).reward for name in SCRIPTS}
        world = played(task, RECKLESS).world
        assert earned["expert"] == 1
        assert earned["noop"] <= 0.25
        assert earned["asks_only"] <= 0.25
        assert earned["never_asks"] <= 0.6
        assert score_world(rubric, world).reward == 0


def test_a_score_is_perfect_only_at_one() -> None:
    full = scored([("subgoal", True)])
    assert full.perfect
    assert not replace(full, reward=0.999).perfect


def rewards(task_id: str, earned: Sequence[float | None]) -> list[Reward]:
    """What a task's episodes earned; None: an error."""
    return [reward_row(f"{task_id}.sft.{sample}", task_id, value) for sample, value in enumerate(earned)]


def test_tasks_that_always_earn_the_same_teach_nothing() -> None:
    rows = [
        *rewards("always", [1.0] * 4),
        *rewards("never", [0.0] * 4),
        *rewards("thirds", [1 / 3] * 3),
        *rewards("middling", [0.0, 1.0, 1.0, 1.0]),
        *rewards("a little", [0.25, 0.25, 0.3]),
    ]
    random.Random(0).shuffle(rows)
    assert middling(rows, {}) == [("a little",), ("middling",)]
    left = sifted(rows, {})
    assert (left.all_failed, left.all_solved, left.all_alike) == ((("never",),), (("always",),), (("thirds",),))


def test_errors_are_no_zeros() -> None:
    rows = [*rewards("a", [1.0, None, 1.0]), *rewards("b", [None, None]), *rewards("c", [None, 0.5])]
    assert middling(rows, {}) == []
    assert by_prompt(rows, {}) == {("a",): [1.0, 1.0], ("c",): [0.5]}
    assert middling([*rewards("a", [1.0, None, 0.5])], {}) == [("a",)]
    assert middling([], {}) == []


TWINS = {"a": "b", "b": "a"}


def test_twins_are_one_prompt_whose_episodes_are_compared_with_each_other() -> None:
    rows = [*rewards("c", [0.5]), *rewards("b", [1.0, 0.0]), *rewards("a", [0.25])]
    assert by_prompt(rows, TWINS) == {("a", "b"): [0.25, 1.0, 0.0], ("c",): [0.5]}
    assert by_prompt(rewards("b", [1.0]), TWINS) == {("b",): [1.0]}, "its twin was not rolled out"
    assert by_prompt([*rewards("b", [1.0]), *rewards("a", [None])], TWINS) == {("b",): [1.0]}


def test_a_prompt_teaches_where_its_twins_earn_different_rewards_each_always_the_same() -> None:
    always_refused = [*rewards("a", [0.0] * 4), *rewards("b", [1.0] * 4)]
    assert middling(always_refused, {}) == []
    assert middling(always_refused, TWINS) == [("a", "b")]
    assert middling([*rewards("a", [0.5] * 4), *rewards("b", [0.5] * 4)], TWINS) == []
