"""Rows of text from columns of numbers: one loop over rows and columns, to be compiled (``rows_compiled``).

What is not a number is the number of a word: all words, and what stands between the columns, lie behind one another in
a pool of bytes, and ``starts`` says where each begins. As elsewhere the functions are plain Python as they stand.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

FUNCTIONS: Final = ("copied", "decimal", "write_rows")

PLAN: Final = 4
"""Numbers a column has in the plan: word in front of it, first word of its own (-1: it is a number), number that means
that nothing is known (with the word for that; -1: none means that)."""
DIGITS: Final = 20
"""Bytes that the longest number takes."""
LONGEST: Final = 19
"""Digits of the largest number of 63 bits; the power of ten of one more is larger than that."""
PAIRS: Final = np.frombuffer("".join(f"{i:02}" for i in range(100)).encode(), np.uint8)
"""The numbers below a hundred, two digits each."""


def copied(pool: Any, start: int, stop: int, out: Any, at: int) -> int:
    """Put some bytes of the pool at ``at``; where the next one goes."""
    size = stop - start
    if size == 1:  # what stands between columns of csv: not worth a loop
        out[at] = pool[start]
        return at + 1
    for i in range(size):
        out[at + i] = pool[start + i]
    return at + size


def decimal(value: int, out: Any, at: int) -> int:
    """Put an integer at ``at``; where the next byte goes."""
    if value < 0:
        out[at] = 45  # -
        at += 1
        value = -value
    if value < 10:
        out[at] = 48 + value
        return at + 1
    size = 2
    limit = 100
    while size < LONGEST and value >= limit:
        size += 1
        limit *= 10
    place = at + size
    while value >= 100:
        rest = value // 100
        pair = 2 * (value - 100 * rest)
        place -= 2
        out[place] = PAIRS[pair]
        out[place + 1] = PAIRS[pair + 1]
        value = rest
    if value >= 10:
        out[place - 2] = PAIRS[2 * value]
        out[place - 1] = PAIRS[2 * value + 1]
    else:
        out[place - 1] = 48 + value
    return at + size


def write_rows(rows: int, plan: Any, values: Any, starts: Any, pool: Any, out: Any) -> int:
    """Write ``rows`` rows of ``values`` (a column behind the other) into ``out``; how many bytes they take.

    ``plan`` has PLAN numbers a column, then the word behind each row.
    """
    columns = len(plan) // PLAN
    behind = plan[PLAN * columns]
    at = 0
    for row in range(rows):
        for column in range(columns):
            where = PLAN * column
            word = plan[where]
            at = copied(pool, starts[word], starts[word + 1], out, at)
            value = values[column * rows + row]
            first = plan[where + 1]
            if first >= 0:
                at = copied(pool, starts[first + value], starts[first + value + 1], out, at)
            elif plan[where + 3] >= 0 and value == plan[where + 2]:
                word = plan[where + 3]
                at = copied(pool, starts[word], starts[word + 1], out, at)
            else:
                at = decimal(value, out, at)
        at = copied(pool, starts[behind], starts[behind + 1], out, at)
    return at
