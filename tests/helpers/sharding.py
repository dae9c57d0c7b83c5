"""Trainings on two processes of a machine without a GPU, to be compared with one: whole copies, or shared weights."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from synthagent.errors import StoreError
from synthagent.student.processes import rank
from synthagent.student.sampler import Sampled

if TYPE_CHECKING:
    from synthagent.student.grpo import GrpoJob


def fsdp2_on_cpus(folder: Path) -> Path:
    """The launcher `one-node-fsdp2`, for CPUs."""
    ours = resources.files("synthagent.student").joinpath("launchers", "one-node-fsdp2.yaml")
    file = folder / "fsdp2.yaml"
    file.write_text(ours.read_text() + "use_cpu: true\n")
    return file


@dataclass(frozen=True)
class AsOnGpus:
    """A job in whose processes accelerate takes CPUs for GPUs: for CPUs it knows nothing but whole copies."""

    job: Callable[[], None]

    def __call__(self) -> None:
        from accelerate import PartialState
        from accelerate.utils import DistributedType

        PartialState(cpu=True)
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        self.job()


@dataclass(frozen=True)
class Seen:
    """A GRPO training that leaves, beside its `out`, what each process sampled and what the steps logged.

    `episodes`: those that it goes through in place of sampling, a step after the other. Every other episode earns 1.
    """

    job: GrpoJob
    episodes: Sequence[Sequence[Sampled]] | None = None

    def __call__(self) -> None:
        from synthagent.student import grpo

        steps: list[list[Sampled]] = []
        logs: list[dict[str, Any]] = []
        run_episodes, summary = grpo.run_episodes, grpo.step_logged

        def run(student: Any, episodes: Sequence[Any], *rest: Any, **more: Any) -> list[Sampled]:
            if self.episodes is None:
                steps.append(run_episodes(student, episodes, *rest, **more))
            else:
                mine = self.episodes[len(steps)]
                steps.append([*mine[rank() * len(episodes) : (rank() + 1) * len(episodes)]])
            return steps[-1]

        def earned(live: Any) -> float:
            return float(next(turn))

        def logged(updates: int, log: dict[str, Any]) -> Any:
            logs.append({name: float(log[name]) for name in ("loss", "grad_norm")})
            return summary(updates, log)

        turn = cycle((1.0, 0.0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(grpo, "run_episodes", run)
            patch.setattr(grpo, "step_logged", logged)
            patch.setattr(grpo.LiveEpisode, "get_reward", earned)
            self.job()
        self.job.out.with_name(f"seen-{rank()}.pickle").write_bytes(pickle.dumps((steps, logs)))


def sampled_in(folder: Path, processes: int) -> list[list[Sampled]]:
    """What all processes sampled, a step after the other."""
    seen = [pickle.loads((folder / f"seen-{number}.pickle").read_bytes())[0] for number in range(processes)]
    return [[row for process in step for row in process] for step in zip(*seen, strict=True)]


def logged_in(folder: Path) -> list[dict[str, float]]:
    """What the steps logged."""
    logs: list[dict[str, float]] = pickle.loads((folder / "seen-0.pickle").read_bytes())[1]
    return logs


def leave_ranks(folder: Path) -> None:
    """Leave, in each process of a training, how many they are."""
    torch.distributed.init_process_group("gloo")
    (folder / f"rank-{rank()}").write_text(str(torch.distributed.get_world_size()))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def fail() -> None:
    """The second process makes a mistake of the user known; the first waits for it."""
    torch.distributed.init_process_group("gloo")
    if rank() == 1:
        raise StoreError("the disk is full")
    torch.distributed.barrier()


def kill_itself() -> None:
    """The second process is killed, as for want of memory; the first waits."""
    if rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1_000)


def wait_for_ever(folder: Path) -> None:
    """Leave a mark, and do not end."""
    (folder / f"rank-{rank()}").write_text("")
    time.sleep(1_000)
