"""Episodes through the packages that `synthagent export verifiers` and `export openenv` write, each by its client.

A package is installed as a trainer would, into a folder beside its environment, and acted in from that environment.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.worlds_for_others.episodes import Acted
from synthagent.errors import SynthAgentError
from synthagent.exchange.packages import export_package
from synthagent.params import Params

ROOT = Path(__file__).resolve().parents[2]


def python_of(kind: str) -> Path:
    """The interpreter of the environment that has the client."""
    return ROOT / f".venv-{kind}" / "bin" / "python"


def missing(kind: str) -> str:
    """Why a package cannot be tried here; nothing if it can."""
    if python_of(kind).exists():
        return ""
    return f"{python_of(kind)}: no such environment; `benchmarks/peers/setup.sh {kind}` makes it"


def installed(kind: str, folder: Path, params: Params, data: Path) -> Path:
    """The folder that an installed package is in, exported from `data`.

    Raises:
        SynthAgentError: its environment is missing, or pip fails.
    """
    if why := missing(kind):
        raise SynthAgentError(why)
    source, target = folder / f"for-{kind}", folder / f"installed-{kind}"
    export_package(kind, source, params, data)
    pip = [str(python_of(kind)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command = [*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SynthAgentError(f"{source}: pip cannot install it: {done.stderr[-500:]}")
    return target


def told_by(kind: str, place: Path, episodes: Sequence[Acted], *options: str) -> list[dict[str, Any]]:
    """What the package's client is told of each episode.

    Raises:
        SynthAgentError: the worker fails.
    """
    file = place.parent / f"episodes-{kind}.jsonl"
    file.write_text("".join(f"{json.dumps(episode.as_json)}\n" for episode in episodes), encoding="utf-8")
    command = [str(python_of(kind)), "-m", f"benchmarks.peers.{kind}_worlds", str(file.resolve()), *options]
    env = os.environ | {"PYTHONPATH": str(place.resolve())}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SynthAgentError(f"{kind}: {done.stderr[-2_000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
