"""What is measured and drawn of pages, in miniature, in headless Chromium."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from helpers.projects import ROOT, write_params
from helpers.run import build_dataset

from benchmarks import browser, pictures
from benchmarks.chromium import NAMES
from synthagent.errors import SynthAgentError
from synthagent.params_file import load_params
from synthagent.stages import report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not any(map(shutil.which, NAMES)), reason="chromium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]


def test_the_browser_of_episodes_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    browser.main(66)
    told = capsys.readouterr().out
    assert "66 episodes:" in told
    for what in ("open", "filter by policy", "compare two policies", "search again", "next episode"):
        assert f"| {what}" in told


def test_pictures_are_drawn_of_a_run_and_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_dataset(tmp_path)
    monkeypatch.chdir(tmp_path)
    names = ["browser", "browser-side-by-side"]
    with pytest.raises(SynthAgentError, match="run `dvc repro report`"):
        pictures.main(names)
    with pytest.raises(SynthAgentError, match="no such picture; there are browser"):
        pictures.main(["bowser"])
    names.append("report-card")
    report.run(load_params())
    pictures.main(names)
    drawn = [(tmp_path / "docs" / "img" / f"{name}.png").read_bytes() for name in names]
    assert all(picture.startswith(b"\x89PNG") and 10_000 < len(picture) < 200_000 for picture in drawn)


def test_the_picture_of_a_notebook_shows_it_with_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbconvert", reason="nbconvert is not installed: pip install 'synthagent[notebook]'")
    build_dataset(tmp_path)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    pictures.main(["notebook"])
    drawn = (tmp_path / "docs/img/notebook.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert 10_000 < len(drawn) < 200_000
