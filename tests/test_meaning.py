"""Equality by meaning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthagent.frozen import Json
from synthagent.meaning import same

values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text("abC ", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (10, 10.0),
        ("Blue", "  blue "),
        ("New  York", "new york"),
        ([1, "a"], ["A", 1.0]),
        ({"x": [1, 2]}, {"x": [2, 1]}),
    ],
)
def test_what_means_the_same_is_the_same(one: Json, other: Json) -> None:
    assert same(one, other)
    assert same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (0, False),
        ("10", 10),
        (None, ""),
        ([1, 1], [1, 2]),
        ([1, 1, 2], [1, 2, 2]),
        ({"x": 1}, {"y": 1}),
        (1, 1.01),
    ],
)
def test_what_does_not_is_not(one: Json, other: Json) -> None:
    assert not same(one, other)
    assert not same(other, one)


@given(values, values)
def test_every_value_is_the_same_as_itself_and_order_of_arguments_does_not_matter(one: Json, other: Json) -> None:
    assert same(one, one)
    assert same(one, other) == same(other, one)
