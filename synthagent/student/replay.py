"""A step of a model in which each row reads one token, recorded once on a GPU and then replayed as a whole.

Such a step is many small kernels, and to start them one by one can take Python several times as long as a GPU needs to
run them (docs/scaling.md). A recording is of fixed places in memory: so the cache has columns of tokens to come, which
the mask hides, and which one is written is a number that is read from memory, too.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache

from synthagent.student.kv_cache import hold, keeps_all, next_logits, release

_AHEAD = 256  # steps of a recording
_UNIT = 64  # columns, so that rows of the mask begin where torch's kernels want them to


def can_replay(model: Any, cache: DynamicCache) -> bool:
    """Whether steps of this model can be recorded here: on a GPU, by torch's attention, with a cache of all tokens."""
    return _on_gpu(model) and model.config._attn_implementation == "sdpa" and keeps_all(cache)


class NotRecordedError(Exception):
    """What a model does in a step cannot be recorded: it asks the GPU for numbers on which its way depends."""


class RecordedStep:
    """Steps from now on, as many as there are columns for. `attention`: as of `Rows`, of what has been read.

    The cache is this step's until it is given back.

    Raises:
        NotRecordedError: the model cannot be recorded; the cache is as it was.
    """

    def __init__(self, model: Any, cache: DynamicCache, attention: torch.Tensor) -> None:
        rows, self.length = attention.shape
        self.columns = -(-(self.length + _AHEAD) // _UNIT) * _UNIT
        self._model, self._cache = model, cache
        self._ids, self._positions = (attention.new_zeros(rows, 1, dtype=torch.long) for _ in range(2))
        self._mask = attention.new_zeros(rows, 1, 1, self.columns, dtype=torch.bool)
        self._mask[:, 0, 0, : self.length] = attention.bool()
        self._place = attention.new_full((1,), self.length, dtype=torch.long)
        hold(cache, self.length, self.columns, self._place)
        self._logits = torch.empty(0)
        self._graph = self._recorded() if _on_gpu(model) else None

    @property
    def is_full(self) -> bool:
        """Whether there is no column left."""
        return self.length == self.columns

    def __call__(self, ids: torch.Tensor, positions: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Logits of the next token, shape (rows, vocabulary), of tensors of shape (rows, 1); `real`: 0 for padding."""
        self._ids.copy_(ids)
        self._positions.copy_(positions)
        self._mask[:, 0, 0, self.length] = real[:, 0].bool()
        self._place.fill_(self.length)
        self.length += 1
        if self._graph is None:
            self._forward()
        else:
            self._graph.replay()
        return self._logits[:, -1].float()

    def give_back(self) -> None:
        """Leave the cache as if all had been read in the usual way."""
        release(self._cache, self.length)

    def _forward(self) -> None:
        self._logits = next_logits(self._model, self._cache, self._ids, self._mask, self._positions)

    def _recorded(self) -> torch.cuda.CUDAGraph:
        """As https://docs.pytorch.org/docs/stable/notes/cuda.html says; what it writes, the first step writes again."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        graph = torch.cuda.CUDAGraph()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._forward()
        torch.cuda.current_stream().wait_stream(aside)
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # others may use the GPU meanwhile
                self._forward()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.give_back()
            raise NotRecordedError(str(error)) from error
        return graph


def _on_gpu(model: Any) -> bool:
    return bool(model.device.type == "cuda")
