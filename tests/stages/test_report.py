"""The report tells the figures of the datasets on one page that loads nothing, and trusts no text in them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.projects import default_params
from helpers.run import CURVE, build_dataset

from synthagent.episodes.scripted import SCRIPTS
from synthagent.errors import StoreError
from synthagent.problems import KnownProblem
from synthagent.records import Evaluation, Persona, Reward, Rubric, Task, Trajectory
from synthagent.showing import pictures
from synthagent.showing.page import choose_episodes
from synthagent.showing.statistics import summarise
from synthagent.stage import Paths
from synthagent.stages import report
from synthagent.store import read_records, write_records, write_text
from synthagent.teacher.decontaminate import Decontamination


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    build_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def html(dataset: Path) -> str:
    """The page of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(dataset)
        return written()


@pytest.fixture
def run(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, which is also the working directory."""
    shutil.copytree(dataset, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    return tmp_path / "run"


def written() -> str:
    said = report.run(default_params())
    assert said.metrics == {"kilobytes": round(Paths.report.stat().st_size / 1000)}
    return Paths.report.read_text(encoding="utf-8")


def test_the_variety_of_tasks_stands_beside_that_of_the_plain_teacher(run: Path) -> None:
    metrics = {"distinct_tools": 2345, "trigram_share": 0.71, "embedding_spread": None}
    write_text(Paths.metrics("tasks"), json.dumps(metrics))
    page = written()
    assert "<th>these tasks</th><td>2,345</td><td></td><td></td><td>0.71</td>" in page
    assert "the plain teacher" not in page
    write_text(Paths.details("tasks"), json.dumps({"variety": {"plain": {"trigram_share": 0.33}}}))
    assert "<th>the plain teacher, 2,000 proposals</th><td></td><td></td><td></td><td>0.33</td>" in written()


def test_the_page_says_what_the_tasks_were_compared_with_and_how_many_were_hit(run: Path) -> None:
    assert "Not looked for" in written()
    compared = Decontamination(
        [KnownProblem(id="1", source="theirs.txt", category="hard", instructions=("Sell my <old> car",))]
    )
    compared.hits(list(read_records(Paths.tasks, Task)))
    write_text(Paths.details("tasks"), json.dumps({"decontamination": compared.details()}))
    page = " ".join(written().split())
    assert (
        f"{compared.tasks} tasks were compared with 1 problems: 1 texts, 0 tools, 0 answers. theirs.txt: hard 1."
        in page
    )
    assert "<dt>tasks hit, and rejected</dt><dd>0</dd>" in page
    write_text(Paths.details("tasks"), "[")
    with pytest.raises(StoreError, match=r"details/tasks\.json: not readable JSON .*; run `dvc checkout`"):
        written()


class Tags(HTMLParser):
    """Collects elements, their attributes and the text between them; checks that each is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_the_page_is_whole_and_loads_nothing(html: str, dataset: Path) -> None:
    page = Tags(html)
    names = {name for name, _ in page.elements}
    assert {"html", "title", "section", "svg", "table", "article"} <= names
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "image", "base", "form"})
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action")]
        assert (attributes.get("href") or "#").startswith("#") or attributes["href"] == Paths.browser.name
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    assert str(dataset) not in html


def test_links_and_references_lead_to_something_and_ids_are_unique(html: str) -> None:
    ids = [attributes["id"] for _, attributes in Tags(html).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html))
    assert wanted
    assert {name for pair in wanted for name in pair if name} <= set(ids)


def test_the_same_run_gives_the_same_bytes(html: str, run: Path) -> None:
    assert written() == html


