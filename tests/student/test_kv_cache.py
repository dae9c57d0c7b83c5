"""The cache with room holds what the library's own holds, whatever is done to it."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen3Config
from transformers.cache_utils import DynamicCache

from synthagent.student.kv_cache import _AHEAD, roomy_cache

CONFIG = Qwen3Config(num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=4)
STEPS = st.one_of(
    st.tuples(st.just("tokens"), st.sampled_from([1, 1, 1, 3, _AHEAD - 1, _AHEAD, _AHEAD + 1])),
    st.tuples(st.just("keep"), st.lists(st.booleans(), min_size=6, max_size=6)),
    st.tuples(st.just("reorder"), st.permutations(range(6))),
    st.tuples(st.just("crop"), st.integers(1, 3)),
)


@given(st.lists(STEPS, max_size=12), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_it_holds_what_the_librarys_own_holds(steps: list[tuple[str, object]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = roomy_cache(CONFIG), DynamicCache(config=CONFIG)
    rows, length = 6, 0
    for step, value in [("tokens", 5), *steps, ("tokens", 1)]:
        match step, value:
            case "tokens", int(count):
                for layer in range(2):
                    new = torch.randn(2, rows, 2, count, 4, generator=generator)
                    told = ours.update(new[0], new[1], layer)
                    for mine, own in zip(told, theirs.update(new[0], new[1], layer), strict=True):
                        assert torch.equal(mine, own)
                length += count
            case "keep", list(kept):
                chosen = torch.tensor([row for row in range(rows) if kept[row]] or [0])
                for cache in (ours, theirs):
                    cache.batch_select_indices(chosen)
                rows = len(chosen)
            case "reorder", tuple(order) | list(order):
                chosen = torch.tensor([row for row in order if row < rows])
                for cache in (ours, theirs):
                    cache.reorder_cache(chosen)
            case "crop", int(count) if count < length:
                for cache in (ours, theirs):
                    cache.crop(-count)
                length -= count
        assert ours.get_seq_length() == theirs.get_seq_length() == length


def test_tokens_are_written_where_there_is_room_and_nothing_is_copied() -> None:
    cache = roomy_cache(CONFIG)
    cache.update(*torch.randn(2, 3, 2, 5, 4), 0)
    places = set()
    for _ in range(_AHEAD):
        keys, values = cache.update(*torch.randn(2, 3, 2, 1, 4), 0)
        places.add((keys.data_ptr(), values.data_ptr()))
    assert len(places) == 1
