"""The interpreter while a screen is on: threads take turns quickly, and the collector does not stop the picture.

A key is answered in a dozen short turns of the screen's loop, and for each of them the interpreter lock is to be had
anew, since it is let go while the loop waits. A thread that works meanwhile (probes are read, a history is folded)
gives the lock up when it has been asked for 5 ms, as Python comes: a dozen times that is what a key would wait.

The collector's full runs look at every object there is, 55 ms for what the imports alone leave behind. What is there
once the screen stands is kept out of them, and they come seldom: events lie in arrays, which make no cycles.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import Final

SWITCH_SECONDS: Final = 0.0005
"""A thread that wants the interpreter lock gets it after so long."""
STANDS_SECONDS: Final = 1.0
"""After that the screen stands."""
COLLECT: Final = (10_000, 20, 100)
"""Thresholds of the collector's three generations."""


@contextlib.contextmanager
def prompt() -> Iterator[None]:
    """Have the interpreter like that within the block, in which an asyncio loop runs."""
    switch, collect = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*(max(pair) for pair in zip(collect, COLLECT, strict=True)))
    freeze = asyncio.get_running_loop().call_later(STANDS_SECONDS, gc.freeze)
    try:
        yield
    finally:
        freeze.cancel()
        gc.unfreeze()
        gc.set_threshold(*collect)
        sys.setswitchinterval(switch)
