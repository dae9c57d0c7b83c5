"""The report page: the datasets of a run -> counts, averages, chosen episodes and pictures -> HTML that loads nothing.

What a task or a policy wrote is shown as text, never as markup; the page itself forbids scripts and network.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from synthagent.episodes.scripted import SCRIPTS
from synthagent.judging.proofs import PROOFS
from synthagent.judging.reward import middling
from synthagent.records import Criterion, Evaluation, Rejected, Reward, Rubric, Task, Trajectory, Verdict
from synthagent.showing import pictures
from synthagent.showing.counts import RubricCounts, TaskCounts, count_rubrics, count_tasks
from synthagent.showing.html import environment
from synthagent.showing.kinds import Board, right_by_kind
from synthagent.showing.paper import MODELS, NOTES, PaperRow, figures, paper_table
from synthagent.showing.statistics import Cell, Difference, Measure, in_order, summarise

_LONGEST = 8  # turns of an episode that is shown
_EDGE = 5  # steps at each end of the learning curve that are averaged
_CALL_ID = re.compile(r"call_\d+_\d+")
_DRAWN: dict[Measure, str] = {"pair_rate": "Pair rate", "perfect_done": "Perfect where done", "reward": "Reward"}
_svg = partial(pictures.svg, on_page=True)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The run, as its datasets tell it. `compared`: with which problems of others the tasks were, and what was hit.

    `variety`: the tasks, and others beside them -> the figures that `teacher/variety.py` gives.
    """

    personas: int
    tasks: Iterable[Task]
    rejected: Sequence[Rejected]
    compared: Mapping[str, Any] | None
    variety: Mapping[str, Mapping[str, Any]]
    rubrics: Iterable[Rubric]
    rollouts: Sequence[Trajectory]
    rewards: Sequence[Reward]
    steps: pictures.Steps
    evaluation: Sequence[Evaluation]


