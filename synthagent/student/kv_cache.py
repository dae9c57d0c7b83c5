"""A KV cache with room for tokens to come, for episodes that run in lockstep.

The library's own joins what it holds and every new token to a new tensor: a fifth of the time that the built-in student
takes for a token on a CPU. Here a token is written behind those before it; as the library's, it gives back all of them.

For steps that are recorded (`replay`) a cache can be held: its rooms stay where they are, what a layer gives back is a
whole room, and where a token is written is read from memory.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_AHEAD = 64  # tokens that there is room for, whenever a larger piece of memory has to be found


def roomy_cache(config: Any) -> DynamicCache:
    """The library's cache for a model of this configuration; layers that keep all tokens have room for more."""
    cache = DynamicCache(config=config)
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def keeps_all(cache: DynamicCache) -> bool:
    """Whether all layers keep every token: padding between tokens then changes nothing. A window would be narrower."""
    return all(type(layer) is _RoomyLayer for layer in cache.layers)


def next_logits(
    model: Any, cache: DynamicCache, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """What a model says of the next token, shape (rows, 1, vocabulary), once `ids` have gone into the cache."""
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: torch.Tensor = output.logits
    return logits


def hold(cache: DynamicCache, length: int, columns: int, place: torch.Tensor) -> None:
    """Hold a cache that keeps all tokens: `length` it has, `columns` it then has; `place`: of shape (1)."""
    for layer in cache.layers:
        layer.hold(length, columns, place)


def release(cache: DynamicCache, length: int) -> None:
    """Let a cache that is held go on in the usual way, with so many tokens."""
    for layer in cache.layers:
        layer.release(length)


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values are the beginnings of `_rooms`, of shape (rows, heads, capacity, size)."""

    keys: Any
    values: Any

    def __init__(self) -> None:
        super().__init__()
        self._rooms: list[torch.Tensor] = []
        self._place: torch.Tensor | None = None  # the column of the next token, while it is held

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        """Take the keys and values of new tokens; give back those of all."""
        if self._place is not None:
            for room, new in zip(self._rooms, (key_states, value_states), strict=True):
                room.index_copy_(2, self._place, new)
            return tuple(self._rooms)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        before = self.get_seq_length()
        length = before + key_states.shape[-2]
        if not self._fits(length):
            held = (self.keys, self.values)
            self._rooms = [_room(new, len(new), length) for new in (key_states, value_states)]
            if before:
                for room, tokens in zip(self._rooms, held, strict=True):
                    room[:, :, :before] = tokens
        for room, new in zip(self._rooms, (key_states, value_states), strict=True):
            room[:, :, before:length] = new
        return self._show(length)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows with these numbers."""
        if not (length := self.get_seq_length()):
            return
        held = (self.keys, self.values)
        self._rooms = [_room(tokens, len(indices), length) for tokens in held]
        for room, tokens in zip(self._rooms, held, strict=True):
            torch.index_select(tokens, 0, indices, out=room[:, :, :length])
        self._show(length)

    def hold(self, length: int, columns: int, place: torch.Tensor) -> None:
        """Have so many columns, and write each token at `place`. Those to come are 0: a mask does not hide a NaN."""
        held = (self.keys, self.values)
        self._rooms = [tokens.new_zeros(*tokens.shape[:2], columns, tokens.shape[3]) for tokens in held]
        for room, tokens in zip(self._rooms, held, strict=True):
            room[:, :, :length] = tokens
        self._place = place

    def release(self, length: int) -> None:
        """Hold so many tokens, as if each had been taken in the usual way."""
        self._place = None
        self._show(length)

    def _show(self, length: int) -> tuple[Any, Any]:
        self.keys, self.values = (room[:, :, :length] for room in self._rooms)
        return self.keys, self.values

    def _fits(self, length: int) -> bool:
        """Whether there is room for so many tokens behind what is held; the library may have put that elsewhere."""
        if not self._rooms or self._rooms[0].shape[2] < length:
            return False
        return bool(self.keys.data_ptr() == self._rooms[0].data_ptr())


def _room(like: torch.Tensor, rows: int, length: int) -> torch.Tensor:
    return like.new_empty(rows, like.shape[1], length + _AHEAD, like.shape[3])
