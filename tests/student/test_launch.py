"""Trainings through accelerate's launcher: its configurations, what cannot work, and how a training ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from helpers.processes import PATIENCE, eventually, free_port, is_alive
from helpers.projects import assert_one_message, default_params, synthagent, write_params
from helpers.sharding import fail, kill_itself, leave_ranks

from synthagent.errors import ParamsError, SynthAgentError
from synthagent.params import ComputeParams, Params
from synthagent.student import launch

TINY = {"vocab_size": 800, "layers": 2, "heads": 2}
ON_GPUS = [name for name in launch.names() if name != "cpu"]


def compute(launcher: str | None, processes: int = 2) -> ComputeParams:
    return default_params().compute.model_copy(update={"launcher": launcher, "processes": processes})


def params(launcher: str | None, **student: Any) -> Params:
    whole = default_params()
    update = {"compute": compute(launcher), "student": whole.student.model_copy(update=student)}
    return whole.model_copy(update=update)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with eight GPUs and deepspeed, and its first node's address, as far as is looked at."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(launch, "find_spec", lambda name: object())
    monkeypatch.setenv("MAIN_PROCESS_IP", "10.0.0.1")


@pytest.mark.parametrize("name", launch.names())
@pytest.mark.usefixtures("gpus")
def test_a_configuration_of_ours_is_one_that_accelerate_takes(name: str) -> None:
    processes = 1 if name == "one-gpu" else 16 if name.startswith("several") else 8
    launcher = launch.launcher_of(compute(name, processes))
    assert launcher is not None
    command = launch.command_of(launcher, compute(name, processes), Path("job"), 1)
    args, found, _ = _validate_launch_command(launch_command_parser().parse_args(command))
    assert (args.num_processes, args.num_machines) == (processes, 2 if name.startswith("several") else 1)
    assert found.mixed_precision is None  # student.dtype says it
    assert (bool(args.use_fsdp), bool(args.use_deepspeed)) == (name.endswith("fsdp2"), name.endswith("zero3"))
    assert launcher.sharded == name.endswith(("fsdp2", "zero3"))
    if args.use_fsdp:
        assert prepare_multi_gpu_env(args)["FSDP_VERSION"] == "2"
    if args.use_deepspeed:
        assert (args.zero_stage, args.zero3_save_16bit_model) == (3, True)


@pytest.mark.parametrize("name", ON_GPUS)
def test_a_configuration_says_whether_it_was_tried(name: str) -> None:
    said = (Path(launch.__file__).parent / "launchers" / f"{name}.yaml").read_text()
    assert "Untried" in said or "run on no GPU yet" in said


def test_gpus_that_are_not_there_are_told_with_the_remedy() -> None:
    with pytest.raises(ParamsError, match=r"compute\.launcher: one-node: wants 2 GPUs .* there are 0; set compute\."):
        launch.check(params("one-node"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file, and none of ours; name a file, or one of cpu, one-gpu, "),
        ("distributed_type: [", "accelerate cannot read it: .*accelerate config"),
        ("- a list", "accelerate cannot read it"),
        ("use_cpu: true", "accelerate cannot read it: A `distributed_type` must be specified"),
        ("distributed_type: SOME", "accelerate cannot read it: 'SOME' is not a valid"),
        ("distributed_type: MULTI_GPU\nwheels: 4", r"accelerate cannot read it: .*unknown keys \(\['wheels'\]\)"),
        ("distributed_type: MULTI_CPU", "MULTI_CPU is not supported.*for CPUs there is `cpu`"),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 1}", "set fsdp_config.fsdp_version to 2"),
        ("distributed_type: MULTI_GPU\nnum_processes: 8", "starts 8 processes, but compute.processes is 2"),
        ('distributed_type: "NO"', "starts 1 processes, but compute.processes is 2"),
        ("distributed_type: DEEPSPEED", "needs deepspeed, which is not installed; `pip install deepspeed`"),
        ("distributed_type: MULTI_GPU\nuse_cpu: true\nnum_machines: 2", "MAIN_PROCESS_IP is not set"),
        ("distributed_type: MULTI_GPU\nuse_cpu: true\nnum_machines: 3", "runs on 3 nodes, but compute.processes is 2"),
    ],
)
def test_a_file_that_cannot_work_is_told_in_one_line(text: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    if text:
        file.write_text(text)
    with pytest.raises(ParamsError, match=said) as told:
        launch.check(params(str(file)))
    assert "\n" not in str(told.value)
    assert str(told.value).startswith(f"params.yaml: compute.launcher: {file}: ")


@pytest.mark.parametrize(("gpus", "wanted", "left"), [(0, 2, 2), (1, 2, 1), (2, 2, 2), (8, 2, 2), (4, 6, 3), (3, 7, 1)])
def test_no_two_processes_of_ours_train_on_one_gpu(
    gpus: int, wanted: int, left: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    given = params(None)
    given = given.model_copy(update={"compute": given.compute.model_copy(update={"processes": wanted})})
    found = launch.a_gpu_each(given)
    assert found.compute.processes == left
    assert (found == given) == (left == wanted)
    said = capsys.readouterr().out
    assert said == (
        "" if left == wanted else f"compute.processes is {wanted}, and GPUs are {gpus}: {left} of them train\n"
    )


def test_a_launcher_has_as_many_processes_as_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert launch.a_gpu_each(params("cpu")) == params("cpu")


@pytest.mark.usefixtures("gpus")
def test_muon_is_refused_where_matrices_are_shared_out() -> None:
    with pytest.raises(ParamsError, match=r"student\.optimizer: muon needs whole matrices"):
        launch.check(params("one-node-fsdp2"))
    launch.check(params("one-node-fsdp2", optimizer="adamw"))


def test_the_place_among_the_nodes_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NUM_MACHINES": "2", "MACHINE_RANK": "1", "MAIN_PROCESS_IP": "10.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    launcher = launch.launcher_of(compute("cpu"))
    assert launcher is not None
    command = " ".join(launch.command_of(launcher, compute("cpu"), Path("job"), 1))
    assert "--num_machines 2 --machine_rank 1 --main_process_port 29500 --main_process_ip 10.0.0.1" in command
    monkeypatch.setenv("MACHINE_RANK", "2")
    with pytest.raises(ParamsError, match=r"MACHINE_RANK is 2, but there are 2 nodes"):
        launch.launcher_of(compute("cpu"))
    monkeypatch.setenv("MACHINE_RANK", "first")
    with pytest.raises(ParamsError, match=r"MACHINE_RANK: must be a number, but it is 'first'"):
        launch.launcher_of(compute("cpu"))


def test_the_processes_are_those_of_one_training(tmp_path: Path) -> None:
    with launch.training(compute("cpu"), tmp_path) as run:
        run(partial(leave_ranks, tmp_path))
    assert {path.name: path.read_text() for path in tmp_path.glob("rank-*")} == {"rank-0": "2", "rank-1": "2"}


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (fail, "^the disk is full$"),
        (kill_itself, "process of the training was killed by signal 9, perhaps for memory;"),
    ],
)
def test_how_a_process_failed_is_told_in_one_line(
    job: Any, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SynthAgentError, match=said) as told, launch.training(compute("cpu"), tmp_path) as run:
        run(job)
    assert "\n" not in str(told.value)
    assert "Traceback" not in capfd.readouterr().err


ENDLESS = """
import signal
import sys
from functools import partial
from pathlib import Path
from helpers.sharding import wait_for_ever
from synthagent.params_file import load_params
from synthagent.student import launch

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
compute = load_params(Path("params.yaml")).compute.model_copy(update={"launcher": "cpu", "processes": 2})
with launch.training(compute, Path(sys.argv[1])) as run:
    run(partial(wait_for_ever, Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_whatever_ends_a_training_ends_all_its_processes(ending: signal.Signals, tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], env=env, stderr=subprocess.PIPE)
    try:
        eventually("both processes", lambda: len(list(tmp_path.glob("rank-*"))) == 2, 3 * PATIENCE)
        children = [child.pid for child in psutil.Process(parent.pid).children(recursive=True)]
        assert len(children) >= 3
        parent.send_signal(ending)
        parent.wait(60)
        eventually("the end of all", lambda: not [child for child in children if is_alive(child)])
    finally:
        parent.kill()


@pytest.mark.slow
def test_the_same_command_on_two_nodes_is_one_training(project: Path) -> None:
    """Two nodes of one process each, which are this machine; the student is that of two processes of our own."""
    said: dict[str, Any] = {"compute.processes": 2, "sft.demos": 40, "sft.reasoning_share": 0}
    said |= {"student.tiny": {"hidden_size": 32, **TINY}}
    write_params(project, said)
    ours = synthagent("sft", cwd=project)
    assert ours.returncode == 0, ours.stderr
    weights = project / "data" / "models" / "sft" / "model.safetensors"
    wanted = weights.read_bytes()
    weights.unlink()
    write_params(project, {**said, "compute.launcher": "cpu"})
    both = {"NUM_MACHINES": "2", "MAIN_PROCESS_IP": "127.0.0.1", "MAIN_PROCESS_PORT": str(free_port())}
    command = [sys.executable, "-m", "synthagent", "sft"]
    nodes = [
        subprocess.Popen(command, cwd=project, env=os.environ | both | {"OMP_NUM_THREADS": "1", "MACHINE_RANK": rank})
        for rank in ("1", "0")
    ]
    try:
        assert [node.wait(2 * PATIENCE) for node in nodes] == [0, 0]
    finally:
        for node in nodes:
            node.kill()
    assert weights.read_bytes() == wanted


def test_a_further_node_takes_part_in_trainings_only(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACHINE_RANK", "1")
    for stage in ("tasks", "sft"):  # of sft, because no launcher is named
        assert_one_message(synthagent(stage, cwd=project), f"{stage}: MACHINE_RANK is 1, but only sft and grpo")
