"""Work shared out over a Ray cluster (`compute.runner: ray`, an extra: `pip install 'synthagent[ray]'`).

A worker or a node that dies costs time, not results: its work is done again elsewhere. Every node has the same
libraries; the code of this package is sent there.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from synthagent.errors import ParamsError, SynthAgentError
from synthagent.params import ComputeParams

if TYPE_CHECKING:
    from synthagent.spread import Prepare

T = TypeVar("T")
R = TypeVar("R")

_PLACE = "params.yaml: compute.ray_address"
_ENVIRONMENT = {  # nothing is phoned home; and on this machine workers have the rank of other processes, not the last
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}
_ANSWER_S = 30.0  # in which a cluster says that it is there
_LOOK_S = 30.0  # after which it is seen to, whether there is anybody left to wait for
_TIMES = 8  # that a piece of work is begun again because its worker died


@contextmanager
def cluster(compute: ComputeParams, prepare: Prepare, gpu: bool) -> Iterator[_Cluster]:
    """A connection to the cluster that params name, or one of this machine that ends with it.

    Raises:
        ParamsError: ray is not installed; the cluster does not answer.
    """
    check(compute)
    import ray

    address = compute.ray_address
    if address is None:  # a process there has the same code as here
        where = {"address": "local", "num_cpus": compute.processes, "include_dashboard": False}
        code: dict[str, Any] = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
    else:
        where, code = {"address": address}, {"py_modules": [str(Path(__file__).parent)]}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, runtime_env=code, **where)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ParamsError(f"{_PLACE}: {address}: cannot be connected to: {_line(error)}; {_REMEDY}") from None
    try:
        gpus = 1 if gpu and ray.cluster_resources().get("GPU") else 0
        yield _Cluster(prepare, gpus)
    finally:
        ray.shutdown()


def check(compute: ComputeParams) -> None:
    """Raise ParamsError where there is no ray, or no cluster at the address."""
    if find_spec("ray") is None:
        raise ParamsError(
            "params.yaml: compute.runner: ray is not installed; `pip install -c constraints.txt 'synthagent[ray]'`, or "
            "set it to processes"
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    address = compute.ray_address
    if address is None:
        return
    if address != "auto" and not re.fullmatch(r"[\w.-]+:\d+", address):
        raise ParamsError(f"{_PLACE}: {address!r} is neither auto nor host:port; name the port of `ray start --head`")
    # A process of its own, since ray waits for minutes and cannot be stopped.
    where = () if address == "auto" else ("--address", address)
    ask = [sys.executable, "-m", "ray.scripts.scripts", "health-check", *where]
    try:
        fault = (
            "" if subprocess.run(ask, capture_output=True, timeout=_ANSWER_S, check=False).returncode == 0 else " there"
        )
    except subprocess.TimeoutExpired:
        fault = f" within {_ANSWER_S:.0f} s"
    if fault:
        raise ParamsError(f"{_PLACE}: {address}: no Ray cluster answers{fault}; {_REMEDY}")


_REMEDY = "start one (`ray start --head`; on the other nodes `ray start --address=HOST:6379`), or set it to null"


@dataclass(frozen=True, slots=True)
class _Cluster:
    """A `synthagent.spread.Pool`."""

    prepare: Prepare
    gpus: int

    def map(self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        import ray

        remote = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=_TIMES, scheduling_strategy="SPREAD")(_call)
        shared = ray.put((self.prepare, work))  # goes to each node once, and may hold a model
        return _results([remote.remote(shared, item) for item in items])


def _call(shared: tuple[Prepare, Callable[[Any], Any]], item: Any) -> Any:
    prepare, work = shared
    prepare(0)  # ray shows a worker its own GPU alone
    return work(item)


def _results(waiting: list[Any]) -> Iterator[Any]:
    import ray

    waiting.reverse()
    while waiting:
        try:
            found = ray.get(waiting[-1], timeout=_LOOK_S)
        except ray.exceptions.GetTimeoutError:
            if not any(node["Alive"] and node["Resources"].get("CPU") for node in ray.nodes()):
                raise SynthAgentError(
                    "compute.runner: ray: no node of the cluster is left to work; start one, and run this again"
                ) from None
            continue
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise SynthAgentError(
                f"compute.runner: ray: a piece of work was given up after {_TIMES} workers died: {_line(error)}; see "
                "whether their machines have memory enough"
            ) from None
        waiting.pop()
        yield found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
