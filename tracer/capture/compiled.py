"""The same functions, plain or as machine code.

``walk``, ``layers``, ``rows`` and ``whole`` are ordinary Python over integers. For a large capture their source is
compiled as it stands (tracer/machine_code.py); nothing is lost but time where that cannot be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from tracer.capture import encapsulation, layers, links, rows, tunnels, walk, whole
from tracer.machine_code import Entry, MachineCode
from tracer.segments import SEGMENT


@dataclass(frozen=True, slots=True)
class Kernels:
    """The loops over packets, in one form."""

    walk_pcap: Callable[..., tuple[int, int, int]]
    walk_pcapng: Callable[..., tuple[int, int, int]]
    pcap_fields: Callable[..., None]
    decode_all: Callable[..., int]
    compiled: bool
    """Compiled functions take a numpy array of octets, plain ones a bytearray."""


PLAIN: Final = Kernels(walk.walk_pcap, walk.walk_pcapng, whole.pcap_fields, whole.decode_all, False)

_OCTETS, _NUMBERS = np.dtype(np.uint8), np.dtype(np.int64)

CODE: Final = MachineCode(
    __name__,
    [(module, module.KERNELS) for module in (walk, encapsulation, links, tunnels, layers, rows, whole)],
    {
        "walk_pcap": Entry((_OCTETS, int, int, int, int, int, _NUMBERS), 3),
        "walk_pcapng": Entry((_OCTETS, int, int, int, int, _NUMBERS, _NUMBERS), 3),
        "pcap_fields": Entry((_OCTETS, _NUMBERS, int, int, int, *[_NUMBERS] * 4)),
        "decode_all": Entry((_OCTETS, int, int, *[_NUMBERS] * 8, SEGMENT), 1),
    },
)


def compiled(*, wait: bool = False) -> Kernels | None:
    """The compiled form; None where it is not there: not yet (``wait`` has it compiled now), or not to be had."""
    code = CODE.compile() if wait else CODE.load()
    if code is None:
        return None
    return Kernels(code["walk_pcap"], code["walk_pcapng"], code["pcap_fields"], code["decode_all"], True)
