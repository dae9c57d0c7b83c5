"""The report card compares the same task under SFT and GRPO: by domain, by criterion, by episode."""

from __future__ import annotations

from helpers.tasks import accepted_tasks

from synthagent.differing import Changed, changed_params, decides, differing, nested
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import Criterion, Evaluation, Rubric, Verdict
from synthagent.showing.card import Card, Decided, card_of, pairs_of
from synthagent.worlds import Called, Told

TASKS = {task.id: task for task in accepted_tasks()[:12]}
FIRST, SECOND, THIRD = list(TASKS)[:3]


def row(task: str, policy: str, reward: float, **changes: object) -> Evaluation:
    values: dict[str, object] = {"policy": policy, "benchmark": "synthagent", "task_id": task, "sample": 0}
    values |= {"decoding": "sampled", "reward": reward, "n_turns": 3, "end": "answer", **changes}
    return Evaluation.model_validate(values)


def card(
    rows: list[Evaluation], decided: list[Decided] | None = None, rubrics: dict[str, Rubric] | None = None
) -> Card:
    return card_of(0, [], rows, decided or [], TASKS, rubrics or {})


def test_only_what_both_did_sampled_in_our_own_benchmark_is_compared() -> None:
    rows = [row(FIRST, "sft", 0.25), row(FIRST, "grpo", 1.0), row(SECOND, "grpo", 1.0), row(FIRST, "expert", 1.0)]
    rows += [row(FIRST, "grpo", 0.0, decoding="greedy"), row(SECOND, "sft", 0.0, benchmark="bfcl")]
    (pair,) = pairs_of(rows, TASKS)
    assert (pair.task.id, pair.change) == (FIRST, 0.75)


def test_gains_and_losses_come_with_the_largest_first_and_an_equal_episode_is_neither() -> None:
    rewards = {FIRST: (0.0, 0.5), SECOND: (0.2, 1.0), THIRD: (1.0, 0.25)} | dict.fromkeys(list(TASKS)[3:], (1, 1))
    rows = [row(name, policy, each[n]) for name, each in rewards.items() for n, policy in enumerate(("sft", "grpo"))]
    found = card(rows)
    assert [pair.task.id for pair in found.gains] == [SECOND, FIRST]
    assert [pair.task.id for pair in found.losses] == [THIRD]
    assert sum(domain.n for domain in found.domains) == len(TASKS)
    for domain in found.domains:
        of_domain = [
            rewards[task.id] for task in TASKS.values() if (task.split, task.domain) == (domain.split, domain.domain)
        ]
        assert domain.before == sum(before for before, _ in of_domain) / domain.n
        assert abs(domain.change.mean - (domain.after - domain.before)) < 1e-9
        assert domain.change.low <= domain.change.mean <= domain.change.high


def test_failed_criteria_are_shares_of_the_verdicts_of_their_kind() -> None:
    criteria = (
        Criterion(id="i1", kind="interaction", text="Ask", check=Told(slot="name")),
        Criterion(id="s1", kind="subgoal", text="Look", check=Called(tool="get")),
        Criterion(id="s2", kind="subgoal", text="Be polite"),
    )
    rubric = Rubric(task_id=FIRST, criteria=criteria, coverage=1.0)

    def decided(policy: str, *passed: bool) -> Decided:
        verdicts = [
            Verdict(criterion=c.id, passed=p, by="check", evidence="") for c, p in zip(criteria, passed, strict=True)
        ]
        return Decided(policy, FIRST, (*verdicts, Verdict(criterion="gone", passed=False, by="judge", evidence="")))

    episodes = [
        decided("sft", False, False, True),
        decided("sft", False, True, True),
        decided("grpo", True, False, False),
    ]
    found = card([], episodes, {FIRST: rubric}).criteria
    assert [(c.name, c.before, c.after, c.n) for c in found] == [
        ("judged", 0.0, 1.0, 1),
        ("look it up", 0.5, 1.0, 1),
        ("learn it from the user", 1.0, 0.0, 1),
    ]


def test_only_params_that_are_not_the_defaults_are_named_and_the_seed_stands_apart() -> None:
    params = load_params()
    assert changed_params(params) == []
    given = params.model_dump(mode="json")
    given["seed"], given["grpo"]["steps"], given["llm"]["timeout_s"] = 5, 20, 7
    given["student"]["lora"] = {"rank": 4, "alpha": 8, "targets": "all-linear"}
    changed = {change.key: change for change in changed_params(Params.model_validate(given))}
    assert set(changed) == {"grpo.steps", "llm.timeout_s", "student.lora"}
    assert changed["grpo.steps"] == Changed("grpo.steps", 20, (80,))
    assert [key for key, change in changed.items() if decides(change)] == ["student.lora", "grpo.steps"]


def test_a_value_without_a_default_says_so_and_flat_keys_are_nested() -> None:
    given = nested({"roles.judge": {"backend": "openai", "model": "m"}, "seed": 1})
    assert given == {"roles": {"judge": {"backend": "openai", "model": "m"}}, "seed": 1}
    found = list(differing(given, {"roles": {"judge": {"backend": "embedded"}}, "seed": 1, "other": 2}))
    assert found == [Changed("roles.judge.backend", "openai", ("embedded",)), Changed("roles.judge.model", "m", ())]
