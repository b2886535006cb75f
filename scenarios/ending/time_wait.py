"""TIME_WAIT from birth to end: a minute, in a small object, without a process.

The side that sent the first FIN keeps the memory of the connection after both have closed (RFC 9293 section 3.6.1), for
twice the longest time a segment may live in the network; the standard says two times two minutes, Linux says 60 seconds
(TCP_TIMEWAIT_LEN), whatever is configured: tcp_fin_timeout, which is 15 seconds here, is for orphans in FIN_WAIT2. It
does not keep the socket for that: the full socket with its buffers is freed, and a small object takes over its place in
the table, with a timer (tcp_time_wait(), struct tcp_timewait_sock). The descriptor is closed, the process may end. Only
the four numbers stay taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, listen, recv_to_end, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen
    from scenarios.sights_connection import TimeWait

PORT = 43000
LENGTH = 60.0
"""Seconds: TCP_TIMEWAIT_LEN in include/net/tcp.h."""
FIN_TIMEOUT = 15
"""Seconds: net.ipv4.tcp_fin_timeout, which many take for the length of TIME_WAIT."""
WHEEL = 5.0
"""Seconds by which a timer of that length may be late: the wheel's slots are some 4 s wide up there."""

scenario = Scenario(
    name="time-wait",
    title="TIME_WAIT: born, a minute long, and gone",
    topic="ending",
    place=25,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the socket is freed, the object is born", "60 seconds on its timer", "a minute without any process"),
    slow=True,
    isolation="required",
    sysctls={"net.ipv4.tcp_fin_timeout": str(FIN_TIMEOUT)},
    questions=(
        ("How long does TIME_WAIT last on Linux?", "60 seconds, a little more by the timer wheel"),
        (
            "What is left of the connection in that time?",
            "A small object with the four numbers and a timer",
        ),
        ("Which process owns it?", "None"),
        ("And what does tcp_fin_timeout change of it?", "Nothing: it is for FIN_WAIT2 without a process"),
    ),
)


@scenario.step("server", "The server listens and reads to the end.", asleep_in="accept4")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)
    me.connection = accept(me.listener)
    recv_to_end(me.connection)
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client connects from a port of its choice and closes first.", wakes="server", lasts=0.1)
def closes_first(me: Actor) -> None:
    me.connection = socket()
    bind(me.connection, (me.host, PORT))
    connect(me.connection, me.at("server"))
    close(me.connection)


@scenario.step("client", "Its port cannot be bound: TIME_WAIT has it.", watch="EADDRINUSE")
def port_is_taken(me: Actor) -> None:
    me.s = socket()
    fails("EADDRINUSE", bind, me.s, (me.host, PORT))


@scenario.step("client", "A minute passes.", lasts=LENGTH + WHEEL, timeout=2 * LENGTH, watch="its timer, and its end")
def waits(me: Actor) -> None:
    me.say("nothing to do: the kernel waits by itself")


@scenario.step("client", "Now the port is free.")
def port_is_free(me: Actor) -> None:
    setsockopt(me.s, "SO_REUSEADDR", 0)
    bind(me.s, (me.host, PORT))
    close(me.s)


@scenario.must_see("TIME_WAIT begins on the side that closed first, and there only")
def one_side(seen: Seen) -> str | None:
    if seen.timewait("server") is not None:
        return "the server's side has one"
    return seen.went_through("client", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")


@scenario.must_see("the full socket is freed when the object takes over")
def freed(seen: Seen) -> str | None:
    wait, gone = seen.timewait("client"), seen.destroyed("client")
    if wait is None or gone is None:
        return "TIME_WAIT or the socket's end was not seen"
    return seen.in_order(("TIME_WAIT is born", wait.born), ("the socket is freed", gone)) or seen.within(
        wait.born, gone, 0.0, 1.0
    )


def length(wait: TimeWait) -> float:
    """Seconds that its timer was set to when TIME_WAIT began: the object may have been born before the server's FIN, in
    FIN_WAIT2 and with that state's time, and begins anew when the FIN comes."""
    return wait.rearmed[-1]["left"] / 1e9 if wait.rearmed else wait.armed


@scenario.must_see("it is armed for 60 seconds")
def armed(seen: Seen) -> str | None:
    wait = seen.timewait("client")
    if wait is None:
        return "there is none"
    return None if abs(length(wait) - LENGTH) < 1 else f"it is armed for {length(wait):.1f} s"


@scenario.must_see("and ends by itself when they are over, not before, and at most some seconds later")
def over(seen: Seen) -> str | None:
    wait = seen.timewait("client")
    if wait is None or wait.end != "expired":
        return "it has not expired"
    return None if LENGTH <= wait.lasted <= LENGTH + WHEEL else f"it lasted {wait.lasted:.1f} s"


@scenario.must_see("in between its port is taken, and afterwards free")
def taken(seen: Seen) -> str | None:
    return seen.same(seen.results("client", "bind"), [0, "EADDRINUSE", 0], "what the client's bind gave")
