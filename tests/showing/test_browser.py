"""The browser of episodes: what is in the page, and, in headless Chromium, what a reader sees who clicks through it."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.projects import assert_one_message, synthagent
from helpers.reasoning import problem
from helpers.run import build_dataset

from synthagent.errors import InputError
from synthagent.records import EvaluatedEpisode, Problem, Task
from synthagent.showing.browser import Browser, browser_of, read_run
from synthagent.showing.rows import WantedEpisodes, chosen, read_rows
from synthagent.showing.view import HOST, server_of
from synthagent.stage import Paths
from synthagent.store import read_records, write_records

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
EVIL = "</script><script>document.title='evil'</script><img src=x onerror=alert(1)>\x1b[2J\u202e\u200f {{ 7 }}"
LONG = "word " * 400_000  # 2 MB


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    build_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def evil(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, in which the first episode by grpo, and its task, say what nobody would want to have run."""
    folder = tmp_path_factory.mktemp("evil") / "run"
    shutil.copytree(run, folder)
    episodes = list(read_records(folder / Paths.episodes, EvaluatedEpisode))
    at = next(n for n, episode in enumerate(episodes) if episode.policy == "grpo")
    call = {"id": "c", "type": "function", "function": {"name": EVIL, "arguments": EVIL}}
    said = ({"role": EVIL, "content": EVIL}, {"role": "assistant", "content": LONG, "tool_calls": [call]})
    episodes[at] = episodes[at].model_copy(update={"messages": said, "error": EVIL})
    write_records(folder / Paths.episodes, EvaluatedEpisode, episodes)
    tasks = [
        task.model_copy(update={"instruction": EVIL, "domain": EVIL}) if task.id == episodes[at].task_id else task
        for task in read_records(folder / Paths.tasks, Task)
    ]
    write_records(folder / Paths.tasks, Task, tasks)
    return folder


def chunks_of(page: Browser) -> list[Any]:
    found = re.findall(r'class="chunk">([A-Za-z0-9+/=]+)</script>', page.html)
    return [json.loads(gzip.decompress(base64.b64decode(chunk))) for chunk in found]


def test_the_page_has_every_episode_with_all_its_messages_and_the_same_run_gives_the_same_bytes(run: Path) -> None:
    page = browser_of([read_run(run)])
    head, *chunks = chunks_of(page)
    assert page.episodes == len(head["rows"]) == len(read_rows(run))
    stored = {episode.id: episode for episode in read_records(run / Paths.episodes, EvaluatedEpisode)}
    compared = 0
    for row in head["rows"]:
        part = chunks[row["chunk"] - 1][row["place"]]
        episode = part["episodes"][row["index"]]
        assert part["task"]["id"] == row["task"]
        if row["id"] in stored:
            messages = [*(part["task"]["opening"] if episode["begun"] else ()), *episode["messages"]]
            assert messages == list(stored[row["id"]].messages)
            assert [v["criterion"] for v in episode["verdicts"]] == [v.criterion for v in stored[row["id"]].verdicts]
            compared += 1
    assert compared == len(stored)
    assert browser_of([read_run(run)]) == page


def test_equal_tasks_of_two_runs_are_one_and_others_are_not(run: Path, evil: Path) -> None:
    rows = chunks_of(browser_of([read_run(run), read_run(evil, "v1")]))[0]["rows"]
    numbers = [{row["task"]: row["same"] for row in rows if row["run"] == number} for number in (0, 1)]
    differing = [name for name, number in numbers[0].items() if numbers[1][name] != number]
    assert len(differing) == 1


def test_what_a_model_wrote_is_no_markup_and_the_policy_of_the_page_forbids_all_but_its_own_script(evil: Path) -> None:
    html = browser_of([read_run(evil)]).html
    assert "<img" not in html
    assert html.count("</script>") == html.count("<script")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert policy.group(1).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy.group(1)
    assert not re.search(r"(?:src|href)\s*=\s*[\"']", html)
    assert "http" not in re.sub(r'http-equiv|class="chunk">[^<]*', "", html)


