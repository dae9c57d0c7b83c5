"""Stage `sft`: demonstrations -> the student before RL (`data/models/sft`), by TRL's SFTTrainer on assistant tokens.

A share of them (`sft.reasoning_share`) is of problems, the rest of tasks.

Launch: `synthagent sft` or `dvc repro sft`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from synthagent.episodes.real_tools import task_of
from synthagent.errors import ParamsError, SynthAgentError
from synthagent.params import Params, SftParams
from synthagent.records import Problem, Task, Trajectory
from synthagent.stage import Figures, Paths, say, scratch
from synthagent.store import read_records, write_text
from synthagent.student.checkpoint import LOG, take_checkpoint
from synthagent.student.resume import checkpoints_of, remove
from synthagent.student.watch import LIVE
from synthagent.teacher.domains import load_vocabulary
from synthagent.teacher.twins import pair_name
from synthagent.worlds import Tool

if TYPE_CHECKING:
    from synthagent.student.model import Student

_WINDOW = 20  # batches whose episodes are sorted by length together


@dataclass(frozen=True, slots=True)
class Example:
    """A demonstration with the task it is of."""

    messages: tuple[dict[str, Any], ...]
    task: Task


Lesson = tuple[Example, ...]  # demonstrations of twins or of a desk, which begin alike; or of one task


def choose_lessons(demos: Sequence[Trajectory], tasks: dict[str, Task], count: int, seed: int) -> list[Lesson]:
    """`count` demonstrations, one a task before a second of any task, those that begin alike together, at random.

    Faulty ones teach nothing; unfinished ones are taken only if there are no others.
    """
    rng = random.Random(f"sft-{seed}")
    faultless = [demo for demo in demos if demo.error is None]
    finished = [demo for demo in faultless if demo.end == "answer"]
    lessons: dict[tuple[int, str], list[Example]] = {}
    for demo in finished or faultless:
        task = tasks[demo.task_id]
        key = (demo.sample, task.provenance.get("desk") or pair_name(task))
        lessons.setdefault(key, []).append(Example(demo.messages, task))
    chosen: list[Lesson] = []
    for key in sorted(lessons, key=lambda key: (key[0], rng.random())):
        lesson = lessons[key][: max(0, count)]
        count -= len(lesson)
        if lesson:
            chosen.append(tuple(lesson))
    rng.shuffle(chosen)
    return chosen


def choose_mixed(
    demos: Sequence[Trajectory], of_problems: Sequence[Trajectory], tasks: dict[str, Task], params: SftParams, seed: int
) -> list[Lesson]:
    """`params.demos` demonstrations, of problems as many as their share says and there are, in random order."""
    problems = choose_lessons(of_problems, tasks, round(params.demos * params.reasoning_share), seed)
    lessons = choose_lessons(demos, tasks, params.demos - len(problems), seed)
    if problems:
        lessons += problems
        random.Random(f"sft-mix-{seed}").shuffle(lessons)
    return lessons


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
        # The largest first, lest one that is alone shift all after it across the edges of batches.
        window.sort(key=lambda group: (-len(group), max(lengths[i] for i in group)))
        flat = [i for group in window for i in group]
        batches = [flat[i : i + batch] for i in range(0, len(flat), batch)]
        last = batches.pop() if len(batches[-1]) < batch else []
        rng.shuffle(batches)
        order += [i for one in batches for i in one] + last
    return order


def check_params(params: Params) -> None:
    """Raise ParamsError where the size of the student or of a batch cannot be."""
    tiny, batch, processes = params.student.tiny, params.sft.batch_size, params.compute.processes
    head = tiny.hidden_size // tiny.heads
    if params.student.base == "tiny" and (head == 0 or head % 2):
        raise ParamsError(
            "params.yaml: student.tiny.hidden_size / student.tiny.heads: must be even, but "
            f"{tiny.hidden_size} / {tiny.heads} is {head}"
        )
    if batch % processes:
        raise ParamsError(
            f"params.yaml: sft.batch_size: must be a multiple of compute.processes ({processes}), but it is {batch}"
        )


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    from synthagent.student.launch import a_gpu_each, training
    from synthagent.student.launch import check as check_launcher
    from synthagent.student.machine import threads_of

    with scratch("sft") as folder, ExitStack() as stack:
        check_params(params)
        check_launcher(params)
        params = a_gpu_each(params)
        how = training(params.compute, folder, threads_of(params), "synthagent.student.sft")
        run_training = stack.enter_context(how) if params.sft.demos else None
        from synthagent.student.model import save_student  # takes seconds, in which the processes do the same

        tasks = {task.id: task for task in read_records(Paths.tasks, Task) if task.split == "train"}
        of_problems = _of_problems(params, tasks)
        demos = list(read_records(Paths.demos, Trajectory))
        lessons = choose_mixed(demos, of_problems, tasks, params.sft, params.seed)
        examples = [example for lesson in lessons for example in lesson]
        if not examples and params.sft.demos:
            raise SynthAgentError(
                f"sft: {Paths.demos} has no demonstration; raise tasks.count, or lower rubrics.min_coverage or "
                "tasks.heldout_share"
            )
        student = base_student(params, examples)
        rows = [student.format.tokenise(example.messages, example.task.tools) for example in examples]
        fits = _fitting(student, examples, rows, params)
        fits = _affordable(lessons, fits, [len(row["input_ids"]) for row in rows], params.sft.tokens)
        sizes, rows = _sizes(lessons, fits), [rows[number] for number in fits]
        reasoning = sum(examples[number].task.world_kind == "real" for number in fits)
        parameters, tokens = sum(p.numel() for p in student.model.parameters()), sum(len(r["input_ids"]) for r in rows)
        words = len(student.tokenizer)
        of_which = f" ({reasoning} of problems)" if reasoning else ""
        say(f"{parameters:,} parameters, {words} words, {len(rows)} demonstrations{of_which}, {tokens:,} tokens")
        save_student(student, folder / "start")
        del student  # what trains it loads it again
        losses = _train(run_training, folder, rows, sizes, params) if rows and run_training else _as_it_is(folder)
        return Figures(
            {
                "parameters": parameters,
                "demos": len(rows),
                "reasoning_demos": reasoning,
                "tokens": tokens,
                "tokens_per_demo": round(tokens / len(rows), 1) if rows else None,
                "loss": round(fmean(losses[-10:]), 4) if losses else None,
            }
        )


def _of_problems(params: Params, tasks: dict[str, Task]) -> list[Trajectory]:
    """The demonstrations of train problems, whose tasks are then among `tasks`; says where a share has none to draw."""
    if not params.sft.reasoning_share:
        return []
    tasks |= {p.id: task_of(p) for p in read_records(Paths.reasoning, Problem) if p.split == "train"}
    found = [demo for demo in read_records(Paths.reasoning_demos, Trajectory) if demo.task_id in tasks]
    if not found:
        say(f"sft: sft.reasoning_share: {Paths.reasoning_demos} has no demonstration; all are of tasks")
    return found


def base_student(params: Params, examples: Sequence[Example]) -> Student:
    """The student before any training: the one that was given; or the built-in one, whose words are the examples'.

    Raises:
        ParamsError: adapters are wanted for what it does not have, or the built-in one has no words.
        InputError: what was given cannot be used.
    """
    from synthagent.student.base import given_base
    from synthagent.student.model import Student, build_model
    from synthagent.student.tokenizer import render_plain, train_tokenizer
    from synthagent.student.trainable import check_targets

    if params.student.base != "tiny":
        student = given_base(params.student)
    elif not examples:
        raise ParamsError(
            "params.yaml: sft.demos: 0 passes the base on, but `tiny` has no words before demonstrations give it some; "
            "raise it, or set student.base"
        )
    else:
        vocabulary, tiny = load_vocabulary(), params.student.tiny
        signatures = [" ".join(_names(example.task.tools)) for example in examples]
        texts = [f"{s}\n{render_plain(e.messages)}" for s, e in zip(signatures, examples, strict=True)]
        tokenizer = train_tokenizer(texts, (*vocabulary.lexicon, *vocabulary.names), tiny.vocab_size)
        student = Student(build_model(tokenizer, tiny, params.seed), tokenizer)
    if params.student.lora is not None:
        check_targets(student.model, params.student.lora)
    return student


def _fitting(
    student: Student, examples: Sequence[Example], rows: Sequence[dict[str, Any]], params: Params
) -> list[int]:
    """The numbers of the demonstrations that the student can attend to as a whole; says which are left out."""
    from synthagent.student.positions import keep_fitting, limit_of

    most, lengths = limit_of(student.model.config, params.student), [len(row["input_ids"]) for row in rows]
    if most is None:
        return [*range(len(rows))]
    names = [example.task.id for example in examples]
    return keep_fitting("sft", names, lengths, most, "demonstrations", "choose a student.base with more positions")


def _affordable(
    lessons: Sequence[Lesson], fits: Sequence[int], lengths: Sequence[int], tokens: int | None
) -> list[int]:
    """Of the demonstrations that fit, those of the first lessons that have at most so many tokens together."""
    if tokens is None:
        return [*fits]
    kept, starts, room = list[int](), [0, *accumulate(map(len, lessons))], tokens
    for start, end in pairwise(starts):
        lesson = [number for number in fits if start <= number < end]
        room -= sum(lengths[number] for number in lesson)
        if room < 0:
            break
        kept += lesson
    if not kept:
        raise ParamsError(f"params.yaml: sft.tokens: {tokens:,} are fewer than the first demonstrations have; raise it")
    return kept


def _sizes(lessons: Sequence[Lesson], fits: Sequence[int]) -> list[int]:
    """How many demonstrations of each lesson are among those that fit."""
    kept, starts = {*fits}, [0, *accumulate(map(len, lessons))]
    sizes = [sum(number in kept for number in range(start, end)) for start, end in pairwise(starts)]
    return [size for size in sizes if size]


def _train(
    run_training: Callable[[Callable[[], None]], None],
    folder: Path,
    rows: Sequence[dict[str, Any]],
    sizes: Sequence[int],
    params: Params,
) -> list[float]:
    """Train on the rows of lessons of these sizes, and put the student in its place; return the losses."""
    from synthagent.student.sft import SftJob

    lengths, processes = iter(len(row["input_ids"]) for row in rows), params.compute.processes
    lessons = [[next(lengths) for _ in range(size)] for size in sizes]
    ordered = [rows[i] for i in in_batches_of_like_length(lessons, params.sft.batch_size, params.seed)]
    job = SftJob(folder / "start", folder / "out", ordered, params.sft, params.seed, processes, params.student)
    job = replace(job, launcher=params.compute.launcher)
    checkpoints = checkpoints_of("sft", job, params.compute.checkpoint_minutes)
    say(f"sft: watch {LIVE / 'sft.csv'} grow")
    run_training(replace(job, checkpoints=checkpoints, live=LIVE))
    losses = take_checkpoint(folder / "out", Paths.sft)
    remove(checkpoints)
    return losses


def _as_it_is(folder: Path) -> list[float]:
    """Put the base in the student's place; there are no losses."""
    say("sft: sft.demos is 0, so the base is passed on as it is")
    write_text(folder / "start" / LOG, "[]")
    return take_checkpoint(folder / "start", Paths.sft)


def _names(tools: Sequence[Tool]) -> list[str]:
    return [name for tool in tools for name in (tool.name, *tool.arguments)]