def test_the_page_shows_the_figures_of_the_datasets(html: str, run: Path) -> None:
    text = Tags(html).text
    accepted, judged = list(read_records(Paths.tasks, Task)), list(read_records(Paths.rubrics, Rubric))
    people = len(list(read_records(Paths.personas, Persona)))
    proposed = default_params().model_copy().tasks.model_copy(update={"count": 150}).count
    for name, count in (
        ("Personas", people),
        ("Proposed", proposed),
        ("With a rubric", len(judged)),
        ("Rolled out", 30),
    ):
        assert f"{name} {count:,}" in text
    assert f"Accepted {len(accepted):,}" in text
    assert f"{len({tool.name for task in accepted for tool in task.tools}):,} distinct tool names" in text
    assert "90 episodes judged, 0 without a score" in text
    summary = summarise(list(read_records(Paths.evaluation, Evaluation)), default_params().seed)
    assert {d.split for d in summary.differences} == {"heldout", "unseen_domain"}
    figures = {
        (cell.policy, cell.split): cell for cell in summary.cells if cell.decoding == "sampled" and not cell.difficulty
    }
    for difference in summary.differences:
        before, after = (figures[policy, difference.split].measures for policy in ("sft", "grpo"))
        for title, measure in (
            ("Pair rate", "pair_rate"),
            ("Perfect where done", "perfect_done"),
            ("Reward", "reward"),
        ):
            change, means = difference.measures[measure], (before[measure].mean, after[measure].mean)
            said = f"{title} {change.mean:+.3f} {means[0]:.3f} → {means[1]:.3f} {change.low:+.3f} to {change.high:+.3f}"
            assert said.replace("-", "\u2212") in text
        assert f"Pair reward {before['pair_reward'].mean:.3f} → {after['pair_reward'].mean:.3f}" in text
    for cell in summary.cells:
        if cell.decoding != "greedy" and not cell.difficulty:
            rate, done = cell.measures["pair_rate"], cell.measures["perfect_done"].mean
            between = f"{rate.low:.2f} to {rate.high:.2f}"
            assert f"{cell.policy} {cell.n} {rate.mean:.3f} {between} {done:.3f}" in text
    for name, script in SCRIPTS.items():
        assert f"{name} {script.__doc__}" in text
    for curve in pictures.CURVES:
        assert curve.title in text


def test_the_papers_datasets_are_not_measured_unless_a_suite_was(html: str, run: Path) -> None:
    assert Tags(html).text.count("not measured") == 14
    rows = list(read_records(Paths.evaluation, Evaluation))
    unknown = {"split": None, "difficulty": None, "twin_of": None, "outcome": None}
    of_suite = {**unknown, "benchmark": "bfcl", "category": "multi_turn_base", "version": "1"}
    others = [
        rows[0].model_copy(
            update={**of_suite, "policy": "grpo", "decoding": "greedy", "task_id": f"b{n}", "reward": 0.5}
        )
        for n in range(20)
    ]
    by_policy = sorted([*rows, *others], key=lambda row: (row.policy, row.decoding))
    write_records(Paths.evaluation, Evaluation, by_policy)
    text = Tags(written()).text
    assert text.count("not measured") == 13
    said = "BFCL-V4 multi-turn base 200 40.0 50.5 56.5 57.0 grpo greedy 50.0 [50.0, 50.0], 20 of 200"
    assert said in text


def test_the_page_leads_with_pair_rate_and_perfect_where_done_and_draws_them(html: str) -> None:
    result, evaluation = (html[html.index(f'<section id="{name}">') :] for name in ("result", "evaluation"))
    titles = re.findall(r"<h4>(.*?)</h4>", result)
    assert titles == ["Pair rate", "Perfect where done", "Reward"] * 2
    for split in ("heldout", "unseen_domain"):
        for measure in ("Pair rate", "Perfect where done", "Reward"):
            assert f"{measure} on {split}, with 95% intervals" in evaluation


def test_without_twins_the_page_leads_with_the_reward_and_draws_nothing_else(run: Path) -> None:
    unknown = dict.fromkeys(("twin_of", "outcome", "extra_questions", "extra_calls"))
    rows = [row.model_copy(update=unknown) for row in read_records(Paths.evaluation, Evaluation)]
    write_records(Paths.evaluation, Evaluation, rows)
    html = written()
    assert re.findall(r"<h4>(.*?)</h4>", html) == ["Reward"] * 2
    assert "Reward on heldout, with 95% intervals" in html
    assert "Pair rate on heldout" not in html


