"""Runs a training as `compute.launcher` says: (job, params) -> what the job leaves. Imports nothing heavy by itself.

null: processes of our own (`synthagent.student.processes`). Else `accelerate launch` with a configuration of ours
(`launchers/`) or of the user: the job is written to a file, and each process that accelerate starts reads and runs it
(`synthagent.student.launched`). On several nodes, which share a file system, the same command is given on each, with
MACHINE_RANK, MAIN_PROCESS_IP and, if they are not as in the file, NUM_MACHINES and MAIN_PROCESS_PORT in the
environment: the first node runs the stage, the others take part in its training (`join`).

Launch (by `training`): `python -m synthagent.student.launch ARGUMENTS OF accelerate launch`.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from synthagent.errors import ParamsError, StoreError, SynthAgentError
from synthagent.params import ComputeParams, Params
from synthagent.stage import number_in_environment, say, scratch_of
from synthagent.student import launched
from synthagent.student.processes import Job, end_with_parent, ranks

_JOB = "job.pickle"
_PORT = 29500
_GRACE_S = 20.0
_PLACE = "params.yaml: compute.launcher"


@dataclass(frozen=True, slots=True)
class Launcher:
    """What a configuration of accelerate says, with the environment's word on nodes."""

    file: Path
    machines: int
    machine: int
    cpu: bool
    sharded: bool


def a_gpu_each(params: Params) -> Params:
    """Params with as many training processes of our own as there are GPUs, if there are fewer; it is said.

    Two processes cannot share a GPU in a training (NCCL refuses it). A step stays the same: its batch is of all of them
    together, so that their number has to divide what `compute.processes` divides.
    """
    import torch

    wanted, there = params.compute.processes, torch.cuda.device_count()
    if params.compute.launcher is not None or not 0 < there < wanted:
        return params
    fewer = max(number for number in range(1, there + 1) if wanted % number == 0)
    say(f"compute.processes is {wanted}, and GPUs are {there}: {fewer} of them train")
    return params.model_copy(update={"compute": params.compute.model_copy(update={"processes": fewer})})


@contextmanager
def training(
    compute: ComputeParams, folder: Path, threads: int = 1, module: str | None = None
) -> Iterator[Callable[[Job], None]]:
    """Who runs a picklable job as one training of `compute.processes` ranks, of so many threads; `folder` is scratch.

    Processes of our own start at once, and import `module`, where the job is, while it is being made.

    Raises:
        SynthAgentError: the job's own, of whatever rank; or a process ended in another way.
    """
    launcher = launcher_of(compute)
    if launcher is not None:
        yield partial(_run_launched, launcher, compute, folder, threads)
        return
    with ranks(compute.processes, threads, module) as run:
        yield run


def _run_launched(launcher: Launcher, compute: ComputeParams, folder: Path, threads: int, job: Job) -> None:
    path = folder / _JOB
    for left in folder.glob("fault-*.txt"):
        left.unlink()
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(pickle.dumps(job))
        temporary.replace(path)  # at once: other nodes read it, too
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; make room, or the folder writable") from None
    _launch(launcher, compute, path, threads)


def join(stage: str, params: Params) -> None:
    """Take part, as one of the further nodes, in the training of a stage that runs on the first."""
    from synthagent.student.machine import threads_of

    launcher = launcher_of(params.compute)
    if launcher is None or stage not in ("sft", "grpo"):
        raise ParamsError(
            f"{stage}: MACHINE_RANK is {os.environ['MACHINE_RANK']}, but only sft and grpo run on several nodes, "
            "and only with a compute.launcher; run it on the first node, without MACHINE_RANK"
        )
    if stage == "grpo" or params.sft.demos:
        _launch(launcher, params.compute, scratch_of(stage) / _JOB, threads_of(params))


def check(params: Params) -> None:
    """Raise ParamsError where `compute.launcher` cannot work, here or with this student."""
    launcher = launcher_of(params.compute)
    if launcher and launcher.sharded and params.student.uses_muon:
        raise ParamsError(
            "params.yaml: student.optimizer: muon needs whole matrices, but compute.launcher shares them out; "
            "set it to adamw, or compute.launcher to one-node"
        )


def launcher_of(compute: ComputeParams) -> Launcher | None:
    """What `compute.launcher` names, or None.

    Raises:
        ParamsError: no such file; accelerate cannot read it; or this machine lacks what it wants.
    """
    if compute.launcher is None:
        return None
    file = _file_of(compute.launcher)
    found = _parsed(file, compute.launcher)
    kind = str(found.distributed_type.value)
    machines = number_in_environment("NUM_MACHINES", found.num_machines)
    launcher = Launcher(
        file, machines, number_in_environment("MACHINE_RANK", 0), bool(found.use_cpu), kind in ("FSDP", "DEEPSPEED")
    )
    fault = _fault_of(found, kind, compute) or _fault_of_machine(launcher, kind, compute.processes)
    if fault:
        raise ParamsError(f"{_PLACE}: {compute.launcher}: {fault}")
    return launcher


