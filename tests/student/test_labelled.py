"""Less work for the same loss: logits only where a label is, no padding, passes of bounded size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers.given import save_given
from helpers.gradients import Recorded, difference, gradient
from helpers.grpo import job_of
from helpers.projects import default_params
from helpers.student import Demo

from synthagent.params import LoraParams, Params
from synthagent.student.checkpoint import LOG
from synthagent.student.format import IGNORED
from synthagent.student.model import Student, load_student, save_student
from synthagent.student.processes import train

if TYPE_CHECKING:
    from synthagent.student.sft import SftJob

LORA = LoraParams(rank=4, alpha=8, targets="all-linear")
ROWS = 8


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Student:
    """A student whose output layer has weights of its own; the built-in one shares those of its embedding."""
    return load_student(save_given(tmp_path_factory.mktemp("given")))


def sft_job(folder: Path, start: Student, demos: list[Demo], processes: int = 1, **student: Any) -> SftJob:
    """A step on eight rows of unlike length, of which some begin alike."""
    from synthagent.student.sft import SftJob  # trl takes seconds: not where the tests are only collected

    folder.mkdir(parents=True)
    save_student(start, folder / "start")
    some = [*demos[: ROWS // 2], *demos[: 3 * ROWS : 6]]
    rows = [start.format.tokenise(demo.messages, demo.task.tools) for demo in some]
    params = default_params()
    chosen = params.student.model_copy(update={"base": "given", "optimizer": "adamw", **student})
    sft = params.sft.model_copy(update={"batch_size": ROWS})
    return SftJob(folder / "start", folder / "out", rows, sft, 0, processes, chosen)


def losses_of(folder: Path) -> list[float]:
    losses: list[float] = json.loads((folder / "out" / LOG).read_text())
    return losses


def as_by_trl(folder: Path, job: Callable[[str], SftJob], most: int | None = None, processes: int = 1) -> float:
    """Train by TRL's own loss, and by ours with passes of `most` tokens; return how far the gradients are apart."""
    trl, ours = job("trl"), job("ours")
    ours = replace(ours, params=ours.params.model_copy(update={"batch_tokens": most}))
    train(Recorded(trl, folder / "trl", as_trl=True), processes)
    train(Recorded(ours, folder / "ours"), processes)
    assert losses_of(folder / "ours") == pytest.approx(losses_of(folder / "trl"), rel=1e-2 if most is None else 1e-4)
    return difference(gradient(folder / "ours"), gradient(folder / "trl"))


@pytest.mark.parametrize("most", [None, 700, 1])
@pytest.mark.parametrize("tied", [True, False])
def test_loss_and_gradient_are_those_of_trl(
    tied: bool, most: int | None, given: Student, untrained: Student, demos: list[Demo], tmp_path: Path
) -> None:
    start = untrained if tied else given
    apart = as_by_trl(tmp_path, lambda name: sft_job(tmp_path / name, start, demos), most)
    assert apart < 1e-4
    assert losses_of(tmp_path / "ours") == pytest.approx(losses_of(tmp_path / "trl"), rel=1e-5)


@pytest.mark.parametrize("most", [None, 700])
def test_they_are_with_adapters(most: int | None, given: Student, demos: list[Demo], tmp_path: Path) -> None:
    apart = as_by_trl(tmp_path, lambda name: sft_job(tmp_path / name, given, demos, lora=LORA), most)
    assert apart < 1e-4


@pytest.mark.parametrize("checkpointing", [True, False])
def test_they_are_in_bfloat16_to_its_rounding(
    checkpointing: bool, given: Student, demos: list[Demo], tmp_path: Path
) -> None:
    def job(name: str) -> SftJob:
        bfloat16 = {"dtype": "bfloat16", "gradient_checkpointing": checkpointing}
        return sft_job(tmp_path / name, given, demos, **bfloat16)

    assert as_by_trl(tmp_path, job) < 2e-2


@pytest.mark.slow
@pytest.mark.parametrize("most", [None, 500])
def test_they_are_on_two_processes(most: int | None, given: Student, demos: list[Demo], tmp_path: Path) -> None:
    apart = as_by_trl(tmp_path, lambda name: sft_job(tmp_path / name, given, demos, processes=2), most, processes=2)
    assert apart < 1e-4
    assert torch.equal(gradient(tmp_path / "ours", rank=0), gradient(tmp_path / "ours", rank=1))
    Recorded(sft_job(tmp_path / "alone", given, demos), tmp_path / "alone")()
    assert difference(gradient(tmp_path / "ours"), gradient(tmp_path / "alone")) < 1e-4


