"""The model that training starts from: given as it is, or told in one line what it lacks."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.chat_templates import QWEN
from helpers.given import save_given
from helpers.projects import ROOT, default_params
from jinja2 import Environment
from safetensors.torch import load_file, save_file

from synthagent.errors import InputError
from synthagent.student.base import SMOLLM2, given_base
from synthagent.student.model import Student


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_given(tmp_path_factory.mktemp("given"))


@pytest.fixture
def folder(given: Path, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    return Path(shutil.copytree(given, tmp_path / "model"))


def base(place: Path | str, **changes: Any) -> Student:
    return given_base(default_params().student.model_copy(update={"base": str(place), **changes}))


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; those that are None are removed."""
    raw = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))


def test_a_folder_gives_its_own_weights_and_tokenizer(given: Path) -> None:
    student, saved = base(given), load_file(given / "model.safetensors")
    found = student.model.state_dict()
    assert {name for name in saved if not torch.equal(found[name], saved[name].float())} == set()
    assert student.tokenizer.chat_template == QWEN
    assert student.tokenizer.pad_token_id is not None
    assert student.format.end == "<|im_end|>"


def test_dtype_and_attention_are_those_of_the_params(given: Path) -> None:
    student = base(given, dtype="bfloat16", attention="eager")
    assert student.model.dtype == torch.bfloat16
    assert student.model.config._attn_implementation == "eager"


def test_a_chat_template_in_the_params_takes_the_place_of_its_own(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    (tmp_path / "mine.jinja").write_text(QWEN.replace("# Tools", "# My tools"))
    student = base(folder, chat_template=str(tmp_path / "mine.jinja"))
    assert "# My tools" in student.tokenizer.chat_template


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def as_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def without_end(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", eos_token=None)


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1_000])


def without_a_layer(folder: Path) -> None:
    saved = load_file(folder / "model.safetensors")
    left = {name: tensor for name, tensor in saved.items() if "layers.1" not in name}
    save_file(left, folder / "model.safetensors", {"format": "pt"})


def of_no_kind(folder: Path) -> None:
    edit(folder / "config.json", model_type="none", architectures=None)


def with_small_embedding(folder: Path) -> None:
    saved = load_file(folder / "model.safetensors")
    cut = {name: tensor[:100].clone() if tensor.shape[0] == 1_024 else tensor for name, tensor in saved.items()}
    save_file(cut, folder / "model.safetensors", {"format": "pt"})
    edit(folder / "config.json", vocab_size=100)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without("config.json"), "it has no config.json; name a folder"),
        (without("model.safetensors"), r"it has no weights \(\*\.safetensors\); name a folder"),
        (without("tokenizer.json"), r"it has no tokenizer \(tokenizer\.json\); name a folder"),
        (without("chat_template.jinja"), "its tokenizer has no chat template; name a Jinja file in student.chat_t"),
        (without_end, "its tokenizer has no end token; set `eos_token`"),
        (as_adapter, "it is an adapter; merge it"),
        (cut_short, "its weights cannot be loaded: .*; get its files again"),
        (without_a_layer, r"its files lack \d+ of the model's weights, such as model\.layers\.1\..*; get them again"),
        (of_no_kind, ".* cannot be (read|loaded): .*; get its files again"),
        (with_small_embedding, r"its tokenizer has \d+ tokens, its embedding 100; name another"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_folder_lacks_is_told_with_the_remedy(spoil: Callable[[Path], None], said: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=rf"^params\.yaml: student\.base: {re.escape(str(folder))}: {said}") as told:
        base(folder)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "no such folder, and not of the form owner/name"),
        ("/no/such/folder", "no such folder, and not of the form owner/name"),
        ("nobody/nothing", r"no such folder, and the hub does not give it \(.*\); .* or name a folder that has it"),
    ],
)
def test_a_name_that_is_nowhere_is_told(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=rf"^params\.yaml: student\.base: {name}: {said}"):
        base(name)


def test_smollm2_that_is_not_converted_yet_is_told_how_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"student\.base: smollm2: {SMOLLM2} is not there; run `make smollm2`"):
        base("smollm2")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_template_that_cannot_be_read_is_told(content: bytes | None, given: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"^params\.yaml: student\.chat_template: .*mine\.jinja: .*; name a Jinja f"):
        base(given, chat_template=str(path))


def test_smollm2_is_trained_on_the_text_by_which_it_is_served() -> None:
    """The template for training only marks what is the assistant's own."""
    served = (ROOT / "servers" / "smollm2_tools.jinja").read_text()
    trained = (ROOT / "synthagent" / "student" / "templates" / "smollm2.jinja").read_text()
    assert "{%- generation -%}" in trained
    unmarked = trained.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
    call = {"function": {"name": "look", "arguments": '{"id": "K17"}'}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Move it."},
        {"role": "assistant", "content": "Hm.", "tool_calls": [call, call]},
        {"role": "tool", "content": "{}"},
        {"role": "tool", "content": "{}"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "{}"},
        {"role": "assistant", "content": "<answer>Done</answer>"},
    ]
    for end in range(len(messages) + 1):
        for more in (False, True):
            said = {"messages": messages[:end], "tools": [call], "add_generation_prompt": more}
            one, other = (Environment().from_string(text).render(said) for text in (served, unmarked))
            assert one == other
