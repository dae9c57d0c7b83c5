"""Speed of training beside named peers, measured in the same run -> a table each; exit 1 if a target is missed.

    make smollm2; .venv/bin/python -m benchmarks.train [--only sft grpo episodes gpu] [--quick]

Sides of a comparison take turns, and medians are compared. Only ratios mean something: a machine has other rates an
hour later. `--quick` runs a few steps of the built-in student, to see that everything works; it judges nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial

# Idle threads sleep: spinning ones take the cores from those that work, on a machine that others use.
os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "TRL_EXPERIMENTAL_SILENCE": "1"}

import torch
from rich.console import Console
from rich.table import Table
from transformers.utils import is_liger_kernel_available

from benchmarks import train_episodes, train_gpu, train_grpo, train_sft
from benchmarks.train_data import Taught, qwen3_of_600m, shipped, taught, tiny
from synthagent.errors import InputError
from synthagent.params import LoraParams
from synthagent.student.base import given_base
from synthagent.student.format import IGNORED
from synthagent.student.model import Student

FLOOR, AIM = 0.55, 0.70
MOST_OVERHEAD = 0.10
LEAST_GAIN = 1.5
LONGEST = 680  # tokens of a demonstration: about 600 on average

console = Console(width=120)


@cache
def smollm2() -> Student | None:
    """SmolLM2-135M, if it was made."""
    try:
        return given_base(shipped(base="smollm2", dtype="bfloat16").student)
    except InputError as error:
        console.print(f"SmolLM2 is left out: {error}")
        return None


def sft(data: Taught, quick: bool) -> bool:
    """Row a: the warm start of a real model on a CPU."""
    student = tiny(data.examples) if quick else smollm2()
    if student is None:
        return False
    rows = train_sft.rows_of(student, data, LONGEST)
    steps, repeats = (1, 1) if quick else (2, 3)
    sides: dict[str, Callable[[], train_sft.Reached]] = {
        "stage sft": lambda: train_sft.ours(_again(student), rows, steps),
        "naive loop": lambda: train_sft.naive(_again(student), rows, steps),
    }
    reached: dict[str, list[train_sft.Reached]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            reached[name].append(run())
    lengths = [len(row["input_ids"]) for row in rows]
    labelled = sum(label != IGNORED for row in rows for label in row["labels"]) / sum(lengths)
    table = Table("side", "of the product's rate", "by CPU time", title="a. SFT, tokens that are not padding")
    for name, each in reached.items():
        table.add_row(name, _share(r.wall for r in each), _share(r.cpu for r in each))
    console.print(table)
    ours = statistics.median(r.wall for r in reached["stage sft"])
    told = f"{torch.get_num_threads()} threads, {statistics.mean(lengths):.0f} tokens a demonstration, {labelled:.0%} "
    console.print(f"{told}with a label; floor {FLOOR:.2f}, aim {AIM:.2f}: {ours:.2f}")
    return quick or ours >= FLOOR


def grpo(data: Taught, quick: bool) -> bool:
    """Row b: a step of GRPO beside TRL's own."""
    steps, repeats = (1, 1) if quick else (2, 3)
    cases = [("tiny", tiny(data.examples), {"base": "tiny"})]
    if not quick and (given := smollm2()):
        cases.append(("SmolLM2-135M", given, {"base": "given", "dtype": "bfloat16"}))
    table = Table("model", "our step / TRL's", "by CPU time", "tokens written", title="b. GRPO, single turns")
    overheads = []
    for name, student, chosen in cases:
        length = 8 if quick else 48 if name == "tiny" else 24
        found = train_grpo.compare(student, data, length, steps, repeats, **chosen)
        overheads.append(found.ours.wall / found.plain.wall - 1)
        cpu = found.ours.cpu / found.plain.cpu
        table.add_row(name, f"{1 + overheads[-1]:.2f}", f"{cpu:.2f}", f"{found.tokens[0]} and {found.tokens[1]}")
    console.print(table)
    console.print(f"at most {1 + MOST_OVERHEAD:.2f}")
    return quick or max(overheads) <= MOST_OVERHEAD


