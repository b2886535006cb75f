"""A connection's two lives in short: the state of each end, and how long it was in which.

This is what the inference of states tells of a connection. Apart from ``life_rows``, which works it out, because tables
have these columns even where nothing is inferred.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

STATES: Final = 13
"""As many as tracer.states.State has."""

LIVED: Final = np.dtype(
    [
        ("state", "u1", (2,)),  # tracer.states.State now, or when it was given up; 0 where nothing was inferred
        ("certainty", "u1", (2,)),  # tracer.kinds.Certainty of it
        ("count", "u1", (2,)),  # states with a length, in the order in which they were first entered: the next two
        ("which", "u1", (2 * STATES,)),  # those of the first end from 0 on, those of the second from STATES on
        ("spent", "i8", (2 * STATES,)),  # ns
    ],
    align=True,
)
"""numpy dtype of a connection's two lives in short. The first end is the one whose address and port sort first."""


def sided(lived: NDArray[Any], swapped: NDArray[np.bool_]) -> NDArray[Any]:
    """Rows of LIVED with both ends exchanged where ``swapped``."""
    found = lived.copy()
    for name in LIVED.names or ():
        column = lived[name].reshape(len(lived), 2, lived[name].shape[1] // 2)
        found[name] = np.where(swapped[:, None, None], column[:, ::-1], column).reshape(found[name].shape)
    return found
