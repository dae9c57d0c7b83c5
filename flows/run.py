"""A run of a flow: its parameters -> where it works, its stages through DVC, its final state and summary.

Without overrides and profile it works in this worktree, as `dvc repro` does. With any it is a DVC experiment of its
own (`synthagent.ops.experiment`) and `params.yaml` stays as it is. One run a worktree at a time.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort, TerminationSignal
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from flows.dvc_stage import UP_TO_DATE, run_stage
from flows.lock import only_run
from flows.reports import keep_report
from flows.summary import summary
from synthagent.cli import STAGES
from synthagent.errors import LockedError, SynthAgentError
from synthagent.ops.experiment import Experiment, experiment, params_with, save
from synthagent.ops.profile import PROFILES

AS_IT_IS = "params.yaml"
# The parameters of every flow, as the dashboard's form describes them.
OVERRIDES: Any = Field(
    default={},
    description='Keys of params.yaml that are other in this run, such as {"grpo.steps": 20, "seed": 1}. The run is '
    "then a DVC experiment of its own: params.yaml and data here stay as they are, and `dvc exp show` compares. "
    "A flow of one stage then runs those before it, too, where the overrides touch them.",
)
PROFILE: Any = Field(
    default=AS_IT_IS,
    description=f"Ready-made params, over which the overrides are laid; {AS_IT_IS}: those of the file. Any other makes "
    "the run an experiment, too. " + " ".join(f"{name}: {text}." for name, text in PROFILES.items()),
    json_schema_extra={"enum": [AS_IT_IS, *PROFILES]},
)
FORCE: Any = Field(default=False, description="Run stages even if DVC finds them up to date.")
_LONGEST_NAME = 120


def run_name() -> str:
    """What tells a run from others: `pipeline`, `grpo grpo.steps=20 seed=1`, `pipeline smollm2 (forced)`."""
    given = flow_run.parameters
    return name_of(flow_run.flow_name, given["overrides"], given["profile"], given["force"])


def name_of(flow: str, overrides: Mapping[str, Any], profile: str, force: bool) -> str:
    """The name of a run with these parameters."""
    words = [flow, *([] if profile == AS_IT_IS else [profile]), *(f"{key}={value}" for key, value in overrides.items())]
    name = " ".join(" ".join(words).split())
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}.."
    return f"{shown} (forced)" if force else shown


class Ended(Abort):  # a name of Prefect's: such an exception ends a flow, and no traceback is logged
    """A run is over in a state that the server knows already."""

    def __init__(self, state: State[None]) -> None:
        super().__init__(state.message)
        self.state = state


def run(flow: str, overrides: Mapping[str, Any], profile: str, force: bool) -> State[None]:
    """Run a flow's stages; the state says what ran, or that there was nothing to do.

    Raises:
        Ended: it failed, or was cancelled. Prefect would log a traceback of its own for a state that is returned.
    """
    state = _state_of(flow, overrides, profile, force)
    if state.is_completed():
        return state
    with suppress(HTTPError), get_client(sync_client=True) as client:  # Ctrl-C ends a server of our own, too
        client.set_flow_run_state(UUID(flow_run.id), state, force=True)
    raise Ended(state)


def _state_of(flow: str, overrides: Mapping[str, Any], profile: str, force: bool) -> State[None]:
    """What a user can mend becomes a state with one message; so does being stopped."""
    log, title = get_run_logger(), name_of(flow, overrides, profile, force)
    order = tuple(STAGES)
    stages = order if flow == "pipeline" else (flow,)
    try:
        with only_run(f"{title!r} ({flow_run.id})") as lock:
            if not overrides and profile == AS_IT_IS:
                return _finish(title, _stages(stages, Path(), force, lock), Path(), None)
            params = params_with(overrides, None if profile == AS_IT_IS else profile)
            with experiment(_experiment_name(title), params) as made:
                for line in _told(made):
                    log.info(line)
                upto = order[: order.index(stages[-1]) + 1]
                state = _stages(upto, made.folder, force, lock)
                if state.is_completed():
                    save(made, upto, title)
                return _finish(title, state, made.folder, made)
    except LockedError as error:
        log.warning(str(error))
        return Cancelled(message=str(error))
    except SynthAgentError as error:
        log.error(str(error))
        return Failed(message=str(error))
    except (KeyboardInterrupt, TerminationSignal):
        return Cancelled(message="interrupted between two stages; their outs are whole")


def _stages(stages: Sequence[str], folder: Path, force: bool, lock: int) -> State[None]:
    """Run stages in order until one does not end well."""
    ran, idle = list[str](), list[str]()
    for stage in stages:
        state: State[Any] = run_stage(stage, folder, force, lock, return_state=True)
        if not state.is_completed():
            return state
        (idle if state.name == UP_TO_DATE else ran).append(stage)
    if not ran:
        return Completed(name=UP_TO_DATE, message=f"nothing to do: DVC finds {', '.join(idle)} up to date")
    return Completed(message=f"ran {', '.join(ran)}" + (f"; up to date: {', '.join(idle)}" if idle else ""))


def _finish(title: str, state: State[None], folder: Path, made: Experiment | None) -> State[None]:
    """Publish the summary of a run that ended well; what state the flow is to have."""
    if not state.is_completed():
        return Cancelled(message=state.message) if state.is_cancelled() else Failed(message=state.message)
    report = keep_report(made.name if made else f"run-{flow_run.id}", folder)
    text = summary(title, f"{state.message}.", folder, made, report)
    create_markdown_artifact(text, key="summary", description=title)
    return state


def _experiment_name(title: str) -> str:
    """A name that git takes, readable, and this run's alone."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:60].strip("-")
    return f"{words}-{str(flow_run.id)[:8]}".lower()


def _told(made: Experiment) -> Iterator[str]:
    yield f"DVC experiment {made.name}, in a worktree of its own: {made.folder}"
    if made.uncommitted:
        yield f"it starts from changes that are not committed: {', '.join(made.uncommitted)}"
    if made.untracked:
        yield f"it reads files that git does not know, and does not keep them: {', '.join(made.untracked)}"
