"""Plots by block characters: a series of numbers as one or more lines of text, an eighth of a cell fine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


def resampled(values: Sequence[float], width: int) -> list[float]:
    """`width` numbers at most: where there are more, the greatest of each part, since a peak must not be lost."""
    if len(values) <= width:
        return list(values)
    edges = [len(values) * at // width for at in range(width + 1)]
    return [max(values[begin:end]) for begin, end in pairwise(edges)]


def plot(values: Sequence[float], width: int, height: int, top: float = 0.0) -> list[str]:
    """Lines from above to below, from zero to `top` (0: the greatest of the values). What is above zero is seen."""
    columns = resampled(values, width)
    top = max(top, *columns, 0.0) if columns else top
    lines = []
    for row in range(height - 1, -1, -1):
        cells = []
        for value in columns:
            eighths = math.ceil(value / top * height * 8) if top > 0 and value > 0 else 0
            cells.append(EIGHTHS[min(max(eighths - row * 8, 0), 8)])
        lines.append("".join(cells).ljust(width))
    return lines
