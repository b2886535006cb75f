"""The loop that writes rows of text as machine code."""

from __future__ import annotations

from typing import Final

import numpy as np

from tracer.export import row_loop
from tracer.machine_code import Entry, MachineCode

_INT, _OCTETS = np.dtype(np.int64), np.dtype(np.uint8)

CODE: Final = MachineCode(
    __name__,
    ((row_loop, row_loop.FUNCTIONS),),
    {"write_rows": Entry((int, _INT, _INT, _INT, _OCTETS, _OCTETS), 1)},
)
