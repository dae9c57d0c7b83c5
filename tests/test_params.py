"""`params.yaml` is read once and strictly; every fault is named with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.projects import ROOT, default_params, write_params
from pydantic import ValidationError

from synthagent.errors import MissingBackendError, ParamsError
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.teacher.natural.compose import PATTERNS


def refusal(path: Path, error: type[Exception] = ParamsError) -> str:
    with pytest.raises(error) as raised:
        load_params(path)
    return str(raised.value)


def test_the_projects_params_are_valid_and_keep_their_values() -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert default_params().tasks.count == raw["tasks"]["count"]
    assert set(raw) == set(Params.model_fields)


def test_params_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        default_params().tasks.count = 1  # type: ignore[misc]


@pytest.mark.parametrize("place", ["surplus", "tasks.surplus", "roles.judge.surplus"])
def test_an_unknown_key_is_named(place: str, tmp_path: Path) -> None:
    message = refusal(write_params(tmp_path, {place: 1}))
    assert message.startswith(f"{tmp_path / 'params.yaml'}: {place}: unknown key")


@pytest.mark.parametrize("place", ["seed", "tasks", "tasks.count", "roles.judge", "roles.user.backend"])
def test_a_missing_key_is_named(place: str, tmp_path: Path) -> None:
    path = write_params(tmp_path, {})
    raw = yaml.safe_load(path.read_text())
    *sections, key = place.split(".")
    target = raw
    for section in sections:
        target = target[section]
    del target[key]
    path.write_text(yaml.safe_dump(raw))
    assert f": {place}: missing key" in refusal(path)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("tasks.count", "many", "valid integer"),
        ("tasks.count", 0, "greater than or equal to 1"),
        ("tasks.count", [1], "valid integer"),
        ("tasks.unseen_share", 1.5, "less than or equal to 1"),
        ("tasks.difficulty_mix", [0, 0, 0], "above 0"),
        ("tasks.difficulty_mix", [1, 1], "difficulty_mix.2: missing"),
        ("tasks", None, "dictionary"),
        ("tasks.language", "klingon", "'plain' or 'natural', but it is 'klingon'"),
        ("tasks.language", None, "'plain' or 'natural'"),
        ("tasks.natural.patterns", {**dict.fromkeys(PATTERNS, 0.2)}, "sum to 1.6, and 1 is wanted: take 0.6"),
        ("tasks.natural.patterns", {**dict.fromkeys(PATTERNS, 0.1)}, "sum to 0.8, and 1 is wanted: add 0.2"),
        ("tasks.natural.patterns", {**dict.fromkeys(PATTERNS, 0), "one": float("nan")}, "less than or equal to 1"),
        ("tasks.natural.patterns.chain", -0.1, "greater than or equal to 0"),
        ("tasks.natural.patterns", {"one": 1}, "missing"),
        ("tasks.natural.missing", 1.1, "less than or equal to 1"),
        ("rollouts.samples", 1, "greater than or equal to 2"),
        ("rubrics.skill", -1, "greater than or equal to 0"),
        ("reward.formula", "sum", "'product' or 'paper'"),
        ("reward.require_answer", "perhaps", "boolean"),
        ("roles.judge.backend", "oracle", "'embedded', 'local' or 'openai'"),
        ("personas.path", 7, "valid string"),
        ("student.base", "", "at least 1 character"),
        ("student.tiny.vocab_size", 100, "greater than or equal to 400"),
        ("student.dtype", "float16", "'float32' or 'bfloat16'"),
        ("student.attention", "none", "'sdpa', 'eager' or 'flash_attention_2'"),
        ("student.optimizer", "sgd", "'muon' or 'adamw'"),
        ("student.lora", {"rank": 0, "alpha": 1, "targets": "all-linear"}, "greater than or equal to 1"),
        ("student.lora", {"rank": 1, "alpha": 1, "targets": "some"}, "'all-linear'"),
        ("student.lora", {"rank": 1, "alpha": 1, "targets": []}, "at least 1 item"),
        ("sft.demos", -1, "greater than or equal to 0"),
        ("rubrics.from_demos", 3, "at most demos_per_task (2)"),
        ("grpo.tool_errors", 1.5, "less than or equal to 1"),
        ("grpo.loss_type", "ppo", "'dapo', 'grpo'"),
        ("grpo.scale_rewards", "task", "'group', 'batch' or 'none'"),
        ("grpo.importance_sampling_level", "sequence", "loss_type dapo weighs tokens: set token here"),
        ("grpo.clip_high", 5.0, "must be at most 1"),
        ("grpo.replace_dead", -1, "greater than or equal to 0"),
        ("grpo.probe", {"every": 0, "pairs": 8}, "greater than or equal to 1"),
        ("grpo.curriculum", {"start": [0, 0, 0], "end": [1, 0, 0], "low": 0.3, "high": 0.6}, "above 0"),
        (
            "grpo.curriculum",
            {"start": [1, 0, 0], "end": [1, 0, 0], "low": 0.6, "high": 0.6},
            "above grpo.curriculum.low",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_what_it_should_be(
    place: str, value: Any, said: str, tmp_path: Path
) -> None:
    message = refusal(write_params(tmp_path, {place: value}))
    assert f": {place}" in message
    assert said in message


@pytest.mark.parametrize(
    ("changes", "place", "remedy"),
    [
        ({"grpo.loss_type": "cispo"}, "grpo.clip_high", "must be above 1, such as 5"),
        ({"grpo.loss_type": "luspo"}, "grpo.importance_sampling_level", "set sequence here"),
        (
            {"grpo.loss_type": "vespo", "grpo.importance_sampling_level": "sequence"},
            "grpo.importance_sampling_level",
            "token",
        ),
        ({"grpo.loss_type": "grpo", "grpo.clip_high": 3.0}, "grpo.clip_high", "at most 1"),
    ],
)
def test_what_trl_would_only_warn_of_is_refused_with_a_remedy(
    changes: dict[str, Any], place: str, remedy: str, tmp_path: Path
) -> None:
    message = refusal(write_params(tmp_path, changes))
    assert f": {place}: " in message
    assert remedy in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "changes",
    [
        {"grpo.loss_type": "grpo", "grpo.importance_sampling_level": "sequence"},
        {"grpo.loss_type": "luspo", "grpo.importance_sampling_level": "sequence"},
        {"grpo.loss_type": "cispo", "grpo.clip_high": 5.0},
        {"grpo.curriculum": {"start": [1, 0, 0], "end": [0, 0, 1], "low": 0.2, "high": 0.4}, "grpo.probe": None},
    ],
)
def test_recipes_that_go_together_are_taken(changes: dict[str, Any], tmp_path: Path) -> None:
    load_params(write_params(tmp_path, changes))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    message = refusal(write_params(tmp_path, {"surplus": 1, "tasks.count": "many", "seed": None}))
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    "content",
    [b"a: [", b"\xff\xfe\x00", b"a: b: c", b"\ta: 1", b"!!python/object:os.system {}", b"[" * 5_000],
    ids=["open", "bytes", "colons", "tab", "object", "deep"],
)
def test_what_is_not_yaml_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path}: not YAML: ")
    assert "\n" not in message


@pytest.mark.parametrize("content", ["", "[]", "text", "7"])
def test_yaml_that_is_no_mapping_is_told(content: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    assert refusal(path).startswith(f"{path}: the file: ")


def test_a_missing_file_is_told_with_where_to_run(tmp_path: Path) -> None:
    message = refusal(tmp_path / "none.yaml")
    assert "none.yaml: No such file" in message
    assert "project's root" in message


def test_a_directory_is_no_params_file(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("role", "backend", "offered"),
    [("teacher", "local", "embedded"), ("judge", "local", "openai"), ("policy", "embedded", "local")],
)
def test_a_backend_that_is_not_there_is_told_with_the_one_that_is(
    role: str, backend: str, offered: str, tmp_path: Path
) -> None:
    message = refusal(write_params(tmp_path, {f"roles.{role}.backend": backend}), MissingBackendError)
    for part in (f"roles.{role}.backend", repr(backend), repr(offered)):
        assert part in message


def test_the_shipped_params_use_no_model() -> None:
    assert default_params().llm.replay == "off"
    assert all(role.backend != "openai" for _, role in default_params().roles)
