"""The notebook runs from top to bottom on a run's data, leaves them as they are, and is stored without outputs."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from helpers.projects import ROOT, files_under
from helpers.run import build_dataset
from nbclient import NotebookClient

NOTEBOOK = ROOT / "notebooks" / "inspect.ipynb"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has nothing but the notebook and the data of a run."""
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("project")
    build_dataset(built)
    shutil.copytree(built / "data", folder / "data")
    (folder / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, folder / "notebooks")
    return folder


def test_it_is_stored_without_outputs_for_any_python_3_kernel() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert cell.cell_type in ("markdown", "code")
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.parametrize("place", [".", "notebooks"])
def test_it_runs_and_draws_from_either_folder_and_writes_nothing(
    project: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    before = files_under(project)
    notebook = nbformat.read(project / "notebooks" / NOTEBOOK.name, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(project / place)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output for output in outputs if output.get("name") == "stderr"]
    drawn = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(drawn) == sum("pictures." in cell.source.splitlines()[-1] for cell in notebook.cells if cell.source)
    assert len(drawn) > 5
    printed = "".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)
    assert "Verdicts" in printed
    assert "distinct tool names" in printed
    assert files_under(project) == before
