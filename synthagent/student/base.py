"""The model that training starts from, where it is given: `student` of the params -> a student, or what is missing.

`smollm2` is a folder that `make smollm2` writes; any other base is a folder, or a model of the hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from synthagent.errors import InputError
from synthagent.params import StudentParams
from synthagent.stage import CACHE
from synthagent.student.model import Student

SMOLLM2 = CACHE / "models" / "SmolLM2-135M-Instruct"  # where servers/smollm2.sh puts it
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


def given_base(params: StudentParams) -> Student:
    """The base as it was given, with the chat template that the params put in the place of its own.

    Raises:
        InputError: there is none, or it lacks weights, tokenizer, chat template or end token.
    """
    logging.disable_progress_bar()
    place = _place_of(params.base)
    tokenizer = _tokenizer_at(place, params)
    student = Student(_model_at(place, params), tokenizer, params.thinking)
    rows = student.model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise _refusal(place, f"its tokenizer has {len(tokenizer)} tokens, its embedding {rows}", "name another base")
    return student


def _place_of(base: str) -> str:
    """The folder of a base, or its name on the hub."""
    if base == "smollm2":
        if not (SMOLLM2 / "config.json").is_file():
            raise _refusal(base, f"{SMOLLM2} is not there", "run `make smollm2`, which converts it once")
        return str(SMOLLM2)
    folder = Path(base).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        return str(folder)
    if not _HUB_NAME.fullmatch(base):
        rule = "no such folder, and not of the form owner/name, as the hub has it"
        raise _refusal(base, rule, "name one of these, or tiny or smollm2")
    return base


def _check_folder(folder: Path) -> None:
    remedy = "name a folder that `save_pretrained` wrote, of model and tokenizer"
    if (folder / "adapter_config.json").is_file():
        raise _refusal(folder, "it is an adapter", "merge it into its model, and name the folder of that")
    if not (folder / "config.json").is_file():
        raise _refusal(folder, "it has no config.json", remedy)
    if not any([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        raise _refusal(folder, "it has no weights (*.safetensors)", remedy)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise _refusal(folder, "it has no tokenizer (tokenizer.json)", remedy)


def _tokenizer_at(place: str, params: StudentParams) -> Any:
    with _told(place, "its tokenizer cannot be read"):
        tokenizer = AutoTokenizer.from_pretrained(place)
    if tokenizer.eos_token_id is None:
        raise _refusal(place, "its tokenizer has no end token", "set `eos_token` in its tokenizer_config.json")
    if params.chat_template is not None or params.base == "smollm2":
        tokenizer.chat_template = _template_of(params)
    if not tokenizer.chat_template:
        raise _refusal(place, "its tokenizer has no chat template", "name a Jinja file in student.chat_template")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _template_of(params: StudentParams) -> str:
    """The file that the params name; of smollm2, whose own template ignores tools, one of ours."""
    if params.chat_template is None:
        return resources.files("synthagent.student").joinpath("templates", "smollm2.jinja").read_text(encoding="utf-8")
    try:
        return Path(params.chat_template).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"params.yaml: student.chat_template: {params.chat_template}: {error.strerror}; name a Jinja file, or null"
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            f"params.yaml: student.chat_template: {params.chat_template}: not UTF-8 text; name a Jinja file, or null"
        ) from None


def _model_at(place: str, params: StudentParams) -> Any:
    with _told(place, "its weights cannot be loaded"):
        model, loading = AutoModelForCausalLM.from_pretrained(
            place,
            dtype=getattr(torch, params.dtype),
            attn_implementation=params.attention,
            output_loading_info=True,
        )
    missing = sorted(loading["missing_keys"])
    if missing:
        rule = f"its files lack {len(missing)} of the model's weights, such as {missing[0]}"
        raise _refusal(place, rule, "get them again")
    return model


@contextmanager
def _told(place: str, rule: str) -> Iterator[None]:
    """Tell what transformers raises in one line."""
    try:
        yield
    except ImportError as error:
        if "attention" not in str(error).lower():
            raise
        message = f"params.yaml: student.attention: {_first_sentence(error)}; set it to sdpa, or install the package"
        raise InputError(message) from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if Path(place).is_dir():
            raise _refusal(place, f"{rule}: {_first_sentence(error)}", "get its files again") from None
        offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
        why = "HF_HUB_OFFLINE is set, as `make` sets it" if offline else _first_sentence(error)
        remedy = "set HF_HUB_OFFLINE=0 where there is a network" if offline else "see to the name and the network"
        raise _refusal(
            place, f"no such folder, and the hub does not give it ({why})", f"{remedy}, or name a folder that has it"
        ) from None


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0].rstrip(".")[:200]


def _refusal(place: str | Path, rule: str, remedy: str) -> InputError:
    return InputError(f"params.yaml: student.base: {place}: {rule}; {remedy}")
