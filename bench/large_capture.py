"""What a large capture costs behind the screen: one reading for the catalogue, then connections brought one by one.

    python bench/large_capture.py FILE

The feed is the screen's own (tui.cli_large), without a screen. Printed: processor seconds and memory of reading all of
it, then the time until a connection's packets are on the timeline, for the one with most packets and for a hundred at
random. FILE as bench/replay.py builds it: ``python bench/replay.py --packets 10 --multiply FILE``.
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import time

from tracer.capture import open_capture
from tracer.capture.events import CaptureSource
from tui.cli_large import LargeFeed

MANY = 100


def bring(feed: LargeFeed, number: int) -> float:
    """Seconds until the connection is there."""
    began = time.perf_counter()
    feed.want(number)
    while not feed.finished:
        feed.advance()
    return time.perf_counter() - began


def main() -> None:
    """Read and print."""
    feed = LargeFeed(CaptureSource(open_capture(sys.argv[1])))
    began, used = time.perf_counter(), time.process_time()
    while not feed.finished:
        feed.advance()
    packets = int(feed.catalogue.rows["packets"].sum())
    print(
        f"{packets:,} packets, {len(feed.catalogue):,} connections: {time.process_time() - used:.1f} s of a processor,"
        f" {time.perf_counter() - began:.1f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB"
    )
    most = int(feed.catalogue.rows["packets"].argmax())
    taken = bring(feed, most + 1)
    print(f"the one of {feed.catalogue.rows['packets'][most]:,} packets  {taken * 1e3:.0f} ms")
    times = [bring(feed, random.randint(1, len(feed.catalogue))) for _ in range(MANY)]
    print(f"{MANY} at random  median {statistics.median(times) * 1e3:.1f} ms, longest {max(times) * 1e3:.0f} ms")
    feed.close()


if __name__ == "__main__":
    main()
