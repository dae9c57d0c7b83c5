#!/usr/bin/env bash
# Creates .venv-agentdojo (50 MB, half a minute) with AgentDojo, whose environments, tasks and checks are in its package.
# What is there already is left alone: the environment is made again only when this script or the Python version has
# changed.
#
#     suites/agentdojo.sh             (PYTHON=python3.12 picks the interpreter)

set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-agentdojo
python=${PYTHON:-python3}
stamp=$( ("$python" --version; cat suites/agentdojo.sh) | sha256sum | cut -d' ' -f1)

if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "setting up $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet install)
    # Without its dependencies: most are the clients of vendors. What its environments, tasks and checks import:
    "${pip[@]}" --no-deps agentdojo==0.1.35
    "${pip[@]}" --no-deps deepdiff==9.1.0 cachebox==5.2.3 orderly-set==5.5.0 docstring-parser==0.18.0 PyYAML==6.0.4 \
        pydantic==2.14.4 pydantic-core==2.50.5 annotated-types==0.8.0 typing-inspection==0.4.5 typing-extensions==4.16.0 \
        email-validator==2.4.0 dnspython==2.9.2 idna==3.20
    echo "$stamp" >"$venv/stamp"
fi
echo "$venv is there; next: synthagent evaluate --suite agentdojo --policy gold"
