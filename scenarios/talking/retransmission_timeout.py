"""The retransmission timer: when nothing comes back, only time helps.

If the last segment is lost, or all of them, no duplicate ACK tells of it. The sender waits: first for a loss probe,
soon after twice the round-trip time (RFC 8985 section 7), then for the retransmission timeout, which follows the
measured round-trip times and is 200 ms at least on Linux (RFC 6298; TCP_RTO_MIN). Each time it fires without success
the next wait is twice as long, and the congestion window is one segment: whoever loses everything should send little.
When the segment arrives at last, everything goes on as if nothing had been.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv, send, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

LOST = 4
"""Copies of the segment that do not arrive: the first, the loss probe, and two by the timer."""

scenario = Scenario(
    name="retransmission-timeout",
    title="The retransmission timer backs off",
    topic="talking",
    place=42,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the same segment again and again", "each wait twice the one before", "a congestion window of one"),
    questions=(
        ("Why are there no duplicate ACKs?", "Nothing arrives that could be acknowledged"),
        ("Why does each wait double?", "If the network is overloaded, insisting makes it worse"),
        ("What does the server's program notice?", "Only that it takes a second"),
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


@scenario.step("network", f"The wire will lose the next {LOST} segments of data.")
def loses(me: Network) -> None:
    me.drop("client", payload=True, count=LOST)


@scenario.step("client", "The client says one word.", wakes="server", watch="the timer, again and again")
def says(me: Actor) -> None:
    send(me.connection, b"word")


@scenario.step("server", "The server has it, and closes.")
def closes(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client closes.")
def closes_too(me: Actor) -> None:
    close(me.connection)


@scenario.must_see(f"the word leaves at least {LOST} times")
def copies(seen: Seen) -> str | None:
    left = seen.packets("client", data=True)
    if len({event["seq"] for event in left}) > 1:
        return "what left was not the same word"
    return None if len(left) >= LOST else f"{len(left)} copies left"


@scenario.must_see("it arrives once")
def once(seen: Seen) -> str | None:
    return seen.same(len(seen.arrived("client", data=True)), 1, "copies that arrived")


@scenario.must_see("a timer is behind every repetition")
def by_timer(seen: Seen) -> str | None:
    fired = len(seen.timers("client", "retransmission")) + len(seen.timers("client", "loss-probe"))
    repeated = len(seen.packets("client", data=True)) - 1
    return seen.same(fired, repeated, "times a timer fired") if repeated else "nothing was repeated"


@scenario.must_see("the retransmission timer's waits double")
def doubles(seen: Seen) -> str | None:
    fired = seen.timers("client", "retransmission")
    waits = [seen.seconds(one, other) for one, other in pairwise(fired)]
    odd = [f"{after / before:.2f}" for before, after in pairwise(waits) if not 1.6 < after / before < 2.5]
    if [event["backoff"] for event in fired] != list(range(len(fired))):
        return f"its back-off went {[event['backoff'] for event in fired]}"
    return f"factors {', '.join(odd)}" if odd else None


@scenario.must_see("the congestion state is loss, with a window of one segment")
def one_segment(seen: Seen) -> str | None:
    if "loss" not in seen.congestion("client"):
        return "it was never in loss"
    least = min(value for _, value in seen.values("client", "snd_cwnd"))
    return seen.same(least, 1, "the smallest congestion window")
