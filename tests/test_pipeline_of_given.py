"""The stages that train and act, on a model that was given: with and without adapters, and without a warm start.

Whether GRPO moves its weights is tested in tests/student/test_grpo.py: here a model so small earns nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.given import save_given
from helpers.pipeline import Project, new_project
from helpers.projects import assert_one_message
from safetensors.torch import load_file

from synthagent.records import Evaluation
from synthagent.store import read_records

LORA = {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj", "down_proj"]}
SMALL = {
    "student__base": "given",
    "student__dtype": "bfloat16",
    "student__gradient_checkpointing": True,
    "sft__demos": 8,
    "sft__adam_rate": 0.003,
    "episode__max_tokens": 60,
    "episode__max_turn_tokens": 20,
    "rollouts__tasks": 2,
    "rollouts__samples": 2,
    "grpo__steps": 2,
    "grpo__adam_rate": 0.003,
    "evaluate__tasks": 2,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with demonstrations and a model beside them."""
    project = new_project(tmp_path_factory.mktemp("given"))
    save_given(project.folder / "given")
    project.params(**SMALL)
    for stage in ("personas", "tasks", "rubrics", "reasoning"):
        run(project, stage)
    return project


def run(project: Project, stage: str) -> None:
    done = project.stage(stage)
    assert done.returncode == 0, done.stderr


def weights(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = load_file(folder / "model.safetensors")
    return loaded


def changed(one: Path, other: Path) -> set[str]:
    """The kinds of weights in which two checkpoints of the same names differ."""
    before, after = weights(one), weights(other)
    assert before.keys() == after.keys()
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    return {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}


def loads_by_itself(folder: Path) -> bool:
    """Whether transformers alone reads a checkpoint, and it writes."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Go."}],
        add_generation_prompt=True,
        return_tensors="pt",
    )
    made = model.generate(**prompt, max_new_tokens=3, do_sample=False)
    return bool(made.shape[1] > prompt["input_ids"].shape[1])


def test_a_model_is_trained_through_all_stages(project: Project) -> None:
    models = project.data / "models"
    for stage in ("sft", "rollouts", "rewards", "grpo", "evaluate"):
        run(project, stage)
    assert {"q_proj", "lm_head", "embed_tokens"} <= changed(project.folder / "given", models / "sft")
    assert changed(models / "sft", models / "grpo") <= changed(project.folder / "given", models / "sft")
    assert loads_by_itself(models / "sft")
    assert loads_by_itself(models / "grpo")
    rows = list(read_records(project.data / "evaluation.parquet", Evaluation))
    assert {"base", "sft", "grpo"} <= {row.policy for row in rows}
    assert project.said("sft")["loss"] > 0


def test_adapters_are_merged_and_nothing_but_their_targets_changes(project: Project) -> None:
    models = project.data / "models"
    project.params(**SMALL, student__lora=LORA)
    for stage in ("sft", "grpo"):
        run(project, stage)
    assert changed(project.folder / "given", models / "sft") == set(LORA["targets"])
    assert changed(models / "sft", models / "grpo") <= set(LORA["targets"])
    assert not list(models.rglob("adapter*"))
    assert loads_by_itself(models / "grpo")


def test_without_a_warm_start_the_base_is_passed_on_and_trained_by_rl(project: Project) -> None:
    models = project.data / "models"
    project.params(**SMALL | {"sft__demos": 0})
    for stage in ("sft", "grpo"):
        run(project, stage)
    assert changed(project.folder / "given", models / "sft") == set()
    assert loads_by_itself(models / "sft")
    said = json.loads((project.data / "metrics" / "sft.json").read_text())
    assert (said["demos"], said["tokens"], said["loss"]) == (0, 0, None)
    assert len((project.data / "plots" / "grpo.csv").read_text().splitlines()) == 3


def test_what_cannot_be_trained_is_told_in_one_line_and_changes_nothing(project: Project) -> None:
    shutil.copytree(project.folder / "given", project.folder / "bare")
    (project.folder / "bare" / "model.safetensors").unlink()
    before = {path: path.read_bytes() for path in (project.data / "models").rglob("*") if path.is_file()}
    for changes, parts in (
        ({"student__base": "bare"}, ("student.base: bare: it has no weights",)),
        ({"student__lora": LORA | {"targets": ["c_attn"]}}, ("student.lora.targets", "'c_attn'", "q_proj")),
        ({"student__base": "tiny", "sft__demos": 0}, ("sft.demos: 0", "`tiny`")),
    ):
        project.params(**SMALL | changes)
        assert_one_message(project.stage("sft"), *parts)
    after = {path: path.read_bytes() for path in (project.data / "models").rglob("*") if path.is_file()}
    assert after == before
