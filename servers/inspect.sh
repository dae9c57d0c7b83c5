#!/usr/bin/env bash
# Creates .venv-inspect (325 MB, two minutes) with Inspect, whose viewer reads what `synthagent export inspect` writes:
# it wants older versions of our packages. It is made again only when this script or the Python version has changed.
#
#     servers/inspect.sh         (PYTHON=python3.12 picks the interpreter)
#     .venv-inspect/bin/inspect view --log-dir FOLDER

set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-inspect
python=${PYTHON:-python3}
stamp=$( ("$python" --version; cat servers/inspect.sh) | sha256sum | cut -d' ' -f1)

if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "setting up $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install inspect-ai==0.3.285
    echo "$stamp" >"$venv/stamp"
fi
echo "$venv is there"
