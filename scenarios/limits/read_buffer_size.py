"""The size of the buffer that one reads into: 128 bytes against 32 KiB.

TCP is a stream, and recv() may take it out in pieces of any size: the bytes are the same, the calls are not. Each call
goes into the kernel, locks the socket, looks whether the window should be told (tcp_cleanup_rbuf()) and comes back, and
costs about as much for 128 bytes as for 4,096. With 128 bytes a call a quarter of a megabyte takes 2,048 calls; with 32
KiB it takes some ten. What a call costs depends on machine and language; so here both are done, counted and timed on
the timeline. (The tracer's own cost is in each call as well, on either side.)
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SHUT_WR, accept, bind, close, connect, listen, recv, send_all, setsockopt, shutdown, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

SMALL, LARGE = 128, 32 * 1024
TOTAL = 256 * 1024
BUFFERS = 212_992
"""What SO_RCVBUF and SO_SNDBUF may be set to on any Linux that nobody has tuned; the kernel doubles it."""

scenario = Scenario(
    name="read-buffer-size",
    title="Reading 128 bytes a call, and 32 KiB",
    topic="limits",
    place=80,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("2,048 calls against about ten", "how long either takes"),
    questions=(
        ("How many calls does the small buffer need?", "2,048: one for each 128 bytes"),
        ("Does the size of the buffer change what is on the wire?", "Hardly: the window is told at other moments"),
        ("Which size is enough?", "Some kilobytes: beyond, the copying costs more than the call"),
    ),
)


@scenario.step("server", "The server listens; its connections have buffers that hold it all.")
def listens(me: Actor) -> None:
    me.listener = socket()
    setsockopt(me.listener, "SO_SNDBUF", BUFFERS)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects twice.")
def connects(me: Actor) -> None:
    me.connections = [socket(), socket()]
    for connection in me.connections:
        setsockopt(connection, "SO_RCVBUF", BUFFERS)
        connect(connection, me.at("server"))


@scenario.step("server", f"The server writes {TOTAL:,} bytes to each, and shuts its side.", lasts=0.05,
               watch="they lie in the two buffers")  # fmt: skip
def writes(me: Actor) -> None:
    me.connections = [accept(me.listener), accept(me.listener)]
    for connection in me.connections:
        send_all(connection, bytes(TOTAL))
        shutdown(connection, SHUT_WR)


@scenario.step("client", f"It reads the first with {SMALL} bytes a call.", watch="calls")
def reads_little(me: Actor) -> None:
    while recv(me.connections[0], SMALL):
        pass
    close(me.connections[0])


@scenario.step("client", f"It reads the second with {LARGE:,} bytes a call.", watch="calls")
def reads_much(me: Actor) -> None:
    while recv(me.connections[1], LARGE):
        pass
    close(me.connections[1])


@scenario.step("server", "The server closes.")
def ends(me: Actor) -> None:
    for fd in (*me.connections, me.listener):
        close(fd)


def reads(seen: Seen, number: int) -> tuple[list[int], float]:
    """Bytes that each recv() on a connection gave, and the seconds that so many take, by the median from one to the
    next: a moment in which another program had the processor does not count."""
    first, after = seen.step(3 + number), seen.step(4 + number)
    mine = [call for call in seen.calls("client", "recv") if first.time < call.enter.time < after.time]
    gave = [call.result or 0 for call in mine]
    apart = [seen.seconds(one.enter, other.enter) for one, other in pairwise(mine)]
    return gave, median(apart) * len(mine)


@scenario.must_see(f"both ways {TOTAL:,} bytes are read, to the end")
def same_bytes(seen: Seen) -> str | None:
    gave = [reads(seen, number)[0] for number in (1, 2)]
    return seen.same([(sum(each), each[-1]) for each in gave], [(TOTAL, 0)] * 2, "bytes, and the last call")


@scenario.must_see("with 128 bytes it takes 2,048 calls and the one that finds the end; with 32 KiB under a twentieth")
def calls(seen: Seen) -> str | None:
    little, much = (len(reads(seen, number)[0]) for number in (1, 2))
    if wrong := seen.same(little, TOTAL // SMALL + 1, "calls with the small buffer"):
        return wrong
    return None if TOTAL // LARGE < much < little / 20 else f"{much} calls with the large buffer"


@scenario.must_see("it takes more than ten times as long")
def slower(seen: Seen) -> str | None:
    little, much = (reads(seen, number)[1] for number in (1, 2))
    return None if little > 10 * much else f"{little * 1e3:.1f} ms against {much * 1e3:.1f} ms"


@scenario.must_see("the wire carries the same bytes in about as many segments")
def same_wire(seen: Seen) -> str | None:
    sent = [len(seen.connection(number).packets("server", data=True)) for number in (1, 2)]
    return None if max(sent) <= 3 * min(sent) else f"{sent[0]} and {sent[1]} segments"
