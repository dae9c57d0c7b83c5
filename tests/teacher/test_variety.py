"""Variety is the same figure for any set: it sees types, not names, and does not depend on order, size or twins."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from helpers.tasks import accepted_tasks
from hypothesis import given
from hypothesis import strategies as st

from synthagent.llm.embeddings import Embeddings, Vectors
from synthagent.teacher.variety import Variety, VarietyCount, headlines, shape_of, variety_of

NOTHING = Variety(
    tasks=0,
    instructions=0,
    words=0,
    tools=0,
    shapes=0,
    trigrams=0,
    sample=10,
    trigram_share=None,
    compression=None,
    spread=None,
)


def of(texts: Sequence[str], words: int = 10, embeddings: Embeddings | None = None) -> Variety:
    count = VarietyCount()
    for text in texts:
        count.add([text], [])
    return count.variety(words, embeddings)


def taking(*required: str, **properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(required)}


def test_the_shape_of_a_tool_is_the_types_of_what_it_takes_without_names_order_and_words() -> None:
    one = taking("day", day={"type": "string", "description": "when"}, guests={"type": "integer", "default": 2})
    other = taking("who", n={"type": "integer"}, who={"type": "string", "pattern": ".+"})
    assert shape_of(one) == shape_of(other) == "integer?, string"
    inner = taking("street", street={"type": "string"}, number={"type": "float"})
    rich = taking(
        "to",
        "size",
        to={**inner, "type": "dict"},
        size={"type": "string", "enum": ["s", "m"]},
        extras={"type": "tuple", "items": {"type": ["null", "boolean"]}},
    )
    assert shape_of(rich) == "array[boolean|null]?, object{number?, string}, string(enum)"


@pytest.mark.parametrize("odd", [None, [], "x", {}, {"properties": 3}, {"properties": {}}])
def test_a_tool_that_takes_nothing_or_no_one_knows_what_has_an_empty_shape(odd: object) -> None:
    assert shape_of(odd) == ""


def test_a_schema_that_is_none_has_any_type() -> None:
    assert shape_of({"properties": {"a": 7, "b": {}}, "required": 4}) == "any?, any?"


def test_rows_of_three_words_are_counted_once_and_do_not_cross_texts() -> None:
    found = of(["one two three four", "two three four five", "six seven"])
    assert (found.trigrams, found.words) == (3, 10)
    assert found.trigram_share == pytest.approx(3 / 4)


def test_equal_instructions_count_once_as_those_of_twins_do() -> None:
    tasks = accepted_tasks()[:40]
    assert sum(task.twin_of is not None for task in tasks) == 40
    found = variety_of(tasks, 50)
    assert (found.tasks, found.instructions) == (40, len({task.instruction for task in tasks}))
    assert found == variety_of(random.Random(1).sample(tasks, 40), 50)


def test_what_is_said_again_and_again_is_less_varied_at_the_same_number_of_words() -> None:
    rng = random.Random(0)
    rich = [" ".join(f"w{rng.randrange(3000)}" for _ in range(12)) for _ in range(300)]
    poor = [f"please make a w{number} and mail it to my w{number % 7} soon" for number in range(1500)]
    one, other = of(rich, 3000), of(poor, 3000)
    assert one.words < other.words
    assert one.trigram_share is not None
    assert other.trigram_share is not None
    assert one.compression is not None
    assert other.compression is not None
    assert one.trigram_share > 0.9
    assert other.trigram_share < 0.5
    assert one.compression < other.compression


def test_a_larger_set_of_the_same_kind_has_the_same_share_and_compression() -> None:
    rng = random.Random(0)
    texts = [f"book {rng.randrange(40)} seats to town {rng.randrange(40)} for {rng.randrange(40)}" for _ in range(4000)]
    few, many = of(texts[:1500], 1000), of(texts, 1000)
    assert many.trigrams > few.trigrams
    assert many.trigram_share == pytest.approx(few.trigram_share, abs=0.05)
    assert many.compression == pytest.approx(few.compression, rel=0.05)


def test_what_cannot_be_known_is_null() -> None:
    assert VarietyCount().variety(10) == NOTHING
    short = of(["two words"])
    assert (short.trigram_share, short.compression, short.spread) == (None, None, None)
    count = VarietyCount()
    count.add(["a b c"], [("book", None), ("find", "string")])
    assert count.variety().shapes is None
    assert len(headlines(short)) == 6


def test_the_spread_is_the_mean_distance_of_two_instructions() -> None:
    def model(vectors: dict[str, list[float]]) -> Embeddings:
        def vectors_of(texts: Sequence[str]) -> Vectors:
            return np.array([vectors[text] for text in texts], np.float32)

        return Embeddings(vectors_of, 0.8)

    square = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [-1.0, 0.0]}
    assert of(["a", "b", "c"], embeddings=model(square)).spread == pytest.approx((1 + 2 + 1) / 3, abs=1e-4)
    assert of(["a", "b"], embeddings=model({"a": [1.0, 0.0], "b": [1.0, 0.0]})).spread == 0
    assert of(["a"], embeddings=model(square)).spread is None


@given(st.lists(st.text(), max_size=30))
def test_any_text_can_be_measured(texts: list[str]) -> None:
    found = of(texts)
    assert 0 <= found.trigrams <= found.words
    assert found.trigram_share is None or 0 <= found.trigram_share <= 1
