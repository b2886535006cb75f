"""uvloop: the same coroutines as in asyncio_streams.py, over libuv's event loop in C.

How it works. Only the loop is another: libuv waits in epoll_wait and reads, and what asyncio does between two `await`s
in Python is done in Cython. The program does not change by a line.

What it costs. A compiled package. Connections and messages cost less processor time than with asyncio's own loop; the
coroutines themselves, being Python, cost the same.

When to use it. Wherever asyncio is used and the loop shows up in the profile.
"""

from __future__ import annotations

import sys

from scenarios.servers import asyncio_streams


def main() -> None:
    """Serve until told to stop."""
    try:
        import uvloop
    except ImportError:
        sys.exit("the model uvloop needs the package uvloop: pip install uvloop")
    asyncio_streams.main(uvloop.run, __doc__)


if __name__ == "__main__":
    main()
