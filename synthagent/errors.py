"""Errors a user can cause, and how each is told.

    SynthAgentError          one clear message (where, rule, remedy); the CLI prints it and exits 1
    ├── ParamsError          params.yaml: unknown or missing key, wrong type
    ├── InputError           a file given by the user: missing, empty, malformed at line k, too long
    ├── StoreError           a dataset of ours: older schema, corrupt, disk full or read-only
    ├── LockedError          another process writes the same stage
    ├── StoppedError         SIGINT or SIGTERM ended a stage; exits 130 or 143
    ├── MissingBackendError  a role asks for a backend that this version does not have
    ├── EndpointError        a model's server is down, refuses us, or does not serve the model
    ├── BudgetError          llm.max_tokens_total or llm.max_usd is used up
    ├── ReplayError          llm.replay is `only`, and the answer is not in .cache/llm
    ├── IsolationError       code that others wrote is to be run, and nothing here keeps it apart
    └── SuiteError           a benchmark of others: its environment is missing, or its worker does not answer
    ToolError                a tool call that the world refuses; becomes an observation, never ends a run
    BadReplyError            one answer of a model that cannot be used; becomes a row with its reason, never ends a run
    RecordError              a stored episode that cannot be run again; becomes a row without a score, never ends a run

A failed episode or a refused task is a row with its reason, not an exception. A programmer's error raises whatever
Python raises, with its traceback.
"""


class SynthAgentError(Exception):
    """A mistake the user can mend. The message names the place, the rule and the remedy."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [f"synthagent: {self}"]


class ParamsError(SynthAgentError):
    """`params.yaml` does not fit `synthagent.params.Params`."""


class InputError(SynthAgentError):
    """A file that the user supplied cannot be used."""


class StoreError(SynthAgentError):
    """A dataset cannot be read or written."""


class LockedError(SynthAgentError):
    """Another process is writing the same outs."""


class StoppedError(SynthAgentError):
    """A signal ended a stage. The message says what became of its outs."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class MissingBackendError(SynthAgentError):
    """The backend chosen for a role is not available."""


class EndpointError(SynthAgentError):
    """A model's server fails, whatever is asked of it. What it has answered is kept in `.cache/llm`."""


class BudgetError(SynthAgentError):
    """The budget for calls is used up. What was paid for is kept in `.cache/llm`."""


class ReplayError(SynthAgentError):
    """An answer is wanted that the response store does not have, and calls are not allowed."""


class IsolationError(SynthAgentError):
    """There is no isolation here for a program that is not to be trusted."""


class SuiteError(SynthAgentError):
    """A benchmark of others cannot be run."""


class BadReplyError(Exception):
    """One answer of a model that cannot be used: what is wrong, and the tokens it cost."""

    def __init__(self, reason: str, detail: str, tokens: int = 0) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.tokens = reason, detail, tokens


class RecordError(Exception):
    """A stored episode that is malformed, or does not belong to the world of its task."""


class ToolError(Exception):
    """A tool call that the world refuses. Its text is the observation that the policy sees."""
