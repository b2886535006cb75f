"""What ties a child process to the one that started it: it goes when its parent goes, however that ends.

A parent that is killed (kill -9) can clean up nothing, so its children must be told by the kernel (PR_SET_PDEATHSIG).
The tie survives exec and is lost at fork, so each generation makes its own. "Parent" is the *thread* that forked: a
process must not be started from a thread that ends before it should.
"""

from __future__ import annotations

import ctypes
import signal
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def go_with_the_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """From now on this process gets a signal when its parent ends.

    Whether the parent is there still must be found out afterwards, by a pipe from it that has ended.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
