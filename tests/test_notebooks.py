"""The notebooks: each runs from top to bottom on a run's data and leaves them as they are; stored without outputs."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pyarrow.parquet as pq
import pytest
from helpers.projects import ROOT, files_under
from helpers.run import build_dataset
from nbclient import NotebookClient

from synthagent.errors import InputError, StoreError
from synthagent.reading import DATASETS, load_run
from synthagent.records import Evaluation, MappingEntry
from synthagent.stage import Paths
from synthagent.store import read_records, write_records

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def shell(folder: Path, *command: str) -> None:
    env = os.environ | {"DVC_NO_ANALYTICS": "1"}
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)


def add(folder: Path) -> None:
    """Have DVC track each file of data/ by itself, as the pipeline does."""
    files = [path for path in sorted((folder / "data").rglob("*")) if path.suffix in (".parquet", ".csv")]
    shell(folder, "dvc", "add", "-q", *(str(path.relative_to(folder)) for path in files))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has nothing but the notebooks, the data of a run, and two revisions of them."""
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("project")
    build_dataset(built)
    shutil.copytree(built / "data", folder / "data", ignore=shutil.ignore_patterns("details", "metrics", "timings"))
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    commit = ("git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qam")
    write_records(folder / Paths.mappings, MappingEntry, [])
    shell(folder, "git", "init", "-q")
    shell(folder, "dvc", "init", "-q")
    add(folder)
    shell(folder, "git", "add", "-A")
    shell(folder, *commit, "a run")
    rows = list(read_records(folder / Paths.evaluation, Evaluation))
    worse = [row.model_copy(update={"reward": 0.0}) if row.policy == "grpo" else row for row in rows]
    write_records(folder / Paths.evaluation, Evaluation, worse)
    add(folder)
    shell(folder, *commit, "grpo earns nothing")
    return folder


