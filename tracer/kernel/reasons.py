"""Why the stack drops a segment or sends a RST: the kernel's numbers by the kernel's own names.

The numbers of enum skb_drop_reason and enum sk_rst_reason change from release to release, so a probe's number is
turned into a name at once, by the BTF of the kernel that gave it; a recording keeps both.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER

ENUMS: Final = {
    NUMBER["segment:dropped"]: ("skb_drop_reason", "SKB_DROP_REASON_"),
    NUMBER["reset:sent"]: ("sk_rst_reason", "SK_RST_REASON_"),
}
"""Kind by number -> the enum of its `reason`, and the prefix that its names have."""


class Types(Protocol):
    """What is asked of BTF."""

    def enum(self, name: str) -> dict[int, str]:
        """Value -> name."""
        ...


class Reasons:
    """Fills in `why` from `reason`."""

    def __init__(self, types: Types) -> None:
        self._names = {
            kind: {value: name.removeprefix(prefix).encode() for value, name in types.enum(enum).items()}
            for kind, (enum, prefix) in ENUMS.items()
        }

    def fill(self, kind: int, rows: NDArray[np.void]) -> None:
        """Name the reasons of these rows, in place. A number without a name (a module's own) stays a number."""
        names = self._names.get(kind)
        if names:
            rows["why"] = [names.get(number, hex(number).encode()) for number in rows["reason"].tolist()]
