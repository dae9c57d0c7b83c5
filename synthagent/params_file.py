"""`params.yaml` -> `Params`, read and checked once; what is wrong is told by place, rule and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from synthagent.errors import MissingBackendError, ParamsError
from synthagent.params import Params, Role, Roles


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and validate the params file.

    Raises:
        ParamsError: no such file, not YAML, an unknown or missing key, or a value of the wrong type; all faults named.
        MissingBackendError: a role asks for a backend that this version does not have.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}; run from the project's root, where params.yaml is") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ParamsError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise ParamsError("\n".join(_explain(path, fault) for fault in error.errors())) from None
    _check_backends(path, params.roles)
    _check_generation(path, params)
    return params


def _explain(path: Path, fault: Any) -> str:
    place = ".".join(map(str, fault["loc"])) or "the file"
    match fault["type"]:
        case "extra_forbidden":
            return f"{path}: {place}: unknown key; remove it, or see synthagent/params*.py for the keys there are"
        case "missing":
            return f"{path}: {place}: missing key; add it (its default stands in the params.yaml of the repository)"
        case _:
            return f"{path}: {place}: {fault['msg']}, but it is {str(fault['input'])[:80]!r}"


def _check_backends(path: Path, roles: Roles) -> None:
    for name in Roles.model_fields:
        role: Role = getattr(roles, name)
        usable = ("local", "openai") if name == "policy" else ("embedded", "openai")
        if role.backend not in usable:
            raise MissingBackendError(
                f"{path}: roles.{name}.backend: {role.backend!r} is not available for this role; "
                f"set it to {' or '.join(map(repr, usable))}"
            )
        if role.backend == "openai" and not role.model:
            raise ParamsError(
                f"{path}: roles.{name}.model: missing; name the model that {role.base_url or 'api.openai.com'} serves"
            )


def _check_generation(path: Path, params: Params) -> None:
    if params.grpo.generation == "local":
        return
    place, role = f"{path}: grpo.generation: 'served'", params.roles.policy
    if role.backend != "local":
        raise ParamsError(
            f"{place} serves the student, but roles.policy.backend is {role.backend!r}; set it to 'local'"
        )
    for name in ("base_url", "model"):
        if not getattr(role, name):
            what = "an address such as http://127.0.0.1:8001/v1" if name == "base_url" else "any name, such as student"
            raise ParamsError(f"{place} needs roles.policy.{name}: {what}; or set grpo.generation to 'local'")
