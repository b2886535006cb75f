"""A spurious retransmission: it was not lost, only its acknowledgement was late.

The retransmission timer knows nothing of segments, only of acknowledgements: when the *answer* is held up, it sends
again what has long arrived. The receiver has no use for the copy, but says so: its ACK carries a D-SACK block, which
names bytes it had already (RFC 2883). From this, or from the timestamps (RFC 3522, Eifel), the sender learns that it
was mistaken, and takes back what it did to its congestion window (tcp_try_undo_loss()).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv, send, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="spurious",
    title="A spurious retransmission, and the D-SACK that tells of it",
    topic="talking",
    place=44,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("data that arrive twice", "a SACK block below the ACK", "the congestion window given back"),
    questions=(
        ("What was late?", "The acknowledgement; the data had arrived at once"),
        ("What does a SACK block below the ACK mean?", "These bytes came twice (D-SACK)"),
        ("What does the sender do when it learns of its mistake?", "It undoes the reduction of its window"),
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


@scenario.step("server", "The server waits for words.", asleep_in="recv")
def reads(me: Actor) -> None:
    me.connection = accept(me.listener)
    recv(me.connection, 100)


@scenario.step("network", "The wire will keep back all that the server sends.")
def holds(me: Network) -> None:
    me.hold("server")


@scenario.step("client", "The client says a word. It arrives; the ACK does not.", wakes="server", lasts=0.8)
def says(me: Actor) -> None:
    send(me.connection, b"word")


@scenario.step("network", "The wire lets everything through.", watch="the late ACK, and those with D-SACK", lasts=0.05)
def lets_go(me: Network) -> None:
    me.mend()
    me.release()


@scenario.step("server", "The server closes.")
def closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client closes.")
def closes_too(me: Actor) -> None:
    close(me.connection)


@scenario.must_see("the data arrive more than once, and nothing was lost")
def twice(seen: Seen) -> str | None:
    sent, came = seen.packets("client", data=True), seen.arrived("client", data=True)
    return None if len(sent) == len(came) >= 2 else f"{len(sent)} left, {len(came)} arrived"


@scenario.must_see("the server's answer to a copy names bytes it had already: D-SACK")
def dsack(seen: Seen) -> str | None:
    told = [event for event in seen.packets("server") if event["n_sack"]]
    if not told:
        return "no segment of the server has a SACK block"
    first = told[0]
    return None if _below(int(first["sack_left"][0]), int(first["ack"])) else "its first block lies beyond the ACK"


@scenario.must_see("the server's program reads the word once")
def once(seen: Seen) -> str | None:
    return seen.same(seen.results("server", "recv"), [4], "what recv gave")


@scenario.must_see("the sender goes to loss, learns of its mistake, and is open again")
def undone(seen: Seen) -> str | None:
    states = seen.congestion("client")
    if "loss" not in states:
        return f"it went to {', '.join(states) or 'no other state'}"
    return seen.same(states[-1], "open", "the last congestion state")


def _below(one: int, other: int) -> bool:
    """Whether a sequence number lies before another (RFC 9293 section 3.4)."""
    return 0 < (other - one) % 2**32 < 2**31