def executed(notebook: Path, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The notebook after all its cells have run, those with an error included."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    content = nbformat.read(notebook, as_version=4)
    NotebookClient(content, timeout=120, allow_errors=True, resources={"metadata": {"path": str(place)}}).execute()
    return content


def outputs_of(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(notebook: Any) -> str:
    return "".join(o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in outputs_of(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs_for_any_python_3_kernel_and_ends_with_the_readers_question(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert cell.cell_type in ("markdown", "code")
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
    assert [cell.cell_type for cell in notebook.cells[-2:]] == ["markdown", "code"]
    assert notebook.cells[-2].source.startswith("## Your own question\n")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_draws_and_writes_nothing(
    path: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: text for name, text in files_under(project).items() if ".dvc" not in name.parts}
    notebook = executed(project / "notebooks" / path.name, project / "notebooks", monkeypatch, tmp_path)
    outputs = outputs_of(notebook)
    assert [output.traceback for output in outputs if output.output_type == "error"] == []
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    drawn = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(drawn) == sum("pictures." in cell.source.splitlines()[-1] for cell in notebook.cells if cell.source)
    assert outputs[-1] in notebook.cells[-1].outputs
    assert {name: text for name, text in files_under(project).items() if ".dvc" not in name.parts} == before


def test_the_notebook_of_episodes_compares_with_what_was_committed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = (path for path in NOTEBOOKS if "episodes" in path.name)
    text = path.read_text(encoding="utf-8")
    assert '\\"HEAD\\"' in text
    older = tmp_path / path.name
    older.write_text(text.replace('\\"HEAD\\"', '\\"HEAD~1\\"'), encoding="utf-8")
    said = printed(executed(older, project / "notebooks", monkeypatch, tmp_path))
    changed = re.search(r"(\d+) of these earned something else", said)
    assert changed
    assert int(changed.group(1)) > 5


def test_data_of_an_older_format_get_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_dataset(tmp_path)
    tasks = tmp_path / DATASETS["tasks"].path
    pq.write_table(pq.read_table(tasks).replace_schema_metadata({"synthagent.format": "2"}), tasks)
    notebook = executed(NOTEBOOKS[0], tmp_path, monkeypatch, tmp_path / "ipython")
    (first, *_) = (output for output in outputs_of(notebook) if output.output_type == "error")
    assert len(first.traceback) == 1
    assert "has format 2, but this version of synthagent reads format" in first.traceback[0]
    assert "run `dvc repro`" in first.traceback[0]
    assert "\n" not in first.traceback[0]


def test_a_run_is_read_from_anywhere_in_the_project_and_its_rows_found_by_their_key(project: Path) -> None:
    run = load_run(root=project / "notebooks")
    for name, dataset in DATASETS.items():
        frame = getattr(run, name)
        assert len(frame) == len(run.records(name))
        assert [*([frame.index.name] if dataset.key else []), *frame.columns] == list(dataset.record.model_fields)
    key = run.tasks.index[0]
    assert run.record("tasks", key).instruction == run.tasks.loc[key, "instruction"]
    assert run.curve.index.name == "step"
    with pytest.raises(InputError, match=r"nothing: no such row in data/tasks\.parquet; "):
        run.record("tasks", "nothing")
    with pytest.raises(InputError, match="nothing: no dataset of this name; there are personas, tasks"):
        run.record("nothing", key)


def test_another_revision_has_the_data_that_it_had(project: Path) -> None:
    now, before = load_run(root=project), load_run("HEAD~1", project)
    assert now.evaluation.query("policy == 'grpo'")["reward"].sum() == 0
    assert before.evaluation.query("policy == 'grpo'")["reward"].sum() > 5
    assert before.tasks.equals(now.tasks)


@pytest.fixture
def broken(project: Path, tmp_path: Path) -> Path:
    """A copy of the project, to do anything with."""
    return Path(shutil.copytree(project, tmp_path / "copy", symlinks=True))


def test_what_a_revision_does_not_have_is_told_with_what_to_do(broken: Path) -> None:
    with pytest.raises(InputError, match=r"load_run: revision nowhere: .*; `git log` and `dvc exp show` list"):
        load_run("nowhere", broken)
    shell(broken, "git", "rm", "-q", "--cached", "data/tasks.parquet.dvc")
    shell(broken, "git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "no data")
    with pytest.raises(StoreError, match=r"data/tasks\.parquet of revision HEAD: not written there; choose a later"):
        _ = load_run("HEAD", broken).tasks
    shutil.rmtree(broken / ".dvc/cache")
    with pytest.raises(StoreError, match=r"data/tasks\.parquet of revision HEAD~1: not in DVC's cache here, .* `dvc f"):
        _ = load_run("HEAD~1", broken).tasks
    shutil.rmtree(broken / ".git")
    with pytest.raises(InputError, match=r"load_run: revision HEAD: .* not a git repository"):
        load_run("HEAD", broken)


def test_a_revision_of_an_older_format_is_told_with_what_to_do(broken: Path) -> None:
    tasks = broken / DATASETS["tasks"].path
    old = pq.read_table(tasks).replace_schema_metadata({"synthagent.format": "2"})
    tasks.unlink()
    pq.write_table(old, tasks)
    add(broken)
    shell(broken, "git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qam", "an old one")
    told = (
        r"^data/tasks\.parquet of revision HEAD: has format 2, but .*; choose a later revision, or `git worktree add "
    )
    with pytest.raises(StoreError, match=told):
        _ = load_run("HEAD", broken).tasks


def test_half_a_run_can_be_read_and_what_is_missing_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data/ and no dvc\.yaml, here or above"):
        load_run(root=tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(StoreError, match=r"data/tasks\.parquet: no such file; run the stage that writes it"):
        _ = load_run(root=tmp_path).tasks


@pytest.fixture
def jupyter(project: Path, tmp_path: Path) -> Iterator[str]:
    """JupyterLab, started as `make notebook` does, but without a browser: its address."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed: pip install 'synthagent[notebook]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--ServerApp.root_dir={project}", f"--port={port}", "--no-browser", "--IdentityProvider.token=t"]
    command = [sys.executable, "-m", "jupyterlab", *options, "--allow-root", "notebooks/1_tasks_and_tools.ipynb"]
    folders = {"JUPYTER_CONFIG_DIR": "c", "JUPYTER_DATA_DIR": "d", "JUPYTER_RUNTIME_DIR": "r", "IPYTHONDIR": "i"}
    env = os.environ | {name: str(tmp_path / folder) for name, folder in folders.items()}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=project, env=env, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(1_200):
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                asked(url, "/api")
                break
            except OSError:
                time.sleep(0.25)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def asked(url: str, path: str) -> Any:
    request = urllib.request.Request(url + path, headers={"Authorization": "token t"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer) if path.startswith("/api") else answer.read().decode()


def test_make_notebook_opens_jupyterlab_on_the_notebooks(jupyter: str) -> None:
    target = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nnotebook: ")[2].partition("\n\n")[0]
    assert f'\tjupyter lab --ServerApp.root_dir="$(CURDIR)" notebooks/{NOTEBOOKS[0].name}' in target
    listed = {entry["name"] for entry in asked(jupyter, "/api/contents/notebooks")["content"]}
    assert {path.name for path in NOTEBOOKS} == {name for name in listed if name.endswith(".ipynb")}
    assert asked(jupyter, f"/api/contents/notebooks/{NOTEBOOKS[0].name}")["type"] == "notebook"
    assert "JupyterLab" in asked(jupyter, "/lab")
