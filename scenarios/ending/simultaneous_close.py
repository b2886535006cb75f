"""Simultaneous close: two FINs cross on the wire, and both sides are the first to have closed.

Each side has sent its FIN and waits for the acknowledgement of it; what comes instead is the other's FIN. That is not
an error: the side acknowledges it and goes to CLOSING, which says "he has closed too, but does not know yet that I
have" (RFC 9293 section 3.6, Figure 13). The acknowledgement ends CLOSING, and as both sides have closed actively, both
get TIME_WAIT. Nobody was passive: CLOSE_WAIT and LAST_ACK do not occur. On a network without delay the two close()
calls would have to come within microseconds; here the wire holds both FINs back until both are under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

SIDES = ("client", "server")

scenario = Scenario(
    name="simultaneous-close",
    title="Simultaneous close: CLOSING on both sides",
    topic="ending",
    place=10,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("two FINs under way at the same time", "CLOSING, the rarest of all states", "TIME_WAIT on both sides"),
    questions=(
        ("Which state follows FIN_WAIT1 when a FIN comes instead of an ACK?", "CLOSING"),
        ("Which side gets TIME_WAIT?", "Both: each has sent its FIN before it saw the other's"),
        ("What ends CLOSING?", "The acknowledgement of one's own FIN"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects.")
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts.")
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener)


@scenario.step("network", "The wire will hold back every FIN.")
def holds(me: Network) -> None:
    me.hold(flags="FIN")


@scenario.step("client", "The client closes: its FIN goes out and does not arrive yet.", watch="client FIN_WAIT1")
def client_closes(me: Actor) -> None:
    close(me.connection)


@scenario.step("server", "The server closes too: it has not seen the client's FIN.", watch="server FIN_WAIT1, too")
def server_closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.step("network", "Both FINs are let go and cross.", watch="CLOSING, then TIME_WAIT, on both sides", lasts=0.1)
def lets_go(me: Network) -> None:
    me.mend()
    me.release()


@scenario.must_see("both sides go through FIN_WAIT1, CLOSING and TIME_WAIT")
def both_close(seen: Seen) -> str | None:
    for side in SIDES:
        if missing := seen.went_through(side, "ESTABLISHED", "FIN_WAIT1", "CLOSING", "TIME_WAIT"):
            return missing
    return None


@scenario.must_see("neither side is ever in FIN_WAIT2, CLOSE_WAIT or LAST_ACK")
def nobody_is_passive(seen: Seen) -> str | None:
    for side in SIDES:
        for state in ("FIN_WAIT2", "CLOSE_WAIT", "LAST_ACK"):
            if wrong := seen.never_in(side, state):
                return wrong
    return None


@scenario.must_see("each FIN has left before the other one arrives")
def they_cross(seen: Seen) -> str | None:
    for side, other in (SIDES, SIDES[::-1]):
        left, came = seen.first(side, "FIN"), next(iter(seen.arrived(other, "FIN")), None)
        if wrong := seen.in_order((f"the {side}'s FIN leaves", left), (f"the {other}'s FIN arrives", came)):
            return wrong
    return None


@scenario.must_see("both sides have a TIME_WAIT object")
def both_wait(seen: Seen) -> str | None:
    lacking = [side for side in SIDES if seen.timewait(side) is None]
    return f"the {lacking[0]} has none" if lacking else None