def episodes(data: Taught, quick: bool) -> bool:
    """Row c: one cache for an episode, beside prefilling each turn."""
    cases = [("tiny", tiny(data.examples), 16)]
    if not quick and (given := smollm2()):
        cases.append(("SmolLM2-135M", given, 8))
    table = Table("model", "anew / one cache", "by CPU time", "turns", "tokens", "same tokens", title="c. Episodes")
    gains = []
    for name, student, count in cases:
        model = student.model.float()  # so that both sides write the same
        found = train_episodes.compare(Student(model, student.tokenizer), data.tasks[:count], 1 if quick else 3)
        gains.append(found.anew.wall / found.cached.wall)
        cpu = f"{found.anew.cpu / found.cached.cpu:.2f}"
        table.add_row(name, f"{gains[-1]:.2f}", cpu, f"{found.turns:.1f}", f"{found.tokens}", f"{found.same:.0%}")
    console.print(table)
    console.print(f"at least {LEAST_GAIN:.2f}")
    return quick or min(gains) >= LEAST_GAIN


def gpu(data: Taught, quick: bool) -> bool:
    """Row d: training and episodes on a GPU."""
    if not torch.cuda.is_available():
        console.print("d. On a GPU (SmolLM2, a random Qwen3-0.6B): unmeasured: no GPU here")
        return True
    given = smollm2()
    if given is None:
        return False
    most = train_gpu.ceilings()
    title = f"d. {torch.cuda.get_device_name()}: {most.flops / 1e12:.0f} TFLOP/s, {most.bandwidth / 1e12:.2f} TB/s"
    table = Table("model", "work", "step s", "tokens/s", "of the ceiling", "peak MB", title=title)
    steps, tokens = (1, 32) if quick else (8, 256)
    for name, student in (("SmolLM2-135M", given), ("Qwen3-0.6B, random", qwen3_of_600m(given.tokenizer))):
        rows = train_sft.rows_of(student, data, LONGEST)
        lora = LoraParams(rank=32, alpha=64, targets="all-linear")
        works: dict[str, Callable[[], train_gpu.OnGpu]] = {
            "sft": partial(train_gpu.sft, student, rows, most, steps),
            "sft, checkpointing": partial(train_gpu.sft, student, rows, most, steps, gradient_checkpointing=True),
            "sft, LoRA": partial(train_gpu.sft, student, rows, most, steps, lora=lora),
            "episodes": partial(train_gpu.episodes, student, data.tasks, most, 1 if quick else 2),
            "episodes, not recorded": partial(train_gpu.episodes, student, data.tasks, most, 1, False),
            "grpo, in process": partial(train_gpu.grpo, student, data, most, steps // 2 + 1, tokens),
            "grpo, not recorded": partial(train_gpu.grpo, student, data, most, 1, tokens, False),
        }
        if is_liger_kernel_available():
            works["sft, no Liger"] = partial(train_gpu.sft, student, rows, most, steps, liger=False)
        for work, run in works.items():
            got = run()
            table.add_row(
                name, work, f"{got.step_s:.3f}", f"{got.tokens:,.0f}", f"{got.share:.3f}", f"{got.peak_mb:,.0f}"
            )
            console.print(f"{name}: {work}: {got.tokens:,.0f} tokens a second")
    console.print(table)
    return True


PARTS = {"sft": sft, "grpo": grpo, "episodes": episodes, "gpu": gpu}


def _again(student: Student) -> Student:
    """A side trains a copy, lest it change what the other starts from."""
    import copy

    return Student(copy.deepcopy(student.model), student.tokenizer)


def _share(values: Iterable[float]) -> str:
    every = sorted(values)
    return f"{statistics.median(every):.2f} ({every[0]:.2f} to {every[-1]:.2f})"


def main(given: Sequence[str] | None = None) -> int:
    """Print the tables; 0 if every target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="which tables")
    parser.add_argument("--quick", action="store_true", help="a few steps of the built-in student")
    chosen = parser.parse_args(given)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    data = taught(24 if chosen.quick else 80)
    met = [PARTS[name](data, chosen.quick) for name in chosen.only]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
