"""What values of params can be, whatever their section."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


def _with_a_share(mix: tuple[float, float, float]) -> tuple[float, float, float]:
    if sum(mix) <= 0:
        raise ValueError("at least one level needs a share above 0")
    return mix


Mix = Annotated[tuple[Share, Share, Share], AfterValidator(_with_a_share)]  # of levels 1, 2, 3
