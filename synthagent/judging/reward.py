"""The reward: verdicts -> gate, N, I and R. Pure. Paper section 3.4; `cubed` and `product` are ours, see `score`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import pvariance

from synthagent.episodes.world import AnswerEvent, World
from synthagent.judging.checks import decide
from synthagent.params import Formula, RewardParams
from synthagent.records import Criterion, End, Reward, Rubric, Verdict


@dataclass(frozen=True, slots=True)
class Score:
    """What an episode earned. All values lie in [0, 1]."""

    gate: float
    subgoals: float
    interactions: float
    reward: float
    reward_paper: float

    @property
    def perfect(self) -> bool:
        return self.reward > 1 - 1e-9


def verdicts_by_check(rubric: Rubric, world: World) -> tuple[Verdict, ...]:
    """One verdict for every criterion that has a check."""
    found = ((c.id, decide(c.check, world)) for c in rubric.criteria if c.check is not None)
    return tuple(Verdict(criterion=name, passed=f.holds, by="check", evidence=f.evidence) for name, f in found)


def score(
    criteria: Sequence[Criterion],
    verdicts: Sequence[Verdict],
    *,
    answered: bool,
    formula: Formula = "product",
    require_answer: bool = True,
) -> Score:
    """Combine verdicts into rewards.

    gate = 0 if a constraint is violated, else 1; N = share of sub-goals met; I = share of required interactions met.
    `product`: gate * N * (1 + I) / 2; `cubed`: its third power, so that half the work earns an eighth; `paper`: gate *
    mean(N, I). Without required interactions I counts as met, and the paper's formula gives gate * N. An episode
    without an answer earns 0 if `require_answer`.

    Raises:
        ValueError: a criterion has no verdict: a score is never made up.
    """
    passed = {verdict.criterion: verdict.passed for verdict in verdicts}
    missing = [c.id for c in criteria if c.id not in passed]
    if missing:
        raise ValueError(f"no verdict on {', '.join(missing)}")
    share = {
        kind: _share([passed[c.id] for c in criteria if c.kind == kind])
        for kind in ("constraint", "subgoal", "interaction")
    }
    gate = 1.0 if share["constraint"] in (None, 1.0) else 0.0
    subgoals = 0.0 if share["subgoal"] is None else share["subgoal"]
    interactions = share["interaction"]
    live = gate if answered or not require_answer else 0.0
    if interactions is None:
        product = paper = live * subgoals
    else:
        product = live * subgoals * (1 + interactions) / 2
        paper = live * (subgoals + interactions) / 2
    return Score(
        gate=gate,
        subgoals=subgoals,
        interactions=1.0 if interactions is None else interactions,
        reward={"cubed": product**3, "product": product, "paper": paper}[formula],
        reward_paper=paper,
    )


def score_by_rule(
    criteria: Sequence[Criterion], verdicts: Sequence[Verdict], end: End | None, rule: RewardParams
) -> Score:
    """As `score`, of an episode that ended so, by the formula and the rule of params."""
    return score(criteria, verdicts, answered=end == "answer", formula=rule.formula, require_answer=rule.require_answer)


def score_world(rubric: Rubric, world: World, formula: Formula = "product", require_answer: bool = True) -> Score:
    """Score a finished episode whose whole rubric is decidable by checks."""
    return score(
        rubric.criteria,
        verdicts_by_check(rubric, world),
        answered=any(isinstance(event, AnswerEvent) for event in world.events),
        formula=formula,
        require_answer=require_answer,
    )


def reward_of(earned: Score, task_id: str, verdicts: Sequence[Verdict], name: str) -> Reward:
    """The row that says what the episode on record under `name` earned."""
    return Reward(
        trajectory_id=name,
        task_id=task_id,
        gate=earned.gate,
        subgoals=earned.subgoals,
        interactions=earned.interactions,
        reward=earned.reward,
        reward_paper=earned.reward_paper,
        verdicts=tuple(verdicts),
        status="ok",
    )


SamePrompt = tuple[str, ...]  # ids of tasks that look the same: twins, or one alone


def by_prompt(rewards: Iterable[Reward], twins: Mapping[str, str]) -> dict[SamePrompt, list[float]]:
    """What was earned from each prompt. `twins`: task id -> its twin's; a task that has none is not in it."""
    earned: dict[str, list[float]] = defaultdict(list)
    for reward in rewards:
        if reward.reward is not None:
            earned[reward.task_id].append(reward.reward)
    found: dict[SamePrompt, list[float]] = defaultdict(list)
    for name in sorted(earned):
        prompt = tuple(sorted({name, twins.get(name, name)} & earned.keys()))
        found[prompt] += earned[name]
    return dict(found)


@dataclass(frozen=True, slots=True)
class Sifted:
    """Prompts by what their rollouts earned: only where they differ is there a group with a gradient."""

    differ: tuple[SamePrompt, ...]
    all_failed: tuple[SamePrompt, ...]
    all_solved: tuple[SamePrompt, ...]
    all_alike: tuple[SamePrompt, ...]  # the same in all, but neither nothing nor everything


def sifted(rewards: Iterable[Reward], twins: Mapping[str, str]) -> Sifted:
    """Prompts by difficulty, in the order of their ids."""
    found: dict[str, list[SamePrompt]] = {"differ": [], "all_failed": [], "all_solved": [], "all_alike": []}
    for prompt, values in by_prompt(rewards, twins).items():
        if pvariance(values) > 0:
            found["differ"].append(prompt)
        elif values[0] == 0:
            found["all_failed"].append(prompt)
        else:
            found["all_solved" if values[0] > 1 - 1e-9 else "all_alike"].append(prompt)
    return Sifted(**{name: tuple(prompts) for name, prompts in found.items()})


def middling(rewards: Iterable[Reward], twins: Mapping[str, str]) -> list[SamePrompt]:
    """Prompts whose rollouts did not all earn the same: only these give a group with a gradient."""
    return [*sifted(rewards, twins).differ]


def _share(passed: list[bool]) -> float | None:
    return sum(passed) / len(passed) if passed else None
