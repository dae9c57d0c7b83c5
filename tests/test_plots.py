"""`dvc plots show` writes a page that draws without a network: the plots of `dvc.yaml`, a training's live table."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from helpers.projects import ROOT
from helpers.run import build_dataset

from synthagent.student.watch import LIVE, LiveTable

PLOTS = [name for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] for name in plot]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with its plots, under DVC as the project is."""
    folder = tmp_path_factory.mktemp("plots")
    build_dataset(folder)
    dvc(folder, "init", "-q", "--no-scm")
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    for name in (".dvc/config", ".dvcignore", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def dvc(folder: Path, *args: str) -> str:
    command = [sys.executable, "-m", "dvc", *args]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


def page_of(folder: Path, *args: str) -> Path:
    """The page of `dvc plots show`, which has no complaint."""
    page = folder / "dvc_plots" / "index.html"
    assert dvc(folder, "plots", "show", *args).split() == [page.as_uri()]
    return page


class Loaded(HTMLParser):
    """What the elements of a page ask for, and what it is allowed to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.asked: list[str | None] = []
        self.allowed: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asked += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.allowed += [value for name, value in attrs if name == "content"]


def test_every_plot_of_dvc_yaml_is_on_the_page_and_nothing_is_loaded(run: Path) -> None:
    html = page_of(run).read_text(encoding="utf-8")
    for name in PLOTS:
        assert f'"text": "{name}"' in html
    assert len(re.findall(r"vegaEmbed\('#", html)) == len(PLOTS)
    page = Loaded(html)
    assert page.asked == []
    (allowed,) = page.allowed
    assert (allowed or "").startswith("default-src 'none';")
    assert "http" not in (allowed or "")


needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")


def drawn(page: Path, profile: Path) -> list[str]:
    """The plots after the scripts have run, in a browser that reaches no network; nothing was complained of."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=8000"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", "--enable-logging=stderr"]
    command = ["chromium", *flags, "--dump-dom", page.as_uri()]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in finished.stderr, finished.stderr
    return re.split(r'<svg [^>]*class="marks"', finished.stdout)[1:]


@needs_chromium
def test_a_browser_without_a_network_draws_every_plot_and_none_is_empty(run: Path, tmp_path: Path) -> None:
    plots = drawn(page_of(run), tmp_path)
    assert len(plots) == len(PLOTS)
    for name, plot in zip(PLOTS, plots, strict=True):
        assert name in plot
        marks = re.findall(r'aria-roledescription="(bar|point)"', plot)
        assert len(marks) > 10, name


@needs_chromium
def test_the_live_table_of_a_training_can_be_drawn(run: Path, tmp_path: Path) -> None:
    table = LiveTable(run / LIVE / "grpo.csv", 0)
    for step in range(1, 6):
        table.timed({"step": step, "reward": step / 10}, 100)
    page = page_of(run, ".cache/live/grpo.csv", "-t", "steps", "-x", "step", "-y", "reward")
    (plot,) = drawn(page, tmp_path)
    assert plot.count('aria-roledescription="point"') == 5


@needs_chromium
def test_the_page_of_a_training_that_runs_loads_itself_anew(run: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    table = LiveTable(run / LIVE / "grpo.csv", 0)
    command = (".cache/live/grpo.csv", "-t", "steps", "-x", "step", "-y", "reward")
    points = "[aria-roledescription=point]"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        for steps in (1, 2):
            table.timed({"step": steps, "reward": 0.5}, 100)
            written = page_of(run, *command)
            if steps == 1:
                page.goto(f"{written.as_uri()}#live")
            page.wait_for_function(f"document.querySelectorAll('{points}').length === {steps}", timeout=120_000)
        browser.close()


def test_the_page_is_what_the_bundled_libraries_make(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed; only who updates the page needs it")
    from synthagent.ops.plots_page import page

    assert page() == (ROOT / ".dvc" / "plots" / "page.html").read_text(encoding="utf-8")
