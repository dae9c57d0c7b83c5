"""The student of a name: `base`, before any training; `sft`, `grpo`, trained; or any folder with a checkpoint."""

from __future__ import annotations

from synthagent.errors import InputError
from synthagent.params import Params
from synthagent.stage import Paths
from synthagent.student.base import given_base
from synthagent.student.machine import arithmetic
from synthagent.student.model import Student, acting_student, build_model


def named_student(name: str, params: Params) -> Student:
    """The student as it acts on this machine (`machine.arithmetic`), on the CPU.

    Raises:
        StoreError: a stage has not written it yet.
        InputError: no such folder, or what is in it is no student.
    """
    match name:
        case "sft" | "grpo":
            return acting_student(Paths.sft if name == "sft" else Paths.grpo, params.student)
        case "base" if params.student.base == "tiny":
            tokenizer = acting_student(Paths.sft, params.student).tokenizer
            return Student(build_model(tokenizer, params.student.tiny, params.seed), tokenizer)
        case "base":
            student = given_base(params.student)
        case _:
            student = _in_folder(name, params)
    student.model.to(arithmetic(params.student))
    return student


def _in_folder(name: str, params: Params) -> Student:
    try:
        return given_base(params.student.model_copy(update={"base": name}))
    except InputError as error:
        raise InputError(str(error).replace("params.yaml: student.base:", "--policy", 1)) from None
