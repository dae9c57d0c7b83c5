"""Work that is shared out over processes and over a real Ray cluster of two nodes, one of which is killed half-way."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
from helpers.projects import default_params
from helpers.tasks import accepted_tasks

from synthagent import cluster
from synthagent.episodes.policy import Setting, Start
from synthagent.errors import ParamsError, StoreError
from synthagent.params import ComputeParams
from synthagent.records import Persona, Task, Trajectory
from synthagent.spread import shared_out, spread
from synthagent.stages import tasks as tasks_stage
from synthagent.store import write_records
from synthagent.teacher.acceptance import accept
from synthagent.teacher.domains import load_vocabulary

PERSONAS = [Persona(id=f"p{n}", text=text, source="test") for n, text in enumerate(("a nurse", "a pilot", "a cook"))]


def compute(**changes: Any) -> ComputeParams:
    return default_params().compute.model_copy(update=changes)


def square(number: int) -> tuple[int, int]:
    if number < 0:
        raise StoreError(f"{number}: cannot be squared")
    return number * number, os.getpid()


@pytest.mark.parametrize(("processes", "size", "elsewhere"), [(1, 2, False), (2, 5, False), (2, 2, True)])
def test_results_come_in_order_and_what_is_one_piece_is_done_here(processes: int, size: int, elsewhere: bool) -> None:
    found = list(shared_out(compute(processes=processes), square, [3, 1, 2, 5], size))
    assert [result for result, _ in found] == [9, 1, 4, 25]
    assert ({pid for _, pid in found} != {os.getpid()}) == elsewhere


class Nodes:
    """A cluster of this machine: a head that does no work, and two nodes of one core."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        os.environ.update(cluster._ENVIRONMENT)
        memory = {"object_store_memory": 80_000_000}
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **memory})
        self.nodes = [self.cluster.add_node(num_cpus=1, **memory) for _ in range(2)]
        self.address: str = self.cluster.address

    def kill_one(self) -> None:
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray", reason="needs ray: pip install -c constraints.txt 'synthagent[ray]'")
    made = Nodes()
    try:
        yield made
    finally:
        made.cluster.shutdown()


@contextmanager
def proofs(params: ComputeParams) -> Iterator[Any]:
    """Forty pairs of tasks, proposed and proved."""
    work = partial(tasks_stage._propose_and_judge, PERSONAS, load_vocabulary(), default_params())
    with spread(params) as pool:
        yield pool.map(work, [range(2 * n, 2 * n + 2) for n in range(40)]) if pool else ()


def written(judged: Any, path: Path) -> bytes:
    write_records(path, Task, [row for row in accept(chain.from_iterable(judged)) if isinstance(row, Task)])
    return path.read_bytes()


@pytest.mark.slow
def test_proofs_on_a_cluster_that_loses_a_node_half_way_are_the_same_bytes(nodes: Nodes, tmp_path: Path) -> None:
    with proofs(compute(processes=2)) as judged:
        wanted = written(judged, tmp_path / "processes")
    with proofs(compute(runner="ray", ray_address=nodes.address)) as judged:
        first = list(islice(judged, 10))
        nodes.kill_one()
        found = written([*first, *judged], tmp_path / "ray")
    assert found == wanted
    assert len(wanted) > 10_000


@pytest.mark.slow
def test_episodes_on_a_cluster_that_loses_a_node_half_way_are_the_same_bytes(nodes: Nodes, tmp_path: Path) -> None:
    from helpers.student import LIMITS, PARAMS

    from synthagent.student.model import Student, build_model
    from synthagent.student.policy import StudentPolicy
    from synthagent.student.processes import workers
    from synthagent.student.tokenizer import train_tokenizer

    tokenizer = train_tokenizer([task.instruction for task in accepted_tasks()], (), PARAMS.vocab_size)
    student = Student(build_model(tokenizer, PARAMS, seed=0), tokenizer)
    params = default_params().model_copy(update={"episode": LIMITS.model_copy(update={"max_tokens": 40})})
    starts = [Start(task, sample) for task in accepted_tasks()[:100] for sample in range(2)]

    def rows(given: ComputeParams, after: int | None, path: Path) -> bytes:
        with workers(given) as pool:
            running = StudentPolicy("sft", student, params, Setting(), workers=pool).run(starts)
            first = list(islice(running, after or 0))
            if after:
                nodes.kill_one()
            write_records(path, Trajectory, sorted([*first, *running], key=lambda row: row.id))
        return path.read_bytes()

    wanted = rows(compute(processes=2), None, tmp_path / "processes")
    found = rows(compute(runner="ray", ray_address=nodes.address), 65, tmp_path / "ray")
    assert found == wanted


def test_a_cluster_of_this_machine_has_our_code_and_passes_errors_on() -> None:
    pytest.importorskip("ray", reason="needs ray: pip install -c constraints.txt 'synthagent[ray]'")
    with spread(compute(runner="ray", processes=2)) as pool:
        assert pool is not None
        results = pool.map(square, [3, 1, 2, -1])
        found = [next(results) for _ in range(3)]
        assert [result for result, _ in found] == [9, 1, 4]
        assert os.getpid() not in {pid for _, pid in found}
        with pytest.raises(StoreError, match=r"^-1: cannot be squared$"):
            next(results)


def test_a_cluster_that_does_not_answer_is_told_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install -c constraints.txt 'synthagent[ray]'")
    monkeypatch.setattr(cluster, "_ANSWER_S", 3.0)
    with pytest.raises(ParamsError, match=r"127\.0\.0\.1:1: no Ray cluster answers .*; start one"):
        cluster.check(compute(runner="ray", ray_address="127.0.0.1:1"))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ParamsError, match=rf"compute\.ray_address: {address}: no Ray cluster answers .*`ray start"):
            cluster.check(compute(runner="ray", ray_address=address))
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("address", ["somewhere", "ray://host:10001", "host:port", ""])
def test_an_address_of_another_form_is_told(address: str) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install -c constraints.txt 'synthagent[ray]'")
    with pytest.raises(ParamsError, match="neither auto nor host:port"):
        cluster.check(compute(runner="ray", ray_address=address))


def test_a_runner_that_is_not_installed_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ParamsError, match=r"compute\.runner: ray is not installed; `pip install .*synthagent\[ray\]"),
        spread(compute(runner="ray")),
    ):
        pass
