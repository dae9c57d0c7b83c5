"""The pictures of the documentation: pages of a run, drawn by headless Chromium -> `docs/img/*.png`.

One function a picture; `PICTURES` names them. They are of what is in `data/`, so run the pipeline first; those of
Prefect are of the last run at `PREFECT_API_URL` (`make ui`). Each is kept under 200 kB by fewer colours.

Launch: `python -m benchmarks.pictures [NAME ..]` (all of them if none is named).
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.chromium import chromium
from synthagent.differing import changed_params, decides
from synthagent.errors import SynthAgentError
from synthagent.params_file import load_params
from synthagent.showing.joined import join
from synthagent.stage import Paths, say

FOLDER = Path("docs/img")
NOTEBOOK = Path("notebooks/4_training.ipynb")
_LARGEST = 200_000  # bytes of a picture


def opened(browser: Any, address: str, width: int = 1400, height: int = 860, scheme: str = "light") -> Any:
    """A page of a browser, of this size and colour scheme."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(address)
    return page


def browser_filtered(browser: Any) -> bytes:
    """The browser of episodes: those by grpo that broke a constraint, one of them open, its evidence lit."""
    page = opened(browser, _episodes("#policy=grpo&failed=constraint"))
    page.wait_for_selector("#side h2")
    page.locator(".item").nth(1).click()
    page.locator(".verdict:has(.bad)").first.click()
    return _shot(page)


def browser_side_by_side(browser: Any) -> bytes:
    """The same tasks by sft and by grpo, the greatest gain first."""
    page = opened(browser, _episodes("#a=sft&b=grpo&split=heldout"), scheme="dark")
    page.wait_for_selector(".columns.two")
    return _shot(page)


def report_card(browser: Any) -> bytes:
    """The report card, with what differs from run to run."""
    params = load_params()
    page = join([change for change in changed_params(params) if not decides(change)]).resolve().as_uri()
    return _shot(opened(browser, page, width=1100, height=1500))


def prefect_run(browser: Any) -> bytes:
    """The last run that ended well in Prefect's dashboard, with its artifacts."""
    page = opened(browser, f"{_dashboard()}/v2/runs/flow-run/{_last_run()}?tab=Artifacts", height=900)
    page.wait_for_selector("text=progress-report")
    page.wait_for_timeout(2000)  # the timeline is drawn last
    return _shot(page)


def prefect_summary(browser: Any) -> bytes:
    """The summary of that run."""
    of_run = {"artifacts": {"flow_run_id": {"any_": [_last_run()]}, "key": {"any_": ["summary"]}}}
    page = opened(
        browser, f"{_dashboard()}/v2/artifacts/artifact/{_asked('artifacts/filter', of_run)['id']}", height=2700
    )
    page.wait_for_selector("img[alt='learning curve']")
    return _shot(page)


def notebook(browser: Any) -> bytes:
    """The notebook of training, run on `data/`."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    content = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(content, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    page = browser.new_page(viewport={"width": 1000, "height": 1300})
    page.route("**/*", lambda asked: asked.abort())  # of scripts for formulas, which it has none of
    page.set_content(HTMLExporter().from_notebook_node(content)[0])
    return _shot(page)


PICTURES: Mapping[str, Callable[[Any], bytes]] = {
    "browser": browser_filtered,
    "browser-side-by-side": browser_side_by_side,
    "report-card": report_card,
    "prefect-run": prefect_run,
    "prefect-summary": prefect_summary,
    "notebook": notebook,
}


def _episodes(state: str) -> str:
    if not Paths.browser.exists():
        raise SynthAgentError(f"{Paths.browser}: no such file; run `dvc repro report`")
    return Paths.browser.resolve().as_uri() + state


def _dashboard() -> str:
    return os.environ.get("PREFECT_API_URL", "http://127.0.0.1:4200/api").removesuffix("/api")


def _last_run() -> str:
    ended = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}, "flows": {"name": {"any_": ["pipeline"]}}}
    return str(_asked("flow_runs/filter", {"sort": "START_TIME_DESC", **ended})["id"])


def _asked(path: str, body: Mapping[str, Any]) -> Any:
    """The first of what Prefect's server finds."""
    asked = Request(f"{_dashboard()}/api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(asked, timeout=30) as answer:
            found = json.load(answer)
    except OSError as error:
        raise SynthAgentError(f"{_dashboard()}: no Prefect server ({error}); `make ui` starts one") from None
    if not found:
        raise SynthAgentError(f"{_dashboard()}: no run of the pipeline has ended well; start one there")
    return found[0]


def _shot(page: Any) -> bytes:
    page.wait_for_timeout(300)  # what is scrolled to comes to rest
    drawn: bytes = page.screenshot()
    page.close()
    return drawn


def small(drawn: bytes) -> bytes:
    """A PNG with as many colours as it may have."""
    from PIL import Image

    for colours in (256, 64, 16):
        out = io.BytesIO()
        Image.open(io.BytesIO(drawn)).convert("RGB").quantize(colours).save(out, "PNG", optimize=True)
        if out.tell() <= _LARGEST:
            break
    return out.getvalue()


def main(names: list[str]) -> None:
    if strange := [name for name in names if name not in PICTURES]:
        raise SynthAgentError(f"{strange[0]}: no such picture; there are {', '.join(PICTURES)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name in names or PICTURES:
            path = FOLDER / f"{name}.png"
            path.write_bytes(small(PICTURES[name](browser)))
            say(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SynthAgentError as error:
        sys.exit(str(error))
