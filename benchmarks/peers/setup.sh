#!/usr/bin/env bash
# Creates the peers' environments from benchmarks/peers/*.txt: .venv-tau2 (244 MB), .venv-bfcl (59 MB) and
# .venv-verifiers (570 MB); all, or those that are named.
# An environment is made again only when its pins, this script or the Python version have changed.
#
#     benchmarks/peers/setup.sh [PEER ..]

set -euo pipefail
cd "$(dirname "$0")/../.."

for peer in ${@:-tau2 bfcl verifiers}; do
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
