"""Rows of different length, and a number of tokens -> which go through a model at once: those of like length."""

from __future__ import annotations

from collections.abc import Sequence


def passes_within(lengths: Sequence[int], most: int, everyones: Sequence[Sequence[int]] = ()) -> list[list[int]]:
    """Rows of these lengths in passes, the longest first: of at most `most` tokens with padding, or of a single row.

    `everyones`: the lengths in all processes that train together. Each then has as many rows in a pass as the others,
    since TRL gathers figures by row: of their longest rows the longest counts, of the second longest, and so on.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    ranked = zip(*(sorted(each, reverse=True) for each in everyones or [lengths]), strict=True)
    passes: list[list[int]] = []
    widest = 0  # of the last pass
    for row, size in zip(order, map(max, ranked), strict=True):
        if passes and (len(passes[-1]) + 1) * widest <= most:
            passes[-1].append(row)
        else:
            passes.append([row])
            widest = size
    return passes
