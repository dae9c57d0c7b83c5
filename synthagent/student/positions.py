"""What fits into a student: its positions, against the lengths of prompts and demonstrations -> what is left out.

`episode.max_tokens` bounds what follows a prompt; the prompt itself, with the schemas of its tools, is as long as the
task makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from synthagent.errors import SynthAgentError
from synthagent.params import Params, StudentParams
from synthagent.records import Task
from synthagent.stage import say
from synthagent.student.format import ChatFormat

_NAMED = 3  # tasks that a line names


def limit_of(config: Any, student: StudentParams) -> int | None:
    """How many tokens a student of this configuration can attend to; None where it has no limit.

    The built-in one learns no positions, and attends as far as it is asked, whatever its configuration says.
    """
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 and student.base != "tiny" else None


def tasks_that_fit(stage: str, tasks: Sequence[Task], path: Path, params: Params) -> list[Task]:
    """Tasks whose episodes cannot outgrow the student in `path`; says which are left out.

    Raises:
        SynthAgentError: there is none.
    """
    most, room = limit_of(AutoConfig.from_pretrained(path), params.student), params.episode.max_tokens
    if most is None:
        return list(tasks)
    form = ChatFormat.of(AutoTokenizer.from_pretrained(path), params.student.thinking)
    lengths = [len(form.prompt_ids(task)) + room for task in tasks]
    fits = keep_fitting(
        stage,
        [task.id for task in tasks],
        lengths,
        most,
        f"prompt and episode.max_tokens ({room})",
        "lower episode.max_tokens, or choose a student.base with more positions",
    )
    return [tasks[number] for number in fits]


def keep_fitting(
    stage: str, names: Sequence[str], lengths: Sequence[int], most: int, what: str, remedy: str
) -> list[int]:
    """The numbers of those that are no longer than `most` tokens; says how many and which are left out, and a remedy.

    Raises:
        SynthAgentError: there is none.
    """
    fits = [number for number, length in enumerate(lengths) if length <= most]
    out = [number for number, length in enumerate(lengths) if length > most]
    if not out:
        return fits
    longest = max(lengths[number] for number in out)
    told = (
        f"{stage}: {len(out)} of {len(names)} are longer than the {most} tokens that the student attends to "
        f"({what}, up to {longest}): {_list(names[number] for number in out)}; {remedy}"
    )
    if not fits:
        raise SynthAgentError(told)
    say(f"{told}; they are left out")
    return fits


def _list(names: Iterable[str]) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:_NAMED]) + (", .." if len(names) > _NAMED else "")
