#!/usr/bin/env bash
# Creates the peers' environments: .venv-tau2 and .venv-bfcl, which are also those of the suites (suites/*.sh), and
# .venv-verifiers (570 MB) and .venv-llm-sandbox (30 MB), from benchmarks/peers/PEER.txt; all, or those that are named.
# An environment is made again only when its pins, this script or the Python version have changed.
#
#     benchmarks/peers/setup.sh [PEER ..]

set -euo pipefail
cd "$(dirname "$0")/../.."

for peer in ${@:-tau2 bfcl verifiers llm-sandbox}; do
    if [ -x "suites/$peer.sh" ]; then
        "suites/$peer.sh"
        continue
    fi
    venv=.venv-$peer
    pins=benchmarks/peers/$peer.txt
    stamp=$( (python3 --version; cat "$pins" benchmarks/peers/setup.sh) | sha256sum | cut -d' ' -f1)
    if [ "$(cat "$venv/stamp" 2>/dev/null)" = "$stamp" ]; then
        continue
    fi
    echo "setting up $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$pins"
    echo "$stamp" >"$venv/stamp"
done
