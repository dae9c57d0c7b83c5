"""Sums that a model wrote: evaluated where they are arithmetic of constants, short to compute; in place of `eval`."""

from __future__ import annotations

import ast
import builtins
from typing import Any

_MOST_POWER = 1_000


class NotEvaluatedError(Exception):
    """A text that is more than what a model is asked for."""


def arithmetic(text: str, *_: Any) -> Any:
    """The value of a sum. Whatever names an `eval` was given are not there.

    Raises:
        NotEvaluatedError, SyntaxError, ArithmeticError: it has none.
    """
    for node in ast.walk(ast.parse(text, mode="eval")):
        if not isinstance(node, ast.Expression | ast.BinOp | ast.UnaryOp | ast.Constant | ast.operator | ast.unaryop):
            raise NotEvaluatedError(f"{type(node).__name__} in arithmetic")
        check_size(node)
    return builtins.eval(text, {"__builtins__": {}})


def check_size(node: ast.AST) -> None:
    """Refuse what is short to write and endless to compute."""
    match node:
        case ast.BinOp(op=ast.Pow() | ast.LShift(), right=ast.Constant(value=int(value))) if abs(value) <= _MOST_POWER:
            return
        case ast.BinOp(op=ast.Pow() | ast.LShift()):
            raise NotEvaluatedError("a power without end")
