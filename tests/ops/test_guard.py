"""A guarded command ends with its caller, and so do its children."""

from __future__ import annotations

import subprocess
import sys

from helpers.processes import PATIENCE, is_alive
from helpers.projects import ROOT


def test_leaving_a_guarded_command_ends_its_children_too() -> None:
    script = "sleep 1000 & echo $!; sleep 1000"
    code = (
        "import os\nfrom subprocess import PIPE\nfrom synthagent.ops.guard import guarded\n"
        f"with guarded(['sh', '-c', {script!r}], os.environ, PIPE) as process:\n"
        "    print(int(process.stdout.readline()))\n"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    assert not is_alive(int(printed))
