"""A black hole: nobody answers the SYN, and nobody says why.

A host that is down, or a firewall that throws packets away, gives no answer at all. The SYN is sent again after one
second (RFC 6298: the initial timeout), after two more, after four more, and so on; after tcp_syn_retries repetitions,
six by default, connect() fails with ETIMEDOUT, two minutes later. A refusal comes at once; silence takes as long as
somebody has patience. (Since Linux 6.5 the first few repetitions come one second apart: tcp_syn_linear_timeouts, four
unless set; the play sets it to none, to show the doubling.)
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import close, connect, fails, setsockopt, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

PATIENCE = 3.5
"""Seconds after which the client wants to be told (TCP_USER_TIMEOUT)."""

scenario = Scenario(
    name="blackhole",
    title="A SYN into a black hole: silence, and connect() waits",
    topic="opening",
    place=40,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("the same SYN again and again", "waits of one second, two, ...", "SYN_SENT all the time"),
    slow=True,
    questions=(
        (
            "Why does a refused connect() fail at once and this one after minutes?",
            "A RST is an answer, silence is none",
        ),
        ("Which state is the client in?", "SYN_SENT"),
        ("What would shorten the wait?", "tcp_syn_retries, TCP_USER_TIMEOUT, or a non-blocking connect with poll()"),
    ),
)


@scenario.step("network", "The cable is cut before anybody has spoken.")
def cuts(me: Network) -> None:
    me.cut()


@scenario.step("client", "The client connects: SYN, SYN again, SYN again, and ETIMEDOUT.", timeout=30.0)
def connects(me: Actor) -> None:
    me.connection = socket()
    me.sysctl("net.ipv4.tcp_syn_linear_timeouts", 0)
    setsockopt(me.connection, "TCP_USER_TIMEOUT", int(PATIENCE * 1000))
    fails("ETIMEDOUT", connect, me.connection, me.at("server"))
    close(me.connection)


@scenario.must_see("the client's side is in SYN_SENT and then closed, and never anything else")
def path(seen: Seen) -> str | None:
    return seen.same([state.name for state, _ in seen.path("client")], ["SYN_SENT", "CLOSE"], "the client's way")


@scenario.must_see("the same SYN leaves at least three times, and each wait is twice the one before")
def doubles(seen: Seen) -> str | None:
    syns = seen.packets("client", "SYN")
    if len(syns) < 3 or len({syn["seq"] for syn in syns}) != 1:
        return f"there were {len(syns)} SYNs"
    waits = [seen.seconds(one, other) for one, other in pairwise(syns)]
    odd = [f"{after / before:.2f}" for before, after in pairwise(waits) if not 1.7 < after / before < 2.4]
    return f"factors {', '.join(odd)}" if odd else None


@scenario.must_see("its retransmission timer is behind every repetition")
def by_timer(seen: Seen) -> str | None:
    syns, fired = seen.packets("client", "SYN"), seen.timers("client", "retransmission")
    return None if len(fired) >= len(syns) - 1 else f"the timer fired {len(fired)} times for {len(syns)} SYNs"


@scenario.must_see("connect() fails with ETIMEDOUT, and nothing has ever come back")
def fails_at_last(seen: Seen) -> str | None:
    if seen.packets("server"):
        return "the server's side has answered"
    failed = seen.actor("client").failed("connect", "ETIMEDOUT")
    return None if failed else "connect() did not fail with ETIMEDOUT"