def test_the_server_answers_this_machine_only_and_only_for_its_page(run: Path) -> None:
    page = browser_of([read_run(run)])
    with server_of(page, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        answers = {}
        for path, host in (("/", None), ("/", "evil.example:80"), ("/../params.yaml", None)):
            connection = http.client.HTTPConnection(HOST, server.server_port)
            connection.request("GET", path, headers={"Host": host} if host else {})
            answer = connection.getresponse()
            answers[path, host] = (answer.status, answer.read())
        with pytest.raises(InputError, match=r"--port \d+: is taken; choose another"):
            server_of(page, server.server_port)
        server.shutdown()
    assert answers["/", None] == (200, page.html.encode())
    assert [status for status, _ in answers.values()] == [200, 403, 404]


def test_the_command_writes_the_page_and_says_what_is_missing(run: Path, tmp_path: Path) -> None:
    finished = synthagent("view", "--out", str(tmp_path / "e.html"), cwd=run)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert f"{len(read_rows(run)):,} episodes" in finished.stdout
    assert (tmp_path / "e.html").read_text(encoding="utf-8") == browser_of([read_run(run)]).html
    (tmp_path / "empty").mkdir()
    assert_one_message(synthagent("view", cwd=tmp_path / "empty"), "data/episodes.parquet", "dvc repro evaluate")


def test_another_revision_stands_beside_this_one_and_what_it_lacks_is_told(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(run, folder)
    episodes = list(read_records(folder / Paths.episodes, EvaluatedEpisode))
    of_problem = {"id": f"{problem().id}.sft.0", "task_id": problem().id, "policy": "sft", "decoding": "sampled"}
    episodes = sorted([*episodes, episodes[0].model_copy(update=of_problem)], key=lambda episode: episode.id)
    write_records(folder / Paths.episodes, EvaluatedEpisode, episodes)
    write_records(folder / Paths.reasoning, Problem, [problem()])

    def done(*command: str) -> None:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    def commit(tag: str) -> None:
        done("git", "add", ".dvc", *(str(path) for path in Path(folder / "data").glob("*.dvc")))
        done("git", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", tag)
        done("git", "tag", tag)

    dvc = (sys.executable, "-m", "dvc")
    done("git", "init", "-q")
    done(*dvc, "init", "-q")
    commit("nothing")
    done(
        *dvc,
        "add",
        "-q",
        *(f"data/{name}.parquet" for name in ("tasks", "rubrics", "evaluation", "episodes", "reasoning")),
    )
    commit("v1")
    write_records(folder / Paths.episodes, EvaluatedEpisode, episodes[:50])
    finished = synthagent("view", "--rev", "v1", "--out", "two.html", cwd=folder)
    assert (finished.returncode, finished.stderr) == (0, "")
    head = chunks_of(Browser((folder / "two.html").read_text(encoding="utf-8"), 0))[0]
    assert head["runs"] == ["", "v1"]
    assert sum(row["run"] == 1 for row in head["rows"]) == len(episodes)
    assert [row["domain"] for row in head["rows"] if row["run"] == 1 and row["task"] == problem().id] == ["reasoning"]
    assert_one_message(synthagent("view", "--rev", "nope", cwd=folder), "--rev nope", "git log")
    lacking = synthagent("view", "--rev", "nothing", cwd=folder)
    assert_one_message(lacking, "--rev nothing: has no data/tasks.parquet; choose a revision")
    shutil.rmtree(folder / ".cache")
    shutil.rmtree(folder / ".dvc" / "cache")
    assert_one_message(synthagent("view", "--rev", "v1", cwd=folder), "data/tasks.parquet", "not in DVC's cache")


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Reader:
    """A reader of a page: what the browser complains of, and what it asks for, is on record."""

    def __init__(self, chromium: Any, file: Path, width: int = 1400, scheme: str = "light") -> None:
        self.page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.uri = file.as_uri()
        self.open("")

    def open(self, hash: str) -> None:
        self.page.goto("about:blank")
        self.page.goto(self.uri + hash)
        self.page.wait_for_selector("#side h2, #read p", state="attached")

    def says(self, selector: str, text: str) -> None:
        self.page.locator(selector, has_text=text).first.wait_for()

    def count(self, text: str) -> None:
        self.says("#count", text)

    def close(self) -> None:
        assert self.complaints == []
        assert {url.partition("#")[0] for url in self.requests} <= {self.uri, "about:blank"}
        self.page.close()


@pytest.fixture(scope="module")
def written(run: Path, evil: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "run.html").write_text(browser_of([read_run(run)]).html, encoding="utf-8")
    (folder / "evil.html").write_text(browser_of([read_run(evil)]).html, encoding="utf-8")
    (folder / "two.html").write_text(browser_of([read_run(run), read_run(evil, "v1")]).html, encoding="utf-8")
    return folder


@needs_chromium
def test_a_reader_filters_searches_and_steps_and_a_link_leads_back(chromium: Any, written: Path, run: Path) -> None:
    rows = read_rows(run)
    reader = Reader(chromium, written / "run.html")
    page = reader.page
    reader.count(f"{len(rows)} of {len(rows)}")
    page.select_option("#policy", "grpo")
    page.select_option("#decoding", "greedy")
    reader.count(f"{len(chosen(rows, WantedEpisodes(policy=('grpo',), decoding=('greedy',))))} of {len(rows)}")
    page.fill("#failed", "constraint")
    reader.count(f"{len(chosen(rows, WantedEpisodes(policy=('grpo',), decoding=('greedy',), failed='constraint')))} of")
    page.click("#reset")
    page.fill("#min", "0.01")
    page.fill("#max", "0.99")
    reader.count(f"{len(chosen(rows, WantedEpisodes(min_reward=0.01, max_reward=0.99)))} of {len(rows)}")
    page.click("#reset")
    target = next(e for e in read_records(run / Paths.episodes, EvaluatedEpisode) if e.policy == "expert")
    word = str(target.messages[1]["content"])
    page.fill("#q", word.upper())
    reader.says("mark.hit", word)
    page.locator(".item").first.click()
    first = page.inner_text("#permalink")
    page.click("#next")
    reader.page.wait_for_function("id => document.getElementById('permalink').textContent !== id", arg=first)
    page.click("#previous")
    reader.says("#permalink", first)
    link = page.get_attribute("#permalink", "href")
    reader.open(link)
    reader.says("#permalink", first)
    assert page.input_value("#q") == word.upper()
    reader.close()


@needs_chromium
def test_a_click_on_a_verdict_shows_its_evidence_in_its_turn(chromium: Any, written: Path, run: Path) -> None:
    episode = next(e for e in read_records(run / Paths.episodes, EvaluatedEpisode) if e.policy == "expert")
    verdict = next(verdict for verdict in episode.verdicts if verdict.evidence.startswith("event 0: user: "))
    reader = Reader(chromium, written / "run.html")
    reader.open(f"#e={episode.id}")
    reader.page.locator(".verdict", has_text=f"{verdict.criterion} interaction").click()
    reader.says(".talk.lit.user", verdict.evidence.removeprefix("event 0: user: "))
    assert reader.page.locator(".talk.lit").count() == 2
    task = next(task for task in read_records(run / Paths.tasks, Task) if task.id == episode.task_id)
    side = reader.page.inner_text("#side")
    assert all(part in side for part in (task.facts[0].phrase, task.constraints[0].text, verdict.evidence))
    reader.close()


@needs_chromium
def test_two_policies_stand_side_by_side_the_greatest_gain_first_and_so_do_two_revisions(
    chromium: Any, written: Path, run: Path
) -> None:
    reader = Reader(chromium, written / "run.html")
    page = reader.page
    page.select_option("#a", "sft")
    page.select_option("#b", "grpo")
    reader.count("tasks by both")
    gains = [float(text.replace("\u2212", "-")) for text in page.locator(".item .score").all_inner_texts()]
    assert gains == sorted(gains, reverse=True)
    assert [text.split()[0] for text in page.locator(".episode h2").all_inner_texts()] == ["sft", "grpo"]
    page.click("#desc")
    page.wait_for_function("() => location.hash.includes('desc')")
    turned = [float(text.replace("\u2212", "-")) for text in page.locator(".item .score").all_inner_texts()]
    assert turned == sorted(turned)
    reader.close()
    reader = Reader(chromium, written / "two.html")
    reader.page.select_option("#a", "grpo @ data")
    reader.page.select_option("#b", "grpo @ v1")
    tasks = {row.task for row in read_rows(run) if row.policy == "grpo"}
    reader.count(f"{len(tasks) - 1} tasks by both, mean change 0.000")  # one task is another one there
    reader.close()


@needs_chromium
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (420, "light"), (420, "dark")])
def test_at_any_width_nothing_runs_out_of_the_page_and_what_is_evil_is_only_text(
    chromium: Any, written: Path, evil: Path, width: int, scheme: str
) -> None:
    episode = next(e for e in read_records(evil / Paths.episodes, EvaluatedEpisode) if e.policy == "grpo")
    reader = Reader(chromium, written / "evil.html", width, scheme)
    page = reader.page
    reader.open(f"#policy=grpo&e={episode.id}")
    reader.says(".talk b", "</script><script>document.title='evil'")
    text = page.inner_text("#read")
    assert "\\x1b[2J\\u202e\\u200f" in text
    assert not {"\x1b", "\u202e", "\u200f"} & set(text + page.inner_text("#side"))
    assert (page.title(), page.locator("img").count()) == ("synthagent: episodes", 0)
    page.get_by_text("show all 2,000,000 characters").click()
    page.wait_for_function("() => document.getElementById('read').textContent.length > 2e6")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")
    if width == 420:
        assert not page.locator("#list").is_visible()
        page.click("#back")
        page.locator(".item").nth(1).click()
        reader.says("#permalink", "task-")
    reader.close()
