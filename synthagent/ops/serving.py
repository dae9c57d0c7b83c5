"""Which server a role needs: params -> how it is started (`ServeParams`).

A role that is a model has what `serve` says. The student, whose episodes a server writes while GRPO trains it
(`grpo.generation: served`), has what `student` says: its weights before RL, their type, and a way in for each step's.
"""

from __future__ import annotations

from pathlib import Path

from synthagent.errors import ParamsError
from synthagent.params import Params, Role, Roles, ServeParams
from synthagent.policy_server import WEIGHTS, fingerprint_of

_WORKER = Path(__file__).resolve().parents[2] / "servers"  # has student_weights.py
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has kernels for


def is_served(params: Params, name: str) -> bool:
    """Whether a role needs a server."""
    role: Role = getattr(params.roles, name)
    return role.backend == "openai" or (name == "policy" and params.grpo.generation == "served")


def serving_of(params: Params, name: str) -> ServeParams:
    """How the server of the role `name` is started.

    Raises:
        ParamsError: there is no such role, or it needs no server, or what it is to serve is not there yet.
    """
    if name not in Roles.model_fields:
        raise ParamsError(f"serve: no role {name!r}; the roles are {', '.join(Roles.model_fields)}")
    role: Role = getattr(params.roles, name)
    if not is_served(params, name) or not role.model:
        raise ParamsError(
            f"params.yaml: roles.{name}.backend: {role.backend!r} needs no server; "
            "only `openai` does (`synthagent profile vllm-cpu` sets it)"
            + (", and the student of `grpo.generation: served`" if name == "policy" else "")
        )
    return params.serve if role.backend == "openai" else _of_student(params)


def _of_student(params: Params) -> ServeParams:
    if not (WEIGHTS / "config.json").is_file():
        raise ParamsError(f"serve policy: {WEIGHTS}: no student yet; run `dvc repro sft` first, which makes it")
    args: tuple[str, ...] = ("--dtype", params.student.dtype)
    args += ("--fingerprint-mode", "custom", "--fingerprint-value", fingerprint_of(WEIGHTS))
    if params.student.lora:
        args += ("--enable-lora", "--max-lora-rank", str(_rank(params.student.lora.rank)))
        env = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    else:
        args += ("--worker-extension-cls", "student_weights.StudentWeights")
        env = {"VLLM_SERVER_DEV_MODE": "1", "PYTHONPATH": str(_WORKER)}
    return params.serve.model_copy(
        update={
            "weights": f"./{WEIGHTS}",
            "args": (*args, *params.serve.policy_args),
            "env": env | params.serve.env,
        }
    )


def _rank(rank: int) -> int:
    return next((known for known in _RANKS if known >= rank), rank)
