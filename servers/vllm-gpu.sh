#!/usr/bin/env bash
# Creates .venv-vllm with the vLLM that serves on CUDA GPUs (gigabytes). What is there already is left alone: the
# environment is made again only when this script or the Python version has changed. It takes the place of the
# one that servers/vllm-cpu.sh makes. Weights come from the hub when a server first starts.
#
#     servers/vllm-gpu.sh        (PYTHON=python3.12 picks the interpreter)

set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-vllm
python=${PYTHON:-python3}
stamp=$( ("$python" --version; cat servers/vllm-gpu.sh) | sha256sum | cut -d' ' -f1)

if ! nvidia-smi >/dev/null 2>&1; then
    echo "vllm-gpu: nvidia-smi finds no GPU here; \`make vllm-cpu\` makes a server for machines without one" >&2
    exit 1
fi
if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "setting up $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install 'vllm>=0.30'
    echo "$stamp" >"$venv/stamp"
fi
echo "$venv is there; next: synthagent profile one-gpu"