@dataclass(frozen=True, slots=True)
class Stage:
    """One line of the funnel. `share`: of the proposals, null where it counts something else."""

    name: str
    count: int
    share: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """GRPO beside SFT on one split, both sampled."""

    difference: Difference
    before: Cell
    after: Cell


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of the table of an evaluation. `greedy`: the same policy, decoded greedily."""

    cell: Cell
    greedy: Cell | None


@dataclass(frozen=True, slots=True)
class DecidedCriterion:
    """A criterion with its verdict."""

    criterion: Criterion
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Shown:
    """An episode to read."""

    title: str
    trajectory: Trajectory
    reward: Reward
    task: Task
    judged: tuple[DecidedCriterion, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """All that the template shows. Pictures are SVG elements."""

    comparisons: tuple[Comparison, ...]
    funnel: tuple[Stage, ...]
    rejections: Mapping[str, int]
    compared: Mapping[str, Any] | None
    variety: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, float]
    scripts: Mapping[str, str]
    lines: Mapping[str, Sequence[TableRow]]
    problems: Board | None
    paper: tuple[PaperRow, ...]
    ends: Mapping[str, int]
    shown: tuple[Shown, ...]
    pictures: Mapping[str, Sequence[str]]


def page_of(inputs: Inputs, seed: int) -> Page:
    """Count, average, choose episodes, draw."""
    chosen = choose_episodes(inputs.rollouts, inputs.rewards)
    tasks = count_tasks(inputs.tasks, {trajectory.task_id for _, trajectory, _ in chosen})
    rolled = {trajectory.task_id for trajectory in inputs.rollouts}
    rubrics = count_rubrics(inputs.rubrics, rolled)
    earned = [r for r in inputs.rewards if r.reward is not None]
    accepted, refused = tasks.total, Counter(row.reason for row in inputs.rejected if row.stage == "tasks")
    proposed = accepted + sum(refused.values())
    stages = [
        ("Proposed", proposed, "tasks by the teacher"),
        ("Accepted", accepted, "every proof holds"),
        ("With a rubric", rubrics.total, f"{accepted - rubrics.total:,} dropped: demonstrations executed too little"),
        ("Rolled out", len(rolled), f"{len(inputs.rollouts):,} episodes by the student before RL"),
        (
            "To learn from",
            len(middling(earned, tasks.twins)),
            "prompts whose episodes differ in reward; twins share one",
        ),
    ]
    summary = summarise(inputs.evaluation, seed)
    splits = sorted({cell.split for cell in summary.cells})
    cells = {(c.policy, c.decoding, c.split, c.difficulty): c for c in summary.cells}
    return Page(
        comparisons=tuple(
            Comparison(d, cells["sft", "sampled", d.split, 0], cells["grpo", "sampled", d.split, 0])
            for d in summary.differences
        ),
        funnel=(
            Stage("Personas", inputs.personas, None, "seed the proposals"),
            *(Stage(name, count, count / max(1, proposed), note) for name, count, note in stages),
        ),
        rejections={name: refused[name] for name in [*PROOFS, *sorted(set(refused) - set(PROOFS))]},
        compared=inputs.compared,
        variety=inputs.variety,
        facts={
            **_facts(tasks, rubrics),
            "episodes": len(inputs.rewards),
            "errors": len(inputs.rewards) - len(earned),
            "steps": len(inputs.steps),
            "first": _mean(row["reward"] for row in inputs.steps[:_EDGE]),
            "last": _mean(row["reward"] for row in inputs.steps[-_EDGE:]),
        },
        scripts={name: (script.__doc__ or "").partition("\n")[0] for name, script in SCRIPTS.items()},
        lines={split: _lines(cells, split) for split in splits},
        problems=right_by_kind(inputs.evaluation, seed),
        paper=paper_table(inputs.evaluation, seed),
        ends=dict(sorted(Counter(t.end for t in inputs.rollouts).items())),
        shown=tuple(_shown(*choice, tasks.kept, rubrics.kept) for choice in chosen),
        pictures={
            "learning": [
                _svg(pictures.learning_curve(inputs.steps, [curve]))
                for curve in (*pictures.CURVES, pictures.OF_PROBLEMS)
                if curve is not pictures.OF_PROBLEMS or any(curve.column in row for row in inputs.steps)
            ],
            "evaluation": [
                _svg(pictures.policies(summary, split, measure, title))
                for split in splits
                for measure, title in _DRAWN.items()
                if any(measure in cell.measures for cell in summary.cells if cell.split == split)
            ],
            "diversity": _diversity(tasks),
            "rewards": [
                _svg(pictures.reward_parts(earned)),
                _svg(pictures.reward_histogram(earned)),
                _svg(pictures.criteria_passed(earned, rubrics.kept)),
            ],
        },
    )


def choose_episodes(rollouts: Iterable[Trajectory], rewards: Iterable[Reward]) -> list[tuple[str, Trajectory, Reward]]:
    """A perfect episode, a violating one and one between: short, with much in it and little twice."""
    scored = {r.trajectory_id: r for r in rewards if r.reward is not None}
    pairs = [(t, scored[t.id]) for t in rollouts if t.id in scored and t.n_turns <= _LONGEST]
    kinds = {
        "Perfect": [(t, r) for t, r in pairs if (r.reward or 0) > 1 - 1e-9],
        "Violating": [(t, r) for t, r in pairs if r.gate == 0],
        "In between": [(t, r) for t, r in pairs if r.gate and 0 < (r.reward or 0) <= 1 - 1e-9],
    }

    def eventful(pair: tuple[Trajectory, Reward]) -> tuple[float, ...]:
        trajectory, reward = pair
        both = trajectory.n_questions > 0 and trajectory.n_tool_calls > 0
        said = [_CALL_ID.sub("", str((m.get("content"), m.get("tool_calls")))) for m in trajectory.messages]
        return both, reward.subgoals or 0, len(set(said)) - len(said), trajectory.n_turns

    return [(title, *max(found, key=eventful)) for title, found in kinds.items() if found]


def render(page: Page) -> str:
    """The page as HTML. Whatever is not a picture is escaped."""
    from markupsafe import Markup

    templates = environment()
    templates.filters |= {
        "count": lambda value: f"{value:,}",
        "share": lambda value: f"{value:.0%}",
        "score": lambda value: f"{value:.3f}",
        "mean": lambda value: f"{value.mean:.3f}" if value else "",
        "amount": lambda value: "" if value is None else f"{value:.2f}",
        "known": lambda value, written: "" if value is None else written.format(value),
        "between": lambda value: f"{value.low:.2f} to {value.high:.2f}" if value else "",
        "change": lambda value: f"{value:+.3f}".replace("-", "\u2212"),
        "changes": lambda value: f"{value.low:+.3f} to {value.high:+.3f}".replace("-", "\u2212"),
    }
    drawn = {name: [Markup(drawing) for drawing in drawings] for name, drawings in page.pictures.items()}
    themes = {"light": pictures.COLOURS, "dark": pictures.DARK}
    paper = {"models": MODELS, "reported": figures, "notes": NOTES}
    return templates.get_template("report.html.j2").render(page=page, pictures=drawn, paper=paper, **themes)


def _facts(tasks: TaskCounts, rubrics: RubricCounts) -> dict[str, float]:
    return {
        "domains": len(tasks.domains),
        "distinct_tools": len(tasks.tools),
        "rare_tools": sum(count == 1 for count in tasks.tools.values()),
        "tools_per_task": sum(size * count for size, count in tasks.sizes.items()) / max(1, tasks.total),
        "criteria_per_task": rubrics.criteria / max(1, rubrics.total),
        "decidable": rubrics.decidable / max(1, rubrics.criteria),
    }


def _diversity(tasks: TaskCounts) -> list[str]:
    kinds = {f"level {n}": tasks.levels[n] for n in sorted(tasks.levels)} | dict(sorted(tasks.splits.items()))
    sizes = {f"{n} tools": tasks.sizes[n] for n in sorted(tasks.sizes)}
    tools = pictures.commonest(tasks.tools, rest=False)
    return [
        _svg(pictures.bars(pictures.commonest(tasks.domains), "Accepted tasks by domain")),
        _svg(pictures.bars(tools, "Commonest tools, in how many tasks", "violet")),
        _svg(pictures.bars(kinds, "Levels and splits", "green")),
        _svg(pictures.bars(sizes, "Tools a task", "orange")),
    ]


def _lines(cells: Mapping[tuple[str, str, str, int], Cell], split: str) -> list[TableRow]:
    """The table of a split: all levels first, then level by level."""
    ordered = sorted(in_order(cells.values()), key=lambda c: c.difficulty)
    of_split = [c for c in ordered if c.split == split and c.decoding != "greedy"]
    return [TableRow(c, cells.get((c.policy, "greedy", split, c.difficulty))) for c in of_split]


def _shown(
    title: str, trajectory: Trajectory, reward: Reward, tasks: Mapping[str, Task], rubrics: Mapping[str, Rubric]
) -> Shown:
    criteria = {c.id: c for c in rubrics[trajectory.task_id].criteria}
    judged = tuple(DecidedCriterion(criteria[v.criterion], v) for v in reward.verdicts)
    return Shown(title, trajectory, reward, tasks[trajectory.task_id], judged)


def _mean(values: Iterable[float]) -> float:
    given = list(values)
    return fmean(given) if given else 0.0
