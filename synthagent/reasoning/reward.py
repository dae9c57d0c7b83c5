"""What an episode of a problem earns: a right answer, under the limits of the sandbox -> `Scored`.

One sub-goal, the answer, and one constraint: no call went over a limit (time, memory, processes, output). They are
combined as any rubric's verdicts. What the tools gave back is taken from the record: no code runs to score it.
"""

from __future__ import annotations

from synthagent.episodes.episode import Episode
from synthagent.episodes.real_tools import PYTHON, task_of
from synthagent.episodes.world import AnswerEvent, ToolEvent
from synthagent.judging.reward import reward_of, score_by_rule
from synthagent.judging.scoring import Scored, run_again, without_score
from synthagent.params import Params, RewardParams
from synthagent.reasoning.answers import same
from synthagent.records import Criterion, Problem, Rubric, Trajectory, Verdict

RIGHT, LIMITS = "answer", "limits"
CRITERIA = (
    Criterion(id=LIMITS, kind="constraint", text="No call went over a limit of the sandbox"),
    Criterion(id=RIGHT, kind="subgoal", text="The answer is right"),
)


def rubric_of(problem: Problem) -> Rubric:
    """What an episode of a problem is judged by, to be shown."""
    return Rubric(task_id=problem.id, criteria=CRITERIA, coverage=1.0)


def score_reasoning(problem: Problem, trajectory: Trajectory, params: Params) -> Scored:
    """Score a stored trajectory; a faulty record, or one of another problem, has no score."""
    task = task_of(problem)
    episode = run_again(trajectory, task, params)
    if episode is None:
        return Scored(without_score(trajectory.id, task))
    return score_problem(problem, episode, params.reward, trajectory.id)


def score_problem(problem: Problem, episode: Episode, rule: RewardParams, name: str = "live") -> Scored:
    """Score an episode that has ended; the reward is on record under `name`."""
    if episode.error is not None:
        return Scored(without_score(name, episode.task))
    verdicts = (_within_limits(episode), _right(problem, episode))
    earned = score_by_rule(CRITERIA, verdicts, episode.end, rule)
    return Scored(reward_of(earned, problem.id, verdicts, name), earned)


def _within_limits(episode: Episode) -> Verdict:
    """Whether no call of Python was stopped. One that the world refuses never ran."""
    for number, event in enumerate(episode.world.events):
        if isinstance(event, ToolEvent) and event.tool == PYTHON and event.valid and not event.ok:
            evidence = f"event {number}: {event.result['error']}"
            return Verdict(criterion=LIMITS, passed=False, by="check", evidence=evidence)
    return Verdict(criterion=LIMITS, passed=True, by="check", evidence="no call went over a limit")


def _right(problem: Problem, episode: Episode) -> Verdict:
    answers = [event.text for event in episode.world.events if isinstance(event, AnswerEvent)]
    passed = bool(answers) and same(problem, answers[-1])
    evidence = f"answer: {answers[-1]}" if answers else "no answer"
    return Verdict(criterion=RIGHT, passed=passed, by="check", evidence=evidence)