def names() -> list[str]:
    """The configurations of ours."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir())


def _folder() -> Any:
    return resources.files("synthagent.student").joinpath("launchers")


def _file_of(name: str) -> Path:
    ours = _folder().joinpath(f"{name}.yaml")
    if name in names():
        return Path(str(ours))
    if Path(name).expanduser().is_file():
        return Path(name).expanduser()
    raise ParamsError(f"{_PLACE}: {name}: no such file, and none of ours; name a file, or one of {', '.join(names())}")


def _parsed(file: Path, name: str) -> Any:
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
    from yaml import YAMLError

    remedy = "see `accelerate config`, which writes such a file"
    try:
        found = load_config_from_file(str(file))
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        why = " ".join(str(error).split())[:200]
        raise ParamsError(f"{_PLACE}: {name}: accelerate cannot read it: {why}; {remedy}") from None
    if not isinstance(found, ClusterConfig):
        raise ParamsError(f"{_PLACE}: {name}: is for SageMaker, which is not supported; {remedy}")
    return found


def _fault_of(found: Any, kind: str, compute: ComputeParams) -> str | None:
    """What of a configuration does not suit us, whatever the machine."""
    if kind not in ("NO", "MULTI_GPU", "FSDP", "DEEPSPEED"):
        hint = " (for CPUs there is `cpu`)" if kind == "MULTI_CPU" else ""
        return f"distributed_type {kind} is not supported; set it to NO, MULTI_GPU, FSDP or DEEPSPEED{hint}"
    if kind == "FSDP" and int(found.fsdp_config.get("fsdp_version", 1)) != 2:
        return "FSDP of version 1 is not supported; set fsdp_config.fsdp_version to 2"
    if found.num_processes not in (-1, compute.processes):
        return (
            f"starts {found.num_processes} processes, but compute.processes is {compute.processes}; make them the same"
        )
    if kind == "NO" and compute.processes != 1:
        return f"starts one process, but compute.processes is {compute.processes}; set that to 1"
    return None


def _fault_of_machine(launcher: Launcher, kind: str, processes: int) -> str | None:
    """What this machine, or its environment, lacks."""
    import torch

    if kind == "DEEPSPEED" and find_spec("deepspeed") is None:
        return "needs deepspeed, which is not installed; `pip install deepspeed`, or take an fsdp2 launcher"
    if processes % launcher.machines:
        return f"runs on {launcher.machines} nodes, but compute.processes is {processes}; make it a multiple of that"
    if launcher.machines > 1 and not os.environ.get("MAIN_PROCESS_IP"):
        return "runs on several nodes, but MAIN_PROCESS_IP is not set; set it to the first node's address, on each"
    if launcher.machine >= launcher.machines:
        return f"MACHINE_RANK is {launcher.machine}, but there are {launcher.machines} nodes, from 0; see NUM_MACHINES"
    wanted, there = processes // launcher.machines, torch.cuda.device_count()
    if not launcher.cpu and there < wanted:
        return (
            f"wants {wanted} GPUs on this node (compute.processes over {launcher.machines} nodes), but there are "
            f"{there}; set compute.processes to the number of GPUs, or compute.launcher to null or cpu"
        )
    return None


def command_of(launcher: Launcher, compute: ComputeParams, job: Path, threads: int) -> list[str]:
    """The arguments of `accelerate launch`."""
    several = launcher.machines > 1
    return [
        *("--config_file", str(launcher.file), "--num_processes", str(compute.processes)),
        *("--num_machines", str(launcher.machines), "--machine_rank", str(launcher.machine)),
        *("--main_process_port", str(number_in_environment("MAIN_PROCESS_PORT", _PORT) if several else 0)),
        *(("--main_process_ip", os.environ["MAIN_PROCESS_IP"]) if several else ()),
        *("-m", launched.__name__, str(job), str(threads)),
    ]


def _launch(launcher: Launcher, compute: ComputeParams, job: Path, threads: int) -> None:
    """Run accelerate to its end; whatever ends us ends it and all that it started."""
    command = [sys.executable, "-m", __name__, *command_of(launcher, compute, job, threads)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # the same code there as here
    if launcher.cpu:
        env |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    # In a session of its own: Ctrl-C reaches us alone, and we end it.
    process = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        code = process.wait()
    finally:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if code:
        faults = sorted(job.parent.glob("fault-*.txt"))
        if faults:
            raise SynthAgentError(faults[0].read_text(encoding="utf-8"))
        why = f"was killed by signal {code - 128}" if code > 128 else f"ended with code {code}"
        if code == 128 + signal.SIGKILL:
            why += ", perhaps for memory"
        raise SynthAgentError(
            f"{_PLACE}: {compute.launcher}: a process of the training {why}; what it said stands above"
        )


def main(arguments: list[str]) -> int:
    """`accelerate launch`, less the report on processes that failed, whose faults are told by others; its exit code."""
    import logging

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # before its parts take it over
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    end_with_parent()
    try:
        launch_command(launch_command_parser().parse_args(arguments))
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        return code if code > 0 else 128 - code
    except subprocess.CalledProcessError as error:
        return error.returncode if error.returncode > 0 else 128 - error.returncode
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
