"""Training on several processes, and work shared among them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from helpers.projects import ROOT, default_params

from synthagent.errors import StoreError, SynthAgentError
from synthagent.params import ComputeParams
from synthagent.student.processes import as_worker, is_first, ranks, train, workers


def square(number: int) -> tuple[int, int]:
    if number < 0:
        raise StoreError(f"{number}: cannot be squared")
    return number * number, torch.get_num_threads()


def test_workers_have_one_thread_and_pass_errors_on() -> None:
    with workers(default_params().compute) as pool:
        assert pool is not None
        results = pool.map(square, [3, 1, 2, -1])
        assert [next(results) for _ in range(3)] == [(9, 1), (1, 1), (4, 1)]
        with pytest.raises(StoreError, match="-1: cannot be squared"):
            next(results)


def test_one_process_is_this_one_with_one_thread() -> None:
    torch.set_num_threads(2)
    with workers(default_params().compute.model_copy(update={"processes": 1})) as pool:
        assert pool is None
        assert torch.get_num_threads() == 1


def test_workers_share_the_gpus_out_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for number in range(4):
        as_worker(1, number)
    assert chosen == [0, 1, 0, 1]


def compute(processes: int) -> ComputeParams:
    return default_params().compute.model_copy(update={"processes": processes})


def test_processes_have_the_threads_they_are_given() -> None:
    with workers(compute(2), threads=2) as pool:
        assert pool is not None
        assert list(pool.map(square, [3, 1])) == [(9, 2), (1, 2)]
    with workers(compute(1), threads=2):
        assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def work_of_the_killed() -> None:
    with workers(compute(2)) as pool:
        assert pool is not None
        list(pool.map(killed, [1]))


def test_processes_that_the_system_kills_are_told_with_what_takes_less_memory() -> None:
    with pytest.raises(SynthAgentError, match=r"was killed \(SIGKILL\).*halve sft.batch_tokens or grpo.batch_tokens"):
        train(killed, 2)
    with pytest.raises(SynthAgentError, match=r"was killed \(SIGKILL\).*processes, or halve episode.max_tokens"):
        work_of_the_killed()


def sum_of_ranks(folder: Path) -> None:
    """What each rank of a distributed training knows of the others."""
    torch.distributed.init_process_group("gloo")
    total = torch.tensor([torch.distributed.get_rank() + 1.0])
    torch.distributed.all_reduce(total)
    saved = f"{int(total.item())} {torch.distributed.get_world_size()} {is_first()} {torch.get_num_threads()}"
    (folder / os.environ["RANK"]).write_text(saved)
    torch.distributed.destroy_process_group()
    if is_first():
        raise StoreError("the disk is full")


def test_a_training_on_two_processes_is_one_training_and_its_errors_are_ours(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the disk is full"):
        train(partial(sum_of_ranks, tmp_path), 2)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"0": "3 2 True 1", "1": "3 2 False 1"}


def test_a_training_on_one_process_runs_here() -> None:
    ran = []
    train(lambda: ran.append(os.getpid()), 1)
    assert ran == [os.getpid()]
    assert is_first()


def write_whether_imported(folder: Path, module: str) -> None:
    """Whether a rank had a module before its job came."""
    (folder / os.environ["RANK"]).write_text(str(module in sys.modules))


def test_processes_of_a_training_import_while_they_wait_for_their_job(tmp_path: Path) -> None:
    with ranks(2, module="synthagent.teacher.natural.texts") as run:
        run(partial(write_whether_imported, tmp_path, "synthagent.teacher.natural.texts"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"0": "True", "1": "True"}


def is_rank(process: psutil.Process) -> bool:
    """Whether it is a process that this one started to run a part of a training."""
    return is_alive(process) and "spawn_main" in " ".join(process.cmdline())


def test_processes_whose_job_never_comes_end_with_what_was_to_make_it() -> None:
    started: list[psutil.Process] = []

    def fail_to_make_a_job() -> None:
        before = {*psutil.Process().children()}
        with ranks(2, module="json"):
            wait_for(lambda: sum(map(is_rank, {*psutil.Process().children()} - before)) == 2, 60)
            started.extend(child for child in {*psutil.Process().children()} - before if is_rank(child))
            raise StoreError("no such file")

    with pytest.raises(StoreError, match="no such file"):
        fail_to_make_a_job()
    assert len(started) == 2
    wait_for(lambda: not [child for child in started if is_alive(child)], 10)


def test_a_module_that_cannot_be_imported_is_told_when_the_job_comes() -> None:
    with pytest.raises(Exception, match="No module named 'no_such_module'"), ranks(2, module="no_such_module") as run:
        run(partial(print, "never"))


def kill_the_first_rank(before: set[psutil.Process]) -> None:
    wait_for(lambda: sum(map(is_rank, {*psutil.Process().children()} - before)) == 2, 60)
    min(filter(is_rank, {*psutil.Process().children()} - before), key=lambda child: child.pid).kill()


def run_after_the_first_rank_is_killed(job: Callable[[], None]) -> None:
    before = {*psutil.Process().children()}
    with ranks(2, module="synthagent.student.sft") as run:
        kill_the_first_rank(before)
        run(job)


def test_a_rank_that_is_killed_before_its_job_comes_is_told_and_nobody_waits_for_it() -> None:
    large = partial(print, "x" * 10_000_000)  # more than a pipe holds
    with pytest.raises(SynthAgentError, match=r"was killed \(SIGKILL\)"):
        run_after_the_first_rank_is_killed(large)


ENDLESS = """
import sys, time
from functools import partial
from pathlib import Path
from synthagent.params_file import load_params
from synthagent.student.processes import train, workers

def wait(folder, *_):
    import os
    (Path(folder) / str(os.getpid())).write_text("")
    time.sleep(1_000)

if __name__ == "__main__":
    job = partial(wait, sys.argv[2])
    if sys.argv[1] == "train":
        train(job, 2)
    else:
        with workers(load_params(Path(sys.argv[3])).compute) as pool:
            list(pool.map(job, [1, 2, 3]))
"""


@pytest.mark.parametrize("way", ["train", "workers"])
def test_children_die_with_their_parent_even_if_it_is_killed(way: str, tmp_path: Path) -> None:
    script, folder = tmp_path / "endless.py", tmp_path / "pids"
    script.write_text(ENDLESS)
    folder.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), way, str(folder), str(ROOT / "params.yaml")])
    try:
        wait_for(lambda: len(list(folder.iterdir())) == 2, 60)
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_for(lambda: not [child for child in children if is_alive(child)], 10)
    finally:
        parent.kill()


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for(what: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, f"not within {patience} s"
        time.sleep(0.1)
