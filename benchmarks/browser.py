"""The browser of episodes on 10,000 of them: the size of the page, the time to open it, to filter, to search, to step.

Scripted policies act on freshly made tasks; the page is opened in headless Chromium. Times are of the wall clock, the
median of several; they run from the input to the list, and the episode, being in the page and laid out.

Launch: `python -m benchmarks.browser [EPISODES]` (10,000 takes about a minute on two cores).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.chromium import chromium
from synthagent.episodes.policy import ScriptedPolicy, Setting, Start
from synthagent.episodes.scripted import SCRIPTS
from synthagent.judging.scoring import score_all
from synthagent.llm.usage import Usage
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import EvaluatedEpisode, Evaluation, Rubric, Task
from synthagent.showing.browser import browser_of, read_run
from synthagent.stage import Paths
from synthagent.stages import personas, rubrics, tasks
from synthagent.stages.evaluate import Acted, evaluation_of, expert_path, kept
from synthagent.store import read_records, write_records

_REPEATS = 7
_DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def make_run(params: Params, count: int) -> None:
    """Write datasets with so many evaluated episodes into the working directory."""
    wanted = -(-count // len(SCRIPTS))
    sized = params.model_copy(update={"tasks": params.tasks.model_copy(update={"count": 2 * wanted + 40})})
    for stage in (personas, tasks, rubrics):
        stage.run(sized)
    judged = {rubric.task_id: rubric for rubric in read_records(Paths.rubrics, Rubric)}
    chosen = {task.id: task for task in islice((t for t in read_records(Paths.tasks, Task) if t.id in judged), wanted)}
    paths = {name: expert_path(task) for name, task in chosen.items()}
    starts = [Start(task) for task in chosen.values()]
    policies = (ScriptedPolicy(name, script, Setting()) for name, script in SCRIPTS.items())
    acted = [each for policy in policies for each in policy.run(starts)][:count]
    episodes, rows = list[EvaluatedEpisode](), list[Evaluation]()
    for trajectory, scored in zip(
        acted, score_all(acted, chosen, judged, params, "browser", Usage(params.llm.prices)), strict=True
    ):
        one = Acted(trajectory, "scripted")
        row = evaluation_of(one, chosen[trajectory.task_id], scored.reward, paths[trajectory.task_id])
        rows += [row] if row else []
        episodes.append(kept(one, scored.reward))
    write_records(Paths.episodes, EvaluatedEpisode, sorted(episodes, key=lambda episode: episode.id))
    write_records(Paths.evaluation, Evaluation, sorted(rows, key=lambda row: row.policy))


def measured(file: Path, browser: Any) -> Iterator[str]:
    """Lines of a table: what a reader waits for."""
    opened = [_milliseconds(lambda: _opened(file, browser).close()) for _ in range(_REPEATS)]
    yield _line("open, until the first episode can be read", opened)
    page = _opened(file, browser)

    def acted(*scripts: str, times: int = _REPEATS) -> list[float]:
        """What the page does, until it is drawn."""
        calls = [f"async () => {{ await {script}; await {_DRAWN}; }}" for script in scripts]
        return [_milliseconds(partial(page.evaluate, call)) for _ in range(times) for call in calls]

    yield _line("filter by policy", acted('go({policy: "timid"})', 'go({policy: "expert"})'))
    acted('go({policy: "", sort: "reward"})', times=1)
    yield _line("filter by failed criterion", acted('go({failed: "constraint"})', 'go({failed: "s3"})'))
    acted('go({failed: ""})', times=1)
    yield _line("compare two policies", acted('go({a: "timid", b: "expert"})', 'go({a: "doer"})'))
    acted('go({a: "", b: "", sort: ""})', times=1)
    yield _line("search, the first time (all messages are read)", acted('go({q: "confirm"})', times=1))
    yield _line("search again", acted('go({q: "refused"})', 'go({q: "kept"})'))
    acted('go({q: ""})', times=1)
    yield _line("next episode", acted("step(1)"))
    acted("(byId('list').scrollTop = 1e6)", times=1)
    elements = page.evaluate("document.querySelectorAll('*').length")
    yield f"| elements in the page, at the end of the list | {elements:,} | |"
    page.close()


def _opened(file: Path, browser: Any) -> Any:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(file.as_uri())
    page.wait_for_selector("#side h2")
    page.evaluate(_DRAWN)
    return page


def _milliseconds(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1000


def _line(name: str, times: list[float]) -> str:
    return f"| {name} | {statistics.median(times):,.0f} ms | {min(times):,.0f} to {max(times):,.0f} |"


def main(count: int) -> None:
    params = load_params()
    with tempfile.TemporaryDirectory() as folder:
        with chdir(folder):
            make_run(params, count)
            start = time.perf_counter()
            made = browser_of([read_run()])
            seconds = time.perf_counter() - start
        file = Path(folder) / "episodes.html"
        file.write_text(made.html, encoding="utf-8")
        print(f"\n{made.episodes:,} episodes: {made.megabytes:.2f} MB, made in {seconds:.1f} s\n")
        print("| what | median | range |\n|---|---|---|")
        with chromium() as browser:
            for line in measured(file, browser):
                print(line, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
