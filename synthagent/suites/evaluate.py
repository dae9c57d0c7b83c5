"""A suite as a source of evaluation: a policy's name -> rows, figures and printed lines; nothing that DVC tracks.

A do-nothing policy acts in the same problems, and stands beside every figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synthagent.episodes.policy import Decoding
from synthagent.errors import IsolationError, ParamsError
from synthagent.isolation import REMEDY, unavailable
from synthagent.llm.client import Llm
from synthagent.llm.usage import Usage
from synthagent.params import Params, SuiteParams
from synthagent.records import Evaluation
from synthagent.suites.known import suite_of
from synthagent.suites.policies import Scripted, ServedPolicy, SuitePolicy
from synthagent.suites.run import FOLDER, Result, Wanted, check, ids_of, run
from synthagent.suites.scores import Figure, details, figures_of, printed
from synthagent.suites.suite import Suite
from synthagent.suites.worker import Worker

NOOP, GOLD, ENDPOINT = "noop", "gold", "endpoint"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What policies came to in a suite. `settings`: by policy, what its figures depend on."""

    suite: Suite
    wanted: Wanted
    rows: list[Evaluation]
    figures: list[Figure]
    settings: dict[str, dict[str, Any]]
    notes: list[str]

    def details(self) -> dict[str, Any]:
        """All of it as JSON."""
        drawn = {"seed": self.wanted.seed, "count": self.wanted.count, "style": self.wanted.style}
        return {
            "version": self.suite.environment.version,
            **drawn,
            "policies": self.settings,
            "categories": details(self.figures),
        }

    def lines(self) -> list[str]:
        """All of it to be read."""
        wanted = self.wanted
        count = "all problems" if wanted.count is None else f"{wanted.count} problems a category"
        head = f"{self.suite.name} {self.suite.environment.version}, {wanted.style} style, {count}, seed {wanted.seed}"
        how = [
            f"{name}: {', '.join(f'{key} {value}' for key, value in settings.items() if value is not None)}"
            for name, settings in self.settings.items()
        ]
        return [head, *how, *printed(self.suite, self.figures), *self.notes]


def evaluate_suite(
    params: Params, chosen: SuiteParams, policies: Sequence[str], usage: Usage | None = None
) -> Evaluated:
    """Have policies act in the problems that were chosen; `noop` acts in any case.

    Raises:
        SynthAgentError: the suite, its environment, an isolation, or a policy cannot be had.
    """
    suite = suite_of(chosen.name)
    suite.environment.check()
    if fault := unavailable():
        raise IsolationError(f"suite {suite.name}: {fault}; {REMEDY}")
    categories = chosen.categories or suite.categories
    added = _partners(suite, categories)
    wanted = Wanted((*categories, *added), chosen.count, chosen.style, params.seed)
    check(suite, wanted)
    if suite.wants_user and params.roles.user.backend != "openai":
        raise ParamsError(f"params.yaml: roles.user.backend: suite {suite.name} wants a model; set it to 'openai'")
    names = list(dict.fromkeys((NOOP, *policies)))
    workers = {name: Worker(suite, FOLDER / suite.name / "worker.log") for name in names}
    acting = {name: _policy(name, params, chosen, suite, workers[name], usage) for name in names}
    ids = ids_of(suite, wanted)
    notes = [f"{', '.join(added)} besides: without, a policy that never calls would lead"] if added else []
    results: dict[str, list[Result]] = {}
    rows: list[Evaluation] = []
    for name, policy in acting.items():
        user = Llm(params, usage=usage) if suite.wants_user else None
        results[name] = run(suite, policy, workers[name], ids, wanted, user)
        rows += [_row(result, name, policy.decoding, suite) for result in results[name]]
    settings = {name: {"decoding": policy.decoding, **policy.identity} for name, policy in acting.items()}
    figures = [figure for name in results for figure in figures_of(suite, name, results[name], params.seed)]
    order = {category: number for number, category in enumerate(suite.categories)}
    figures.sort(key=lambda figure: order[figure.category])  # stable: noop first
    return Evaluated(suite, wanted, rows, figures, settings, [*notes, *_notes(suite, results)])


def _partners(suite: Suite, categories: Sequence[str]) -> list[str]:
    """What has to be run besides: a category in which calling is right, for each in which it is wrong."""
    return [
        partners[0]
        for category, partners in suite.refusals.items()
        if category in categories and not set(partners) & set(categories)
    ]


def _policy(
    name: str, params: Params, chosen: SuiteParams, suite: Suite, worker: Worker, usage: Usage | None
) -> SuitePolicy:
    match name:
        case "noop":
            return Scripted(NOOP)
        case "gold":
            return Scripted(GOLD, worker)
        case "endpoint":
            return _endpoint(params, chosen, suite, usage)
    from synthagent.student.named import named_student
    from synthagent.suites.local import LocalPolicy

    return LocalPolicy(name, named_student(name, params), chosen.max_tokens)


def _endpoint(params: Params, chosen: SuiteParams, suite: Suite, usage: Usage | None) -> SuitePolicy:
    role = params.roles.policy
    if role.backend != "openai":
        raise ParamsError(
            "params.yaml: roles.policy.backend: `endpoint` is the model of this role, but it is "
            f"{role.backend!r}; set it to 'openai', with base_url and model"
        )
    if role.temperature is None:  # greedy, unless params say otherwise
        role = role.model_copy(update={"temperature": 0.0})
        params = params.model_copy(update={"roles": params.roles.model_copy(update={"policy": role})})
    most = min(role.max_tokens or chosen.max_tokens, chosen.max_tokens)
    return ServedPolicy(Llm(params, usage=usage), suite.name, most, params.llm.max_concurrency)


def _row(result: Result, policy: str, decoding: Decoding, suite: Suite) -> Evaluation:
    return Evaluation(
        policy=policy,
        benchmark=suite.name,
        category=result.category,
        version=suite.environment.version,
        task_id=result.id,
        sample=0,
        decoding=decoding,
        reward=result.score,
        n_turns=result.steps,
        end="error" if result.failed else "answer",
    )


def _notes(suite: Suite, results: dict[str, list[Result]]) -> list[str]:
    """What a reader has to know of single problems."""
    ran = {result.id for some in results.values() for result in some}
    notes = [f"{id}: no answer scores: {why}" for id, why in suite.unsolvable.items() if id in ran]
    wrong = [result for result in results.get(GOLD, ()) if result.score < 1 and result.id not in suite.unsolvable]
    return notes + [f"gold fails {result.id}: {result.failed or result.detail}" for result in wrong]
