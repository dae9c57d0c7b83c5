"""Which rows go through the network at once: by a number of tokens, and equally many passes in all processes."""

from __future__ import annotations

import pytest

from synthagent.student.passes import passes_within


@pytest.mark.parametrize("most", [1, 100, 250, 10_000])
def test_every_row_is_in_one_pass_and_no_pass_of_several_exceeds_the_budget(most: int) -> None:
    lengths = [100, 30, 70, 30, 120, 10, 90]
    passes = passes_within(lengths, most)
    assert sorted(row for rows in passes for row in rows) == [*range(len(lengths))]
    for rows in passes:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= most


def test_rows_of_like_length_are_together() -> None:
    assert passes_within([10, 100, 10, 100, 11], 200) == [[1, 3], [4, 0, 2]]


@pytest.mark.parametrize(("at_least", "number"), [(1, 2), (4, 4), (9, 5)])
def test_there_are_at_least_as_many_passes_as_another_process_has(at_least: int, number: int) -> None:
    passes = passes_within([10, 100, 10, 100, 11], 200, at_least)
    assert len(passes) == number
    assert sorted(row for rows in passes for row in rows) == [0, 1, 2, 3, 4]
