"""Headless Chromium for what is measured or drawn of pages: the one that the system has, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from synthagent.errors import SynthAgentError

NAMES = ("chromium", "google-chrome", "chromium-browser")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's.

    Raises:
        SynthAgentError: there is no Chromium, or no playwright; says how to get it.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise SynthAgentError("chromium: not installed; `apt-get install chromium`, or Google Chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SynthAgentError("playwright: not installed; `pip install -c constraints.txt playwright`") from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()
