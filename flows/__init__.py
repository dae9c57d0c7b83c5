"""Prefect flows over the stages of `dvc.yaml`: DVC decides what runs, Prefect shows it, schedules it and can cancel it.

    pipeline.py                                        all stages in order
    personas.py .. report.py                           one stage each
    dvc_stage.py                                       a stage through DVC: its lines, progress and metrics
    serve.py, deployments.py                           a server with a dashboard, from which flows are started
    server.py                                          a Prefect server that ends with the process that needs it

Flows work in the current directory, the project's root. Importing this package, before Prefect is imported, keeps
Prefect's state in `.prefect/` there and lets nothing call home; what the user has set wins.
"""

import os
from pathlib import Path

DEFAULTS = {
    "PREFECT_HOME": str(Path(".prefect").absolute()),
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
