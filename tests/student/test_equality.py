"""Two processes give what one gives: the same losses and the same student, but for how sums are rounded.

By torch processes of our own, through accelerate's launcher, and with weights that are shared out (FSDP2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.grpo import job_of
from helpers.projects import default_params
from helpers.sharding import AsOnGpus, Seen, fsdp2_on_cpus, logged_in, sampled_in
from helpers.student import Demo
from safetensors.torch import load_file

from synthagent.params import LoraParams, StudentParams
from synthagent.student import launch
from synthagent.student.checkpoint import LOG
from synthagent.student.lengths import passes_within
from synthagent.student.model import Student, save_student
from synthagent.student.sampler import Sampled

LORA = LoraParams(rank=4, alpha=8, targets="all-linear")
OURS, ACCELERATE, SHARDED = "ours", "accelerate", "sharded"


def run(job: Callable[[], None], way: str | None, folder: Path) -> None:
    """Run a training on one process, or on two in one of three ways."""
    folder.mkdir(exist_ok=True)
    launcher = {ACCELERATE: "cpu", SHARDED: str(fsdp2_on_cpus(folder))}.get(way or "")
    update = {"processes": 2 if way else 1, "launcher": launcher}
    compute = default_params().compute.model_copy(update=update)
    with launch.training(compute, folder) as run:
        run(AsOnGpus(job) if way == SHARDED else job)


def unequal(steps: Sequence[Sequence[Sampled]]) -> Iterator[int]:
    """So many tokens at once that two processes, left alone, would go different ways with four episodes each.

    First: as many passes, of other numbers of rows. Then: with padding, room for one row of the pass or for all. In one
    of the steps: in another the longest of both may be as long.
    """
    yield next(most for step in steps for most in _budgets(step) if _passes_differ(step, most))
    yield next(most for step in steps for most in _budgets(step) if _rooms_differ(step, most))


def _lengths(step: Sequence[Sampled]) -> list[list[int]]:
    return [[len(row.prompt) + len(row.completion) for row in part] for part in (step[:4], step[4:])]


def _budgets(step: Sequence[Sampled]) -> range:
    return range(min(map(min, _lengths(step))), sum(map(sum, _lengths(step))))


def _passes_differ(step: Sequence[Sampled], most: int) -> bool:
    first, second = ([len(rows) for rows in passes_within(each, most)] for each in _lengths(step))
    return len(first) == len(second) and first != second


def _rooms_differ(step: Sequence[Sampled], most: int) -> bool:
    parts, lengths = (step[:4], step[4:]), _lengths(step)
    widths = [max(len(row.prompt) for row in part) + max(len(row.completion) for row in part) for part in parts]
    rooms = [max(1, most // width) for width in widths]
    return rooms[0] != rooms[1] and max(map(len, passes_within(lengths[0], most, lengths))) > min(rooms)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "out" / "model.safetensors")
    return found


def assert_close(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], most: float) -> None:
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < most


def assert_moved(folder: Path, start: Path) -> None:
    before = load_file(start / "model.safetensors")
    assert max(float((weights(folder)[name] - before[name]).abs().max()) for name in before) > 5e-4


def trained_as(lora: LoraParams | None) -> StudentParams:
    """By AdamW, as all students but the built-in one are."""
    return default_params().student.model_copy(update={"lora": lora, "optimizer": "adamw"})


@pytest.mark.parametrize("lora", [None, pytest.param(LORA, marks=pytest.mark.slow)])
def test_sft_on_two_processes_has_the_losses_and_the_student_of_one(
    lora: LoraParams | None, untrained: Student, demos: list[Demo], tmp_path: Path
) -> None:
    from synthagent.student.sft import SftJob

    start = tmp_path / "start"
    save_student(untrained, start)
    rows = [untrained.format.tokenise(demo.messages, demo.task.tools) for demo in demos[:80]]
    params = default_params().sft.model_copy(update={"batch_size": 4})

    def trained(way: str | None) -> Any:
        folder = tmp_path / str(way)
        run(SftJob(start, folder / "out", rows, params, 0, 2 if way else 1, trained_as(lora)), way, folder)
        return json.loads((folder / "out" / LOG).read_text())

    one = trained(None)
    assert len(one) == 2
    assert_moved(tmp_path / "None", start)
    for way in (OURS, ACCELERATE, SHARDED):
        assert trained(way) == pytest.approx(one, rel=1e-5)
        assert_close(weights(tmp_path / "None"), weights(tmp_path / way), 1e-4)
    ours, theirs = ((tmp_path / way / "out" / "model.safetensors").read_bytes() for way in (OURS, ACCELERATE))
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LORA])
def test_grpo_on_two_processes_learns_what_one_learns_from_the_same_episodes(
    lora: LoraParams | None, student: Student, tmp_path: Path
) -> None:
    """Each process samples its own episodes, by its own seed: the same ones are gone through again, by one."""

    def job(name: str, processes: int, most: int | None = None) -> Any:
        (tmp_path / name).mkdir()
        made = job_of(tmp_path / name, student, 2, processes)
        grpo = made.params.grpo.model_copy(update={"batch_tokens": most})
        return replace(made, params=made.params.model_copy(update={"student": trained_as(lora), "grpo": grpo}))

    run(Seen(job(OURS, 2)), OURS, tmp_path / OURS)
    episodes = sampled_in(tmp_path / OURS, 2)
    assert [len(step) for step in episodes] == [8, 8]
    assert episodes[0][:4] != episodes[0][4:]
    run(Seen(job("one", 1), episodes), None, tmp_path / "one")
    run(Seen(job(SHARDED, 2), episodes), SHARDED, tmp_path / SHARDED)
    budgets = {f"passes-{most}": most for most in unequal(episodes)}
    assert len(budgets) == 2
    for name, most in budgets.items():
        run(Seen(job(name, 2, most), episodes), OURS, tmp_path / name)
    assert_moved(tmp_path / "one", tmp_path / "one" / "start")
    one = logged_in(tmp_path / "one")
    for way in (OURS, SHARDED, *budgets):
        for step, wanted in zip(logged_in(tmp_path / way), one, strict=True):
            assert step == pytest.approx(wanted, rel=1e-3, abs=1e-5)
        assert_close(weights(tmp_path / "one"), weights(tmp_path / way), 1e-4)


@pytest.mark.slow
def test_where_weights_are_shared_out_each_process_samples_by_itself(student: Student, tmp_path: Path) -> None:
    """The processes go through the network as often as their episodes are long, and neither waits for the other."""
    made = job_of(tmp_path, student, 2, 2)
    job = replace(made, params=made.params.model_copy(update={"student": trained_as(None)}))
    run(Seen(job), SHARDED, tmp_path)
    first, second = (step for step in sampled_in(tmp_path, 2))
    longest = [max(len(row.completion) for row in part) for step in (first, second) for part in (step[:4], step[4:])]
    assert len(set(longest)) > 1
    assert all(row.completion for row in (*first, *second))
