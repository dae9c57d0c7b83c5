"""The browser of episodes on this machine: datasets -> a page, written to a file or served on localhost.

Launch: `synthagent view`, `synthagent view --out episodes.html`, `synthagent view --rev HEAD~1`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from synthagent.errors import InputError
from synthagent.showing.browser import Browser, browser_of, read_run
from synthagent.showing.revisions import folder_of
from synthagent.showing.rows import lacking
from synthagent.stage import say
from synthagent.store import write_text

HOST = "127.0.0.1"
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page's own policy says the rest
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def view(revs: Sequence[str], out: Path | None, port: int) -> None:
    """Write the page, or serve it until Ctrl-C.

    Raises:
        StoreError: datasets are missing; says which stage to run.
        InputError: no such revision; the port is taken.
    """
    page = browser_of([read_run(), *(read_run(folder_of(rev), rev) for rev in revs)])
    if said := lacking():
        say(said)
    if out is not None:
        write_text(out, page.html)
        say(f"{out}: {page.episodes:,} episodes, {page.megabytes:.1f} MB, for any browser")
        return
    with server_of(page, port) as server:
        say(f"{page.episodes:,} episodes: http://{HOST}:{server.server_port}/ (Ctrl-C stops it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")


def server_of(page: Browser, port: int) -> ThreadingHTTPServer:
    """A server of one page, to this machine only.

    Raises:
        InputError: the port is taken, or not ours to take.
    """
    content = page.html.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = (self.headers.get("Host") or "").rpartition(":")[0]
            if host not in (HOST, "localhost"):  # a name that another site points here must not read our data
                self.send_error(403)
            elif self.path != "/":
                self.send_error(404)
            else:
                self.send_response(200)
                for name, value in {**_HEADERS, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be listened to: {error.strerror}"
        raise InputError(f"--port {port}: {why}; choose another, or 0 for any that is free") from None
