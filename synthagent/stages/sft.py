"""Stage `sft`: demonstrations -> the student before RL (`data/models/sft`), by TRL's SFTTrainer on assistant tokens.

Launch: `synthagent sft` or `dvc repro sft`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import fmean
from typing import Any

from synthagent.errors import ParamsError, SynthAgentError
from synthagent.params import Params
from synthagent.records import Task, Tool, Trajectory
from synthagent.stage import Figures, Paths, say, scratch
from synthagent.store import read_records
from synthagent.student.checkpoint import take_checkpoint
from synthagent.student.resume import checkpoints_of, remove
from synthagent.teacher.domains import load_vocabulary
from synthagent.teacher.twins import pair_name

_WINDOW = 20  # batches whose episodes are sorted by length together


@dataclass(frozen=True, slots=True)
class Example:
    """A demonstration with the task it is of."""

    messages: tuple[dict[str, Any], ...]
    task: Task


Lesson = tuple[Example, ...]  # demonstrations of twins, which begin alike and end differently; or of one task


def choose_lessons(demos: Sequence[Trajectory], tasks: dict[str, Task], count: int, seed: int) -> list[Lesson]:
    """`count` demonstrations, one a task before a second of any task, those of twins together, in random order.

    Faulty ones teach nothing; unfinished ones are taken only if there are no others.
    """
    rng = random.Random(f"sft-{seed}")
    faultless = [demo for demo in demos if demo.error is None]
    finished = [demo for demo in faultless if demo.end == "answer"]
    lessons: dict[tuple[int, str], list[Example]] = {}
    for demo in finished or faultless:
        task = tasks[demo.task_id]
        key = (demo.sample, pair_name(task))
        lessons.setdefault(key, []).append(Example(demo.messages, task))
    chosen: list[Lesson] = []
    for key in sorted(lessons, key=lambda key: (key[0], rng.random())):
        lesson = lessons[key][: max(0, count)]
        count -= len(lesson)
        if lesson:
            chosen.append(tuple(lesson))
    rng.shuffle(chosen)
    return chosen


def in_batches_of_like_length(lessons: Sequence[Sequence[int]], batch: int, seed: int) -> list[int]:
    """An order of training: lessons, given by the lengths of their demonstrations -> numbers of demonstrations.

    A batch holds whole lessons, of similar length, so that little is padding; both twins, so that what they have in
    common cannot tell which of them to act in. Shorter batches would otherwise be those in which nothing is done.
    """
    rng = random.Random(f"order-{seed}")
    starts = [0, *accumulate(map(len, lessons))]
    groups = [list(range(start, start + len(lesson))) for start, lesson in zip(starts, lessons, strict=False)]
    lengths = [length for lesson in lessons for length in lesson]
    order: list[int] = []
    for first in range(0, len(groups), batch * _WINDOW // 2):
        window = groups[first : first + batch * _WINDOW // 2]
        # Whole pairs first, lest one that is alone shift all after it across the edges of batches.
        window.sort(key=lambda group: (len(group) == 1, max(lengths[i] for i in group)))
        flat = [i for group in window for i in group]
        batches = [flat[i : i + batch] for i in range(0, len(flat), batch)]
        last = batches.pop() if len(batches[-1]) < batch else []
        rng.shuffle(batches)
        order += [i for one in batches for i in one] + last
    return order


def check_params(params: Params) -> None:
    """Raise ParamsError where the size of the student or of a batch cannot be."""
    sft, processes = params.sft, params.compute.processes
    head = sft.hidden_size // sft.heads
    if head == 0 or head % 2:
        raise ParamsError(
            f"params.yaml: sft.hidden_size / sft.heads: must be even, but {sft.hidden_size} / {sft.heads} is {head}"
        )
    if sft.batch_size % processes:
        raise ParamsError(
            f"params.yaml: sft.batch_size: must be a multiple of compute.processes ({processes}), "
            f"but it is {sft.batch_size}"
        )


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    from synthagent.student.format import ChatFormat
    from synthagent.student.model import Student, build_model, save_student
    from synthagent.student.processes import train
    from synthagent.student.sft import SftJob
    from synthagent.student.tokenizer import render_plain, train_tokenizer

    with scratch("sft") as folder:
        check_params(params)
        sft, vocabulary = params.sft, load_vocabulary()
        tasks = {task.id: task for task in read_records(Paths.tasks, Task) if task.split == "train"}
        lessons = choose_lessons(list(read_records(Paths.demos, Trajectory)), tasks, sft.demos, params.seed)
        examples = [example for lesson in lessons for example in lesson]
        if not examples:
            raise SynthAgentError(
                f"sft: {Paths.demos} has no demonstration; raise tasks.count, or lower rubrics.min_coverage or "
                "tasks.heldout_share"
            )
        signatures = [" ".join(_names(example.task.tools)) for example in examples]
        texts = [f"{s}\n{render_plain(e.messages)}" for s, e in zip(signatures, examples, strict=True)]
        tokenizer = train_tokenizer(texts, (*vocabulary.lexicon, *vocabulary.names), sft.vocab_size)
        chat = ChatFormat.of(tokenizer)
        rows = [chat.tokenise(example.messages, example.task.tools) for example in examples]
        lengths = iter(len(row["input_ids"]) for row in rows)
        order = in_batches_of_like_length(
            [[next(lengths) for _ in lesson] for lesson in lessons], sft.batch_size, params.seed
        )
        model = build_model(tokenizer, sft, params.seed)
        parameters, tokens = sum(p.numel() for p in model.parameters()), sum(len(row["input_ids"]) for row in rows)
        say(f"{parameters:,} parameters, {len(tokenizer)} words, {len(rows)} demonstrations, {tokens:,} tokens")
        save_student(Student(model, tokenizer), folder / "start")
        ordered = [rows[i] for i in order]
        processes = params.compute.processes
        job = SftJob(folder / "start", folder / "out", ordered, sft, params.seed, processes)
        checkpoints = checkpoints_of("sft", job, params.compute.checkpoint_minutes)
        train(replace(job, checkpoints=checkpoints), processes)
        losses = take_checkpoint(folder / "out", Paths.sft)
        remove(checkpoints)
        return Figures(
            {
                "parameters": parameters,
                "demos": len(rows),
                "tokens": tokens,
                "tokens_per_demo": round(tokens / len(rows), 1),
                "loss": round(fmean(losses[-10:]), 4),
            }
        )


def _names(tools: Sequence[Tool]) -> list[str]:
    return [name for tool in tools for name in (tool.name, *tool.arguments)]
