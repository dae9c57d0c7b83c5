"""Texts -> vectors of length 1, by a model that is at hand: a folder on this machine, or an endpoint.

Nothing is kept: a second run embeds, and with an endpoint pays, again. `llm.replay: only` refuses an endpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthagent.errors import EndpointError, InputError, ReplayError
from synthagent.llm.endpoint import key_in
from synthagent.params import EmbeddingsParams, LlmParams

Vectors = np.ndarray[Any, np.dtype[np.float32]]
_PLACE = "tasks.decontaminate.embeddings"
_TOGETHER, _MOST_TOKENS, _MOST_CHARACTERS = 64, 256, 2_000


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What makes vectors of texts, and from which cosine on two texts count as the same request."""

    of: Callable[[Sequence[str]], Vectors]
    near: float


def embeddings_of(params: EmbeddingsParams, llm: LlmParams) -> Embeddings:
    """The model that params name.

    Raises:
        SynthAgentError: there is none, or its server cannot be had.
    """
    return Embeddings(_served(params, llm) if params.base_url else _local(Path(params.model)), params.near)


def _local(folder: Path) -> Callable[[Sequence[str]], Vectors]:
    """An encoder in a folder, as sentence-transformers keeps one: the mean over tokens, or the first one's state."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        model = AutoModel.from_pretrained(str(folder), local_files_only=True).eval()
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0][:200]
        raise InputError(f"{_PLACE}.model: {folder}: no model ({why}); give a folder with an encoder") from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    pooling = folder / "1_Pooling" / "config.json"
    first = pooling.exists() and bool(json.loads(pooling.read_text()).get("pooling_mode_cls_token"))

    @torch.no_grad()
    def of(texts: Sequence[str]) -> Vectors:
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))  # of like length, for less padding
        found: Vectors = np.zeros((len(texts), model.config.hidden_size), np.float32)
        for start in range(0, len(order), _TOGETHER):
            some = order[start : start + _TOGETHER]
            said = tokenizer(
                [texts[number] for number in some],
                padding=True,
                truncation=True,
                max_length=_MOST_TOKENS,
                return_tensors="pt",
            )
            states, mask = model(**said).last_hidden_state.float(), said["attention_mask"].unsqueeze(-1)
            found[some] = (states[:, 0] if first else (states * mask).sum(1) / mask.sum(1)).numpy()
        return _of_length_one(found)

    return of


def _served(params: EmbeddingsParams, llm: LlmParams) -> Callable[[Sequence[str]], Vectors]:
    """`/embeddings` of an OpenAI-compatible endpoint."""
    import openai

    place = f"{_PLACE}: {params.base_url}"
    if llm.replay == "only":
        raise ReplayError(
            f"{place}: embeddings are not kept, and llm.replay is only; set it to off, or embeddings null"
        )
    key = key_in(params.api_key_env, _PLACE)
    client = openai.OpenAI(base_url=params.base_url, api_key=key, timeout=llm.timeout_s, max_retries=llm.max_retries)

    def of(texts: Sequence[str]) -> Vectors:
        rows: list[list[float]] = []
        for start in range(0, len(texts), _TOGETHER):
            some = [text[:_MOST_CHARACTERS] for text in texts[start : start + _TOGETHER]]
            try:
                answered = client.embeddings.create(model=params.model, input=some, encoding_format="float")
                found = np.array(
                    [one.embedding for one in sorted(answered.data, key=lambda one: one.index)], np.float32
                )
                if found.ndim != 2 or len(found) != len(some) or not np.isfinite(found).all():
                    raise ValueError(f"{len(answered.data)} vectors for {len(some)} texts")
            except openai.OpenAIError as error:
                why = " ".join(str(error).replace(key, "...").split())[:200]
                raise EndpointError(f"{place}: {why}; check that it runs and serves {params.model!r}") from None
            except (ValueError, TypeError, AttributeError) as error:
                raise EndpointError(
                    f"{place}: its answer is no embeddings ({str(error)[:100]}); check base_url"
                ) from None
            rows += found.tolist()
        return _of_length_one(np.array(rows, np.float32))

    return of


def _of_length_one(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = vectors / np.maximum(lengths, 1e-12)
    return scaled
