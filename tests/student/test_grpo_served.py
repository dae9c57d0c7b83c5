"""GRPO whose episodes a server writes: each step's weights reach it, the gap to the trainer is logged and weighed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.fake_vllm import fake_vllm, restart_in
from helpers.grpo import GROUP, job_of
from helpers.served import LORA, job_at, run, weights_of

from synthagent.errors import EndpointError, SynthAgentError
from synthagent.params import LoraParams
from synthagent.student.checkpoint import LOG
from synthagent.student.model import Student, save_student

ADAPTER, RELOAD = "/v1/load_lora_adapter", "/collective_rpc"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published lies below the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def start(student: Student, tmp_path: Path) -> Path:
    save_student(student, tmp_path / "start")
    return tmp_path / "start"


@pytest.mark.parametrize(("lora", "way"), [(LORA, ADAPTER), (None, RELOAD)])
def test_the_server_writes_with_the_weights_of_each_step(
    lora: LoraParams | None, way: str, student: Student, start: Path, tmp_path: Path
) -> None:
    seen = list[bytes]()

    def before(path: str, body: dict[str, Any]) -> None:
        if path == way:
            folder = Path(body["lora_path"] if lora else body["kwargs"]["folder"])
            seen.append((folder / ("adapter_model.safetensors" if lora else "model.safetensors")).read_bytes())

    with fake_vllm(start) as server:
        server.before = before
        log = run(job_at(server.base_url, tmp_path, student, 4, lora))
        left = dict(server.adapters)
    assert (len(seen), len(set(seen))) == (4, 3)  # the rate of the first step is 0
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    for row in log:
        assert 0 < row["logprob_gap"] < 1e-5
        assert row["logprob_gap"] <= row["logprob_gap_max"] < 1e-3
        assert row["importance"] == pytest.approx(1, abs=1e-4)
    assert left == {}
    assert list((tmp_path / ".cache" / "served").iterdir()) == []
    before_it, after = weights_of(start), weights_of(tmp_path / "out")
    assert any(not torch.equal(before_it[name], after[name]) for name in after)


@pytest.mark.parametrize("lora", [pytest.param(LORA, marks=pytest.mark.slow), None])
def test_a_training_whose_server_dies_in_mid_step_ends_as_if_it_had_not(
    lora: LoraParams | None, student: Student, start: Path, tmp_path: Path
) -> None:
    with fake_vllm(start) as server:
        log = run(job_at(server.base_url, tmp_path, student, 2, lora))
        whole = weights_of(tmp_path / "out")
        asked = len(server.asked("/v1/completions"))
        count = 0

        def before(path: str, _: dict[str, Any]) -> None:
            nonlocal count
            count += path == "/v1/completions"
            if count == asked * 3 // 4:  # of the second step
                count += 1
                restart_in(server, 0.3)

        server.before = before
        assert run(job_at(server.base_url, tmp_path, student, 2, lora)) == log
    broken = weights_of(tmp_path / "out")
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_the_gap_to_the_trainer_is_weighed_up_to_a_limit(student: Student, start: Path, tmp_path: Path) -> None:
    with fake_vllm(start) as server:
        honest = server.answer

        def off(path: str, body: dict[str, Any]) -> tuple[int, Any]:
            status, value = honest(path, body)
            if path == "/v1/completions" and status == 200:
                said = value["choices"][0]["logprobs"]["token_logprobs"]
                said[0] -= 1.0  # of each turn one token, which the server calls less likely than it is
            return status, value

        server.answer = off  # type: ignore[method-assign]
        (row,) = run(job_at(server.base_url, tmp_path, student, 1, None))
    assert row["logprob_gap_max"] == pytest.approx(1, abs=1e-3)
    assert 0 < row["logprob_gap"] < 0.2
    share = row["logprob_gap"]
    assert row["importance"] == pytest.approx(1 + share * (2.0 - 1), abs=1e-3)  # e cut to 2


def test_a_server_of_other_weights_stops_the_training_before_it_learns(
    student: Student, untrained: Student, start: Path, tmp_path: Path
) -> None:
    save_student(untrained, tmp_path / "other")
    with fake_vllm(tmp_path / "other") as server:
        with pytest.raises(EndpointError, match=r"started on another student than .*start; end it"):
            run(job_at(server.base_url, tmp_path, student, 1, LORA))
        server.fingerprint = "vllm-0.32.0"  # one that somebody started by hand
        with pytest.raises(SynthAgentError, match=r"from the trainer's .*does not serve this student"):
            run(job_at(server.base_url, tmp_path, student, 1, LORA))


@pytest.mark.parametrize("lora", [pytest.param(LORA, marks=pytest.mark.slow), None])
def test_two_processes_share_one_server_and_one_of_them_publishes(
    lora: LoraParams | None, student: Student, start: Path, tmp_path: Path
) -> None:
    with fake_vllm(start) as server:
        log = run(job_at(server.base_url, tmp_path, student, 2, lora, processes=2), 2)
    assert len(server.asked(ADAPTER if lora else RELOAD)) == 2
    prompts = [tuple(body["prompt"]) for body in server.asked("/v1/completions")]
    assert len(prompts) >= 2 * 2 * GROUP
    assert [row["step"] for row in log] == [1, 2]
    assert all(row["logprob_gap_max"] < 1e-3 for row in log)


def test_what_the_student_writes_in_process_has_no_gap(student: Student, tmp_path: Path) -> None:
    job_of(tmp_path, student, 1)()
    (row,) = json.loads((tmp_path / "out" / LOG).read_text())
    assert (row["logprob_gap"], row["logprob_gap_max"], row["importance"]) == (0, 0, 1)
