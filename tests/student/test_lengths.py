"""Which rows go through the network at once: by a number of tokens, and equally many rows in all processes."""

from __future__ import annotations

import pytest

from synthagent.student.lengths import passes_within


@pytest.mark.parametrize("most", [1, 100, 250, 10_000])
def test_every_row_is_in_one_pass_and_no_pass_of_several_exceeds_the_budget(most: int) -> None:
    lengths = [100, 30, 70, 30, 120, 10, 90]
    passes = passes_within(lengths, most)
    assert sorted(row for rows in passes for row in rows) == [*range(len(lengths))]
    for rows in passes:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= most


def test_rows_of_like_length_are_together() -> None:
    assert passes_within([10, 100, 10, 100, 11], 200) == [[1, 3], [4, 0, 2]]


@pytest.mark.parametrize("most", [1, 200, 300, 10_000])
def test_passes_of_processes_that_train_together_have_equally_many_rows(most: int) -> None:
    lengths = [[10, 100, 10, 100, 11], [90, 90, 95, 20, 70]]
    passes = [passes_within(each, most, lengths) for each in lengths]
    assert [len(rows) for rows in passes[0]] == [len(rows) for rows in passes[1]]
    for each, found in zip(lengths, passes, strict=True):
        assert sorted(row for rows in found for row in rows) == [0, 1, 2, 3, 4]
        assert all(len(rows) == 1 or len(rows) * max(each[row] for row in rows) <= most for rows in found)