def test_logits_are_computed_only_before_a_label(given: Student) -> None:
    from synthagent.student.labelled import Labelled

    ids = torch.randint(3, 1000, (3, 12))
    mask = torch.ones_like(ids)
    mask[0, 7:] = mask[1, :4] = 0  # padding at the right, and at the left
    labels = torch.full_like(ids, IGNORED)
    labels[:, 5:7] = ids[:, 5:7]
    seen: list[int] = []
    hook = given.model.lm_head.register_forward_hook(lambda _, inputs, logits: seen.append(len(logits)))
    widths: list[int] = []
    inside = given.model.model.register_forward_pre_hook(
        lambda _, args, kwargs: widths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    with torch.no_grad():
        found = Labelled(given.model, given.model)(input_ids=ids, attention_mask=mask, labels=labels)
    hook.remove()
    inside.remove()
    assert seen == [6]
    assert widths == [12]
    assert found.log_probs is not None
    with torch.no_grad():
        for row, real in enumerate(mask.bool()):
            alone = torch.log_softmax(given.model(input_ids=ids[row, real][None]).logits[0], -1)
            first = int(real.int().argmax())
            for place in (5, 6):
                wanted = alone[place - first - 1, ids[row, place]]
                assert found.log_probs[row, place - 1] == pytest.approx(float(wanted), abs=1e-4)
    assert int((found.log_probs != 0).sum()) == 6


def test_a_row_without_a_label_gives_a_loss_of_nothing(given: Student) -> None:
    from synthagent.student.labelled import Labelled

    ids = torch.randint(3, 1000, (1, 5))
    labels = torch.full_like(ids, IGNORED)
    found = Labelled(given.model, given.model)(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    assert found.log_probs is not None
    found.log_probs.sum().backward()
    assert found.log_probs.tolist() == [[0.0] * 4]


def grpo_gradient(
    folder: Path,
    start: Student,
    most: int | None,
    update: Callable[[Params], Params] = lambda it: it,
    trl: bool = False,
) -> Any:
    """The gradient and the log of the first step."""
    folder.mkdir(parents=True)
    job = job_of(folder, start, steps=1)
    student = job.params.student.model_copy(update={"base": "given", "optimizer": "adamw"})
    grpo = job.params.grpo.model_copy(update={"batch_tokens": most})
    params = update(job.params.model_copy(update={"student": student, "grpo": grpo}))
    torch.manual_seed(0)
    Recorded(replace(job, params=params), folder, as_trl=trl)()
    return gradient(folder), json.loads((folder / "out" / LOG).read_text())


@pytest.mark.parametrize("most", [None, 600, 1])
def test_a_step_of_grpo_is_that_of_trl(most: int | None, student: Student, tmp_path: Path) -> None:
    from synthagent.student.grpo_trainer import GRPOTrainer

    def lucky(trainer: Any, *_: Any, **__: Any) -> torch.Tensor:  # else nothing would be learnt in some group
        return torch.arange(8).remainder(3).float()[:, None].repeat(1, len(trainer.reward_funcs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GRPOTrainer, "_calculate_rewards", lucky)
        trl, theirs = grpo_gradient(tmp_path / "trl", student, None, trl=True)
        ours, our = grpo_gradient(tmp_path / "ours", student, most)
    assert float(trl.norm()) > 0
    assert difference(ours, trl) < 1e-4
    assert our[0].pop("entropy") == pytest.approx(theirs[0].pop("entropy"), rel=0.2)  # a mean over passes
    assert our == theirs


@pytest.mark.parametrize("most", [600, 1])
def test_of_a_group_that_earned_the_same_nothing_goes_through_the_network(
    most: int, student: Student, tmp_path: Path
) -> None:
    """The gradient is that of all episodes; where all groups are so, one episode goes through, and nothing moves."""
    from synthagent.student.grpo_trainer import Grpo, GRPOTrainer

    def earned(rewards: list[float]) -> Callable[..., torch.Tensor]:
        return lambda trainer, *_, **__: torch.tensor(rewards)[:, None].repeat(1, len(trainer.reward_funcs))

    rows: list[int] = []
    compute = Grpo._compute_loss

    def counted(trainer: Grpo, model: Any, inputs: dict[str, Any]) -> Any:
        rows.append(len(inputs["completion_ids"]))
        return compute(trainer, model, inputs)

    def gradient_of(name: str, rewards: list[float], most: int | None, loss: str = "dapo") -> torch.Tensor:
        rows.clear()

        def update(params: Params) -> Params:
            return params.model_copy(update={"grpo": params.grpo.model_copy(update={"loss_type": loss})})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(GRPOTrainer, "_calculate_rewards", earned(rewards))
            patch.setattr(Grpo, "_compute_loss", counted)
            found: torch.Tensor = grpo_gradient(tmp_path / name, student, most, update)[0]
        return found

    half = [0.0, 1.0, 2.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    whole = gradient_of("whole", half, None)
    assert sum(rows) == 8
    assert float(whole.norm()) > 0
    assert difference(gradient_of("part", half, most), whole) < 1e-4
    assert sum(rows) == 4
    assert float(gradient_of("none", [1.0] * 8, most).norm()) == 0
    assert rows == [1]
    means = gradient_of("means", half, most, "grpo")  # a mean over episodes, of which those are some
    assert sum(rows) == 8
    assert difference(means, gradient_of("means-whole", half, None, "grpo")) < 1e-4