def test_a_perfect_and_a_violating_episode_can_be_read_with_their_verdicts(html: str, run: Path) -> None:
    chosen = choose_episodes(read_records(Paths.rollouts, Trajectory), read_records(Paths.rewards, Reward))
    kinds = {title: reward for title, _, reward in chosen}
    assert kinds["Perfect"].reward == 1
    assert kinds["Violating"].gate == 0
    text = Tags(html).text
    for _, trajectory, reward in chosen:
        assert trajectory.id in text
        assert all(" ".join(str(message["content"]).split()) in text for message in trajectory.messages)
        assert all(" ".join(verdict.evidence.split()) in text for verdict in reward.verdicts)
    assert "✓" in html
    assert "✗" in html


EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>{{ 7 * 7 }}$x$&amp;\u202e\ud800\x00'


@pytest.mark.filterwarnings("error")
def test_whatever_a_teacher_or_a_policy_writes_stays_text(run: Path) -> None:
    def soiled(task: Task) -> Task:
        tools = [tool.model_copy(update={"name": EVIL}) for tool in task.tools]
        return task.model_copy(update={"domain": EVIL.replace("\ud800", ""), "tools": tuple(tools)})

    def soiled_messages(trajectory: Trajectory) -> Trajectory:
        call = {"id": EVIL, "function": {"name": EVIL, "arguments": EVIL}}
        messages = ({"role": "user", "content": EVIL}, {"role": EVIL, "content": None, "tool_calls": [call]})
        return trajectory.model_copy(update={"messages": messages})

    write_records(Paths.tasks, Task, [soiled(task) for task in read_records(Paths.tasks, Task)])
    write_records(Paths.rollouts, Trajectory, [soiled_messages(t) for t in read_records(Paths.rollouts, Trajectory)])
    html = written()
    page = Tags(html)
    assert {"script", "img"}.isdisjoint(name for name, _ in page.elements)
    assert '<script>alert("x")</script><img src=x onerror=alert(1)>{{ 7 * 7 }}$x$&amp;' in page.text
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x00" not in html
    assert r"\u202e\ud800\x00" in html


def test_a_run_that_yielded_nothing_has_a_page_too(run: Path) -> None:
    for path, record in ((Paths.rollouts, Trajectory), (Paths.rewards, Reward), (Paths.evaluation, Evaluation)):
        write_records(path, record, [])
    write_text(Paths.plots / "grpo.csv", CURVE[0] + "\n")
    text = Tags(written()).text
    for sentence in ("No step of GRPO was taken.", "No episode has a score.", "no pair of SFT and GRPO to compare"):
        assert sentence in text


@pytest.mark.parametrize(
    "content", [None, "step,reward\n1,x\n", "step,reward\n1,0.5\n", "step,reward\n1\n", "\x00\xff\n1"]
)
def test_a_curve_that_cannot_be_read_is_named(run: Path, content: str | None) -> None:
    path = Paths.plots / "grpo.csv"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(StoreError, match=r"grpo\.csv: .*dvc repro"):
        written()


def test_the_picture_for_the_documentation_is_a_document_of_its_own(run: Path) -> None:
    pictures.main(Path("docs/learning_curve.svg"))
    drawn = Path("docs/learning_curve.svg").read_bytes()
    assert drawn.startswith(b"<?xml")
    assert b"var(--" not in drawn
    pictures.main(Path("docs/learning_curve.svg"))
    assert Path("docs/learning_curve.svg").read_bytes() == drawn


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_shows_the_page_without_complaint(html: str, dataset: Path, tmp_path: Path) -> None:
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=3000"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom"]
    command = ["chromium", *flags, (dataset / Paths.report).as_uri()]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Evaluation" in html
    assert "Evaluation" in finished.stdout
    assert "CONSOLE" not in finished.stderr
