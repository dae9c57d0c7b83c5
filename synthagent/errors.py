"""Errors a user can cause, and how each is told.

    SynthAgentError          one clear message (where, rule, remedy); the CLI prints it and exits 1
    ├── ParamsError          params.yaml: unknown or missing key, wrong type
    ├── InputError           a file given by the user: missing, empty, malformed at line k, too long
    ├── StoreError           a dataset of ours: older schema, corrupt, disk full or read-only
    ├── LockedError          another process writes the same stage
    └── MissingBackendError  a role asks for a backend that this version does not have
    ToolError                a tool call that the world refuses; becomes an observation, never ends a run

A failed episode or a refused task is a row with its reason, not an exception. A programmer's error raises whatever
Python raises, with its traceback.
"""


class SynthAgentError(Exception):
    """A mistake the user can mend. The message names the place, the rule and the remedy."""


class ParamsError(SynthAgentError):
    """`params.yaml` does not fit `synthagent.params.Params`."""


class InputError(SynthAgentError):
    """A file that the user supplied cannot be used."""


class StoreError(SynthAgentError):
    """A dataset cannot be read or written."""


class LockedError(SynthAgentError):
    """Another process is writing the same outs."""


class MissingBackendError(SynthAgentError):
    """The backend chosen for a role is not available."""


class ToolError(Exception):
    """A tool call that the world refuses. Its text is the observation that the policy sees."""
