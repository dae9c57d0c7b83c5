#!/usr/bin/env bash
# Creates .venv-bfcl (70 MB, half a minute) with the Berkeley Function-Calling Leaderboard, whose data, simulators and
# checker are in its package. What is there already is left alone: the environment is made again only when this script or
# the Python version has changed.
#
#     suites/bfcl.sh             (PYTHON=python3.12 picks the interpreter)

set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-bfcl
python=${PYTHON:-python3}
stamp=$( ("$python" --version; cat suites/bfcl.sh) | sha256sum | cut -d' ' -f1)

if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "setting up $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet install)
    # Without its dependencies: those are the clients of thirty vendors. What the checker and the simulators import:
    "${pip[@]}" --no-deps bfcl-eval==2026.3.23
    "${pip[@]}" filelock==4.3.1 mpmath==1.4.1 python-dotenv==1.2.4 tenacity==9.1.4 tqdm==4.70.1
    echo "$stamp" >"$venv/stamp"
fi
echo "$venv is there; next: synthagent evaluate --suite bfcl --policy gold"
