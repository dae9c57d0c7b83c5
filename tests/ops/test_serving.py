"""Which server a role needs: the student's, whose episodes are written while it is trained, is made from params."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.projects import write_params

from synthagent.errors import ParamsError
from synthagent.ops.serving import is_served, serving_of
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.policy_server import WEIGHTS, digest_of, fingerprint_of, started_on

POLICY = {"backend": "local", "base_url": "http://127.0.0.1:8001/v1", "model": "student"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def params_of(**changes: Any) -> Params:
    wanted = {"grpo.generation": "served", "roles.policy": POLICY, "serve.args": ["--for-a-teacher"]}
    return load_params(write_params(Path(), wanted | {"serve.policy_args": ["--mine"]} | changes))


def some_weights(folder: Path, content: bytes = b"weights") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(content)


def test_a_student_with_adapters_is_served_so_that_adapters_can_be_loaded() -> None:
    some_weights(WEIGHTS)
    lora = {"rank": 9, "alpha": 16, "targets": "all-linear"}
    serve = serving_of(params_of(**{"student.lora": lora, "student.dtype": "bfloat16"}), "policy")
    assert serve.weights == "./data/models/sft"
    assert serve.args[:2] == ("--dtype", "bfloat16")
    assert serve.args[-4:] == ("--enable-lora", "--max-lora-rank", "16", "--mine")
    assert serve.env == {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}


def test_a_student_of_which_all_is_trained_is_served_so_that_its_weights_can_be_replaced() -> None:
    some_weights(WEIGHTS)
    serve = serving_of(params_of(**{"serve.env": {"A": "b", "VLLM_SERVER_DEV_MODE": "2"}}), "policy")
    assert serve.args[-3:] == ("--worker-extension-cls", "student_weights.StudentWeights", "--mine")
    assert (serve.env["A"], serve.env["VLLM_SERVER_DEV_MODE"]) == ("b", "2")
    assert (Path(serve.env["PYTHONPATH"]) / "student_weights.py").is_file()


def test_a_fingerprint_tells_one_start_from_the_next_and_the_weights() -> None:
    some_weights(WEIGHTS)
    some_weights(Path("other"), b"others")
    one, again = fingerprint_of(WEIGHTS), fingerprint_of(WEIGHTS)
    assert one != again
    assert started_on(one) == started_on(again) == digest_of(WEIGHTS) != digest_of(Path("other"))
    assert started_on("vllm-0.32.0-e1e65066") is started_on("") is None


def test_a_student_that_is_not_there_yet_is_told() -> None:
    with pytest.raises(ParamsError, match="data/models/sft: no student yet; run `dvc repro sft`"):
        serving_of(params_of(), "policy")


def test_where_the_student_writes_in_process_its_role_needs_no_server() -> None:
    params = params_of(**{"grpo.generation": "local"})
    assert not is_served(params, "policy")
    with pytest.raises(ParamsError, match=r"'local' needs no server.*grpo\.generation"):
        serving_of(params, "policy")


def test_another_role_is_served_as_before() -> None:
    teacher = {"backend": "openai", "base_url": "http://127.0.0.1:8000/v1", "model": "m"}
    params = params_of(**{"roles.teacher": teacher})
    assert serving_of(params, "teacher") == params.serve


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (POLICY | {"base_url": None}, r"grpo\.generation: 'served' needs roles\.policy\.base_url"),
        (POLICY | {"model": None}, r"needs roles\.policy\.model"),
        (POLICY | {"backend": "openai"}, r"roles\.policy\.backend is 'openai'; set it to 'local'"),
    ],
)
def test_params_that_do_not_say_where_the_student_is_served_are_refused(policy: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        params_of(**{"roles.policy": policy})
