# ruff: noqa: E402 (the package is imported once what it would import and never use is out of its way)
"""The package `bfcl_eval`, made fit for a worker: only what a worker uses is loaded, and no text of a model is run.

Where the package would evaluate a model's text, only what is a plain call of a simulator's tool, or arithmetic of
constants, is; the rest is an error that the model is told.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
import tempfile
import types
from contextlib import nullcontext
from typing import Any

os.environ["BFCL_PROJECT_ROOT"] = os.path.join(tempfile.gettempdir(), "bfcl")  # it makes folders there

_NEVER_USED: dict[
    str, dict[str, Any]
] = {  # by Python categories, but imported by all: they need the clients of vendors, and compilers
    "bfcl_eval.model_handler.parser.java_parser": {"parse_java_function_call": None},
    "bfcl_eval.model_handler.parser.js_parser": {"parse_javascript_function_call": None},
    # Of a model the checker only asks whether its server takes no dots in names.
    "bfcl_eval.constants.model_config": {
        "MODEL_CONFIG_MAPPING": {
            "native": types.SimpleNamespace(underscore_to_dot=True),
            "prompt": types.SimpleNamespace(underscore_to_dot=False),
        }
    },
}
for _name, _content in _NEVER_USED.items():
    sys.modules[_name] = types.ModuleType(_name)
    vars(sys.modules[_name]).update(_content)

from bfcl_eval import utils
from bfcl_eval.constants.default_prompts import (
    DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC,
    DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_PROMPTING,
    MAXIMUM_STEP_LIMIT,
)
from bfcl_eval.constants.enums import Language, ModelStyle
from bfcl_eval.constants.type_mappings import GORILLA_TO_OPENAPI
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker
from bfcl_eval.model_handler import utils as handling

from synthagent.suites.workers.arithmetic import NotEvaluatedError, arithmetic, check_size

__all__ = [
    "DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC",
    "DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_PROMPTING",
    "GORILLA_TO_OPENAPI",
    "MAXIMUM_STEP_LIMIT",
    "Language",
    "ModelStyle",
    "ast_checker",
    "handling",
    "multi_turn_checker",
    "multi_turn_utils",
    "utils",
]


def _tool_call(text: str) -> Any:
    """In place of `eval` in the package's simulators: a call of a simulator's public method, with plain values."""
    tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Call):
        raise NotEvaluatedError("not a call")
    _check_value(tree)
    there = {name: value for name, value in vars(multi_turn_utils).items() if name.endswith("_instance")}
    return builtins.eval(text, {"__builtins__": {}, **there})


def _check_value(node: ast.expr) -> None:
    check_size(node)
    match node:
        case ast.Constant() | ast.Name():
            return
        case ast.Call(func=ast.Name()):
            inside = [*node.args, *(keyword.value for keyword in node.keywords)]
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=method)) if owner.endswith(
            "_instance"
        ) and not method.startswith("_"):
            inside = [*node.args, *(keyword.value for keyword in node.keywords)]
        case ast.List() | ast.Tuple() | ast.Set():
            inside = node.elts
        case ast.Dict():
            inside = [*filter(None, node.keys), *node.values]
        case ast.UnaryOp():
            inside = [node.operand]
        case ast.BinOp():
            inside = [node.left, node.right]
        case _:
            raise NotEvaluatedError(f"{type(node).__name__} in a call")
    for part in inside:
        _check_value(part)


utils._get_file_lock = nullcontext  # nothing is written, and a lock is of no use in another process
handling.eval = arithmetic  # a module's own name goes before the built-in one
multi_turn_utils.eval = _tool_call
