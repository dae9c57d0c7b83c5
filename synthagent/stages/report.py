"""Stage `report`: all datasets of a run -> `data/report/index.html`, one page that loads nothing.

Beside it `data/report/episodes.html`, the browser of all episodes (`synthagent view` shows the same). It also prints
the paper's table: its 14 datasets, and which of them were measured.

Launch: `synthagent report` or `dvc repro report`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthagent.params import Params
from synthagent.records import Evaluation, Persona, Rejected, Reward, Rubric, Task, Trajectory
from synthagent.showing.browser import browser_of, read_run
from synthagent.showing.page import Inputs, page_of, render
from synthagent.showing.paper import printed
from synthagent.showing.pictures import read_steps
from synthagent.stage import Figures, Paths, say
from synthagent.store import read_details, read_keys, read_records, write_text


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    details = read_details(Paths.details("tasks"))
    inputs = Inputs(
        personas=len(read_keys(Paths.personas, Persona)),
        tasks=read_records(Paths.tasks, Task),
        rejected=list(read_records(Paths.rejected, Rejected)),
        compared=details.get("decontamination"),
        variety={"these tasks": read_details(Paths.metrics("tasks")), **_plain(details)},
        rubrics=read_records(Paths.rubrics, Rubric),
        rollouts=list(read_records(Paths.rollouts, Trajectory)),
        rewards=list(read_records(Paths.rewards, Reward)),
        steps=read_steps(Paths.plots / "grpo.csv"),
        evaluation=list(read_records(Paths.evaluation, Evaluation)),
    )
    page = page_of(inputs, params.seed)
    html = render(page)
    write_text(Paths.report, html)
    browser = browser_of([read_run()])
    write_text(Paths.browser, browser.html)
    for line in printed(page.paper):
        say(line)
    kilobytes = round(len(html.encode()) / 1000)
    say(f"{Paths.report}: {kilobytes} kB, for any browser")
    say(f"{Paths.browser}: {browser.episodes:,} episodes, {browser.megabytes:.1f} MB")
    return Figures({"kilobytes": kilobytes})


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """What the stage `tasks` says of the plain teacher, where the tasks are not its own."""
    plain = details.get("variety", {}).get("plain")
    return {"the plain teacher, 2,000 proposals": plain} if plain else {}
