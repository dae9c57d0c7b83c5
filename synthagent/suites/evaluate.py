"""A suite as a source of evaluation: a policy's name -> rows, figures and printed lines; nothing that DVC tracks.

A do-nothing policy acts in the same problems, and stands beside every figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synthagent.errors import IsolationError, ParamsError
from synthagent.isolation import REMEDY, unavailable
from synthagent.llm.client import Llm
from synthagent.llm.usage import Usage
from synthagent.params import Params, Role, SuiteParams
from synthagent.records import Decoding, Evaluation
from synthagent.suites.known import suite_of
from synthagent.suites.policies import Gold, ServedPolicy, ServedUser, Silent, SuitePolicy, SuiteUser
from synthagent.suites.run import FOLDER, Result, Wanted, check, ids_of, run
from synthagent.suites.scores import Figure, details, figures_of, printed
from synthagent.suites.suite import Suite
from synthagent.suites.worker import Worker

NOOP, GOLD, ENDPOINT = "noop", "gold", "endpoint"
_NO_USER = "a model has to play the user; set roles.user to 'openai', with base_url and model"


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
        wanted = self.wanted
        drawn = {"seed": wanted.seed, "count": wanted.count, "trials": wanted.trials, "style": wanted.style}
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
        if wanted.trials > 1:
            head += f", {wanted.trials} trials of each"
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
    of_models = any(name not in (NOOP, GOLD) for name in policies)
    left_out = set(suite.with_user) if of_models and params.roles.user.backend != "openai" else set()
    _check_users(suite, chosen, left_out)
    categories = chosen.categories or tuple(name for name in suite.categories if name not in left_out)
    added = _partners(suite, categories)
    wanted = Wanted((*categories, *added), chosen.count, chosen.style, params.seed, chosen.trials)
    check(suite, wanted)
    names = list(dict.fromkeys((NOOP, *policies)))
    workers = {name: Worker(suite, FOLDER / suite.name / "worker.log") for name in names}
    acting = {name: _policy(name, params, chosen, suite, workers[name], usage) for name in names}
    ids = ids_of(suite, wanted)
    notes = [f"{', '.join(added)} besides: without, a policy that never calls would lead"] if added else []
    if left_out and not chosen.categories:
        notes.append(f"not run: {', '.join(suite.with_user)}: {_NO_USER}")
    results: dict[str, list[Result]] = {}
    rows: list[Evaluation] = []
    settings: dict[str, dict[str, Any]] = {}
    for name, policy in acting.items():
        user = _user(params, chosen, suite, policy, usage) if set(suite.with_user) & set(categories) else None
        settings[name] = {"decoding": policy.decoding, **policy.identity, **_of_user(user)}
        results[name] = run(suite, policy, workers[name], ids, wanted, user)
        rows += [_row(result, name, policy.decoding, suite) for result in results[name]]
    figures = [figure for name in results for figure in figures_of(suite, name, results[name], params.seed)]
    order = {category: number for number, category in enumerate(suite.categories)}
    figures.sort(key=lambda figure: order[figure.category])  # stable: noop first
    return Evaluated(suite, wanted, rows, figures, settings, [*notes, *_notes(suite, results)])


def _check_users(suite: Suite, chosen: SuiteParams, left_out: set[str]) -> None:
    """Nothing, if somebody plays the user wherever the suite wants one."""
    if wanting := [category for category in chosen.categories or () if category in left_out]:
        others = ", ".join(category for category in suite.categories if category not in suite.with_user)
        raise ParamsError(
            f"params.yaml: roles.user.backend: suite {suite.name}, {', '.join(wanting)}: {_NO_USER}"
            + (f"; without a user: {others}" if others else "")
        )


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
            return Silent(suite)
        case "gold":
            return Gold(worker)
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
    llm = Llm(_greedy(params, "policy"), usage=usage)
    most = min(role.max_tokens or chosen.max_tokens, chosen.max_tokens)
    return ServedPolicy(llm, suite.name, most, params.llm.max_concurrency)


def _user(params: Params, chosen: SuiteParams, suite: Suite, policy: SuitePolicy, usage: Usage | None) -> SuiteUser:
    """Who plays the user: scripted policies have their own; that of a policy which does nothing gives up at once."""
    if isinstance(policy, Silent | Gold):
        return policy
    most = min(params.roles.user.max_tokens or chosen.max_tokens, chosen.max_tokens)
    return ServedUser(Llm(_greedy(params, "user"), usage=usage), suite.name, most)


def _of_user(user: SuiteUser | None) -> dict[str, Any]:
    return {} if user is None else {f"user's {key}": value for key, value in user.identity.items()}


def _greedy(params: Params, name: str) -> Params:
    """The params with a role that is greedy, unless they say otherwise."""
    role: Role = getattr(params.roles, name)
    if role.temperature is not None:
        return params
    roles = params.roles.model_copy(update={name: role.model_copy(update={"temperature": 0.0})})
    return params.model_copy(update={"roles": roles})


def _row(result: Result, policy: str, decoding: Decoding, suite: Suite) -> Evaluation:
    return Evaluation(
        policy=policy,
        benchmark=suite.name,
        category=result.category,
        version=suite.environment.version,
        task_id=result.id,
        sample=result.trial,
        decoding=decoding,
        reward=result.score,
        n_turns=result.steps,
        end="error" if result.failed else "answer",
    )


def _notes(suite: Suite, results: dict[str, list[Result]]) -> list[str]:
    """What a reader has to know of single problems."""
    ran = {result.id for some in results.values() for result in some}
    notes = [f"{id}: no answer scores: {why}" for id, why in suite.unsolvable.items() if id in ran]
    notes += [f"{id}: gold has nothing: {why}" for id, why in suite.without_gold.items() if id in ran]
    expected = suite.unsolvable.keys() | suite.without_gold.keys()
    wrong = [result for result in results.get(GOLD, ()) if result.score < 1 and result.id not in expected]
    return notes + [f"gold fails {result.id}: {result.failed or result.detail}" for result in wrong]
