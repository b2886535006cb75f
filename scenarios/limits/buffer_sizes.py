"""SO_RCVBUF and SO_SNDBUF: doubled when set, and the window scale fixed with the SYN.

The kernel doubles what is asked for, since its bookkeeping lies in the same memory (sock_setsockopt(), socket(7)): half
is for the bytes. The receive buffer decides the window. But the header has 16 bits for it; more needs the window scale,
which is offered on the SYN and never again (RFC 7323 section 2.2), and the kernel computes it from the buffer as it is
then (tcp_select_initial_window()). So a large buffer must be set *before* connect() (for a server: on the listener,
before listen()). Set later it is there, and the window still ends at 65,535 bytes. A set size also ends the automatic
tuning of the buffer, which does better on most days.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, getsockopt, listen, recv_exactly, send_all, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import ConnectionSeen, Seen

SMALL, LARGE = 8192, 200_000
"""Bytes that are asked for. Not more than net.core.rmem_max allows anywhere."""
SEND = 20_000
WORDS = bytes(1_000_000)
UNSCALED = 65535

scenario = Scenario(
    name="buffer-sizes",
    title="Buffers: twice what was asked for, and too late for the window",
    topic="limits",
    place=70,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the window scale on each SYN", "the window against the buffer", "getsockopt: the double"),
    questions=(
        ("Why does getsockopt say twice what was set?", "The kernel's bookkeeping is counted in the same number"),
        ("When must a large receive buffer be set?", "Before connect(), or on the listener before listen()"),
        ("What holds the late one's window at 65,535 bytes?", "Its window scale, 0, which was fixed with the SYN"),
    ),
)


@scenario.step("server", "The server listens, with a send buffer of a set size.")
def listens(me: Actor) -> None:
    me.listener = socket()
    setsockopt(me.listener, "SO_SNDBUF", SEND)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)
    if getsockopt(me.listener, "SO_SNDBUF") != 2 * SEND:
        raise AssertionError("it was not doubled")


def sends(me: Actor) -> None:
    """Accept and send all."""
    connection = accept(me.listener)
    send_all(connection, WORDS)
    close(connection)


def receives(me: Actor, before: int, after: int = 0) -> None:
    """Connect with a receive buffer set before, perhaps another one afterwards, and take all."""
    connection = socket()
    setsockopt(connection, "SO_RCVBUF", before)
    connect(connection, me.at("server"))
    if after:
        setsockopt(connection, "SO_RCVBUF", after)
    if getsockopt(connection, "SO_RCVBUF") != 2 * (after or before):
        raise AssertionError("it was not doubled")
    recv_exactly(connection, len(WORDS))
    close(connection)


@scenario.step("server", "It waits for a client, and sends it a megabyte.", asleep_in="accept4")
def sends_first(me: Actor) -> None:
    sends(me)


@scenario.step("client", f"A client with a receive buffer of {SMALL:,} bytes, set before connect().", wakes="server",
               watch="window scale 0; a small window")  # fmt: skip
def small(me: Actor) -> None:
    receives(me, SMALL)


@scenario.step("server", "The same for the next.", asleep_in="accept4")
def sends_second(me: Actor) -> None:
    sends(me)


@scenario.step("client", f"A client that sets {LARGE:,} bytes before connect().", wakes="server",
               watch="a window scale; a window of more than 65,535 bytes")  # fmt: skip
def early(me: Actor) -> None:
    receives(me, LARGE)


@scenario.step("server", "The same for the last.", asleep_in="accept4")
def sends_third(me: Actor) -> None:
    sends(me)
    close(me.listener)


@scenario.step("client", f"A client that sets {SMALL:,} before, and {LARGE:,} after it: too late.", wakes="server",
               watch="the buffer is large, the window ends at 65,535")  # fmt: skip
def late(me: Actor) -> None:
    receives(me, SMALL, LARGE)


SMALL_ONE, EARLY, LATE = 1, 2, 3


def largest(one: ConnectionSeen) -> int:
    """The largest window that the client offered on the wire, in bytes."""
    scale = max(one.syn_options("client").window_scale, 0)
    return max(int(packet["window"]) << scale for packet in one.packets("client", without="SYN"))


@scenario.must_see("each buffer is twice what was asked for")
def doubled(seen: Seen) -> str | None:
    for number, asked in ((SMALL_ONE, SMALL), (EARLY, LARGE), (LATE, LARGE)):
        one = seen.connection(number)
        if wrong := seen.same(one.values("client", "rcvbuf")[-1][1], 2 * asked, f"SO_RCVBUF of client {number}"):
            return wrong
        if wrong := seen.same(one.most("server", "sndbuf"), 2 * SEND, "the server's SO_SNDBUF, from its listener"):
            return wrong
    return None


@scenario.must_see("the SYN's window scale comes from the buffer as it was then: 0 for the small one and the late one")
def scales(seen: Seen) -> str | None:
    scale = {number: seen.connection(number).syn_options("client").window_scale for number in (1, 2, 3)}
    return None if scale[1] == scale[3] == 0 and scale[2] > 0 else f"window scales: {scale}"


@scenario.must_see("the small buffer keeps its window small: at most what was asked for, and some")
def stays_small(seen: Seen) -> str | None:
    found = largest(seen.connection(SMALL_ONE))
    return None if found <= 2 * SMALL else f"its window was {found}"


@scenario.must_see("the early one's window goes beyond 65,535 bytes, the late one's never, with the same buffer")
def windows(seen: Seen) -> str | None:
    early, late = largest(seen.connection(EARLY)), largest(seen.connection(LATE))
    return None if late <= UNSCALED < early else f"the early one's window reached {early}, the late one's {late}"


@scenario.must_see("the late buffer is used all the same, so its window grows beyond the small one's")
def grows(seen: Seen) -> str | None:
    small, late = largest(seen.connection(SMALL_ONE)), largest(seen.connection(LATE))
    return None if late > small else f"{late} against {small}"
