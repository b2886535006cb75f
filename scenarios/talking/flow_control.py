"""Flow control: a reader that does not read, and a sender that may not send.

Every segment tells how many more bytes its sender has room for: the window (RFC 9293 section 3.8.6). When the program
does not read, its receive buffer fills, the window shrinks to zero, and the sender stops, with its own send buffer
filling behind it until send() blocks. From then on it must ask from time to time whether there is room again, for the
segment that says so may be lost: these are the window probes of the persist timer, each wait twice as long as the one
before (RFC 9293 section 3.8.6.1; tcp_probe_timer()). When the program reads, a window update opens the way.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import (
    MSG_DONTWAIT,
    accept,
    bind,
    close,
    connect,
    listen,
    recv_exactly,
    send,
    send_all,
    setsockopt,
    socket,
)
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

BUFFER = 4096
PIECE = bytes(2048)
MUCH = bytes(65536)
"""More than all buffers hold."""

scenario = Scenario(
    name="flow-control",
    title="Flow control: zero window, window probes, window update",
    topic="talking",
    place=30,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the receive buffer fills", "a window of zero", "probes, each later than the one before", "the update"),
    questions=(
        ("Who stops the sender?", "The receiver's window; the network had room"),
        (
            "Why does the sender ask, if the receiver will tell?",
            "The update may be lost, and both would wait for ever",
        ),
        ("Which timer sends the probes?", "The persist timer (zero-window probe, PROBE0 in the kernel)"),
    ),
)


@scenario.step("server", "The server listens, with a small receive buffer.")
def listens(me: Actor) -> None:
    me.listener = socket()
    setsockopt(me.listener, "SO_RCVBUF", BUFFER)
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects, with a small send buffer.")
def connects(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "SO_SNDBUF", BUFFER)
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts, and does not read.")
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener)


@scenario.step("client", "The client sends until no more goes.", watch="the window closes, the buffers fill")
def fills(me: Actor) -> None:
    me.sent = 0
    for _ in range(100):
        try:
            me.sent += send(me.connection, PIECE, MSG_DONTWAIT)
        except BlockingIOError:
            break
    else:
        raise AssertionError("it never blocks")
    me.share(sent=me.sent)


@scenario.step("client", "A second passes in which nothing goes.", watch="probes, and their answers", lasts=1.0)
def waits(me: Actor) -> None:
    me.say("the kernel asks by itself whether there is room")


@scenario.step("client", "It sends on, and sleeps in send: there is no room anywhere.", asleep_in="send")
def sleeps(me: Actor) -> None:
    send_all(me.connection, MUCH)


@scenario.step("server", "The server reads everything at last.", wakes="client", watch="the update; the sender wakes")
def reads(me: Actor) -> None:
    recv_exactly(me.connection, me.shared["sent"] + len(MUCH))
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client closes.")
def closes(me: Actor) -> None:
    close(me.connection)


@scenario.must_see("the server tells a window of zero")
def zero(seen: Seen) -> str | None:
    return None if seen.zero_windows("server") else "it never did"


@scenario.must_see("bytes lie unread at the server and unsent at the client")
def both_full(seen: Seen) -> str | None:
    unread, unsent = seen.most("server", "unread"), seen.most("client", "unsent")
    return None if unread > 1000 and unsent > 1000 else f"at most {unread} unread and {unsent} unsent"


@scenario.must_see("the client's persist timer sends probes, each wait about twice as long as the one before")
def probes(seen: Seen) -> str | None:
    fired = seen.timers("client", "zero-window-probe")
    if len(fired) < 2:
        return f"it fired {len(fired)} times"
    closed = seen.zero_windows("server")[0]
    waits = [seen.seconds(one, other) for one, other in pairwise([closed, *fired])]
    factors = [after / before for before, after in pairwise(waits)]
    odd = [f"{factor:.2f}" for factor in factors if not 1.4 < factor < 2.8]
    return f"factors {', '.join(odd)}" if odd else None


@scenario.must_see("nothing is taken for lost meanwhile: no retransmission timer fires at the client")
def nothing_lost(seen: Seen) -> str | None:
    fired = seen.timers("client", "retransmission")
    return f"it fired {len(fired)} times" if fired else None


@scenario.must_see("when the server reads, a window update goes out, and the client's send comes back")
def update(seen: Seen) -> str | None:
    last = seen.zero_windows("server")[-1]
    opened = [packet for packet in seen.packets("server") if packet.order > last.order and packet["window"]]
    woken = [call for call in seen.calls("client", "send") if call.leave and call.leave.order > last.order]
    return seen.in_order(
        ("the last zero window", last),
        ("the update", opened[0] if opened else None),
        ("send() returns", woken[0].leave if woken else None),
    )
