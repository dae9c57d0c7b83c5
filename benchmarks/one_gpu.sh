#!/usr/bin/env bash
# The path of the profile `one-gpu` for a few steps, end to end, in a copy of the project: two vLLM servers and the
# training on one GPU. SmolLM2-135M stands in for the student and for the model that plays the user, so that no hub is
# needed; teacher and judge are code, since it writes no task. Prints what each part took.
#
#     make smollm2 vllm-gpu; benchmarks/one_gpu.sh [FOLDER]       (GRPO_STEPS=5; on a CPU: make vllm-cpu, VLLM_ARGS=..)
#
# Servers are started one after the other, and each before what comes to need memory beside it: a vLLM counts what others
# take while it starts as its own. On a CPU, for a rehearsal, with GRPO_STEPS=2:
#     VLLM_ARGS="--enforce-eager --no-enable-chunked-prefill --max-num-batched-tokens=8192"

set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
folder=${1:-$(mktemp -d)}
export GRPO_STEPS=${GRPO_STEPS:-5} VLLM_ARGS=${VLLM_ARGS:-} HF_HUB_OFFLINE=1 PREFECT_LOGGING_LEVEL=ERROR
git ls-files -z synthagent servers params.yaml | xargs -0 cp --parents -t "$folder"
mkdir -p "$folder/.cache"
ln -sfn "$root/.cache/models" "$folder/.cache/models"
ln -sfn "$root/.venv-vllm" "$folder/.venv-vllm"
cd "$folder"
export PYTHONPATH=$folder
synthagent() { "${PYTHON:-$root/.venv/bin/python}" -m synthagent "$@"; }

synthagent profile one-gpu
"${PYTHON:-$root/.venv/bin/python}" - <<'PY'
import os
import yaml

params = yaml.safe_load(open("params.yaml"))
more = os.environ["VLLM_ARGS"].split()
params["student"]["base"] = "smollm2"
params["tasks"]["count"] = 600
params["sft"] |= {"demos": 256, "batch_size": 16, "adam_rate": 0.001}
params["episode"] |= {"max_tokens": 1024, "max_turn_tokens": 128}
params["rollouts"] |= {"tasks": 16, "samples": 4}
params["grpo"] |= {"steps": int(os.environ["GRPO_STEPS"]), "probe": {"every": 5, "pairs": 4}}
params["evaluate"]["tasks"] = 8
for role in ("teacher", "judge", "tools"):
    params["roles"][role] = {"backend": "embedded"}
params["roles"]["user"]["model"] = "SmolLM2-135M-Instruct"
params["serve"] |= {
    "weights": ".cache/models/SmolLM2-135M-Instruct",
    "args": ["--max-model-len=8192", "--gpu-memory-utilization=0.5", *more],
    "policy_args": [*params["serve"]["policy_args"], *more],
    "env": {"VLLM_CPU_KVCACHE_SPACE": "2"},
}
yaml.safe_dump(params, open("params.yaml", "w"), sort_keys=False)
PY

trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
seconds() { local began=$SECONDS; "$@" >"$folder/$2.log" 2>&1 || { tail -n 5 "$folder/$2.log"; exit 1; }; echo "$2: $((SECONDS - began)) s: $(tail -n 1 "$folder/$2.log")"; }
server() {
    synthagent serve "$1" >"$folder/serve-$1.log" 2>&1 &
    until grep -q "ready after" "$folder/serve-$1.log"; do
        kill -0 $! 2>/dev/null || { tail -n 2 "$folder/serve-$1.log"; exit 1; }
        sleep 1
    done
    grep "ready after" "$folder/serve-$1.log"
}

server user
for stage in personas tasks rubrics sft; do seconds synthagent "$stage"; done
server policy
for stage in rollouts rewards grpo evaluate; do seconds synthagent "$stage"; done
nvidia-smi --query-gpu=name,memory.used --format=csv,noheader 2>/dev/null || true
grep -h "^grpo [0-9]" "$folder/grpo.log"
