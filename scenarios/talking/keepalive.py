"""Keepalive: is anybody there, when nobody has anything to say?

A connection on which nothing is sent tells nobody that the other end is gone. With SO_KEEPALIVE the kernel asks, after
an idle time, with a segment of an old sequence number, which every living TCP must answer with an ACK (RFC 9293 section
3.8.4, RFC 1122 section 4.2.3.6). As long as answers come, nothing happens. When none comes it asks again at intervals,
and after so many questions the connection is dead: ETIMEDOUT for the program. By default it begins after two hours and
takes eleven minutes more; here it begins after one second, and asks every second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, fails, listen, recv, setsockopt, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

IDLE, INTERVAL, PROBES = 1, 1, 2
"""Seconds, seconds, and questions without an answer until the connection is given up."""

scenario = Scenario(
    name="keepalive",
    title="Keepalive: answered, and then not any more",
    topic="talking",
    place=60,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    slow=True,
    watch=("a segment with an old sequence number", "its ACK", "questions without an answer, and ETIMEDOUT"),
    questions=(
        ("What does a keepalive carry?", "Nothing: its sequence number is one too old, so it must be answered"),
        ("Who notices that the cable is cut?", "Only the side that asks; the other is ESTABLISHED still"),
        ("How long does it take by default?", "Two hours, and then nine questions of 75 seconds each"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects and asks its kernel to keep the connection alive.")
def connects(me: Actor) -> None:
    me.connection = socket()
    setsockopt(me.connection, "SO_KEEPALIVE", 1)
    setsockopt(me.connection, "TCP_KEEPIDLE", IDLE)
    setsockopt(me.connection, "TCP_KEEPINTVL", INTERVAL)
    setsockopt(me.connection, "TCP_KEEPCNT", PROBES)
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts. Nobody speaks.", watch="a question, and its answer", lasts=1.6)
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener)


@scenario.step("network", "The cable is cut.")
def cuts(me: Network) -> None:
    me.cut()


@scenario.step("client", "The client sleeps in recv. Its kernel asks, and asks again, and gives up.", timeout=20)
def dies(me: Actor) -> None:
    fails("ETIMEDOUT", recv, me.connection, 100)
    close(me.connection)


@scenario.must_see("the kernel's question is a segment of an old sequence number, and it is answered")
def answered(seen: Seen) -> str | None:
    asked = next(iter(seen.analysed("keep_alive", "client")), None)
    answers = [event for event in seen.arrived("server", "ACK", without="SYN") if asked and event.order > asked.order]
    return seen.in_order(("the question", asked), ("its answer", answers[0] if answers else None))


@scenario.must_see("it is the client's keepalive timer that asks")
def by_timer(seen: Seen) -> str | None:
    fired, asked = len(seen.timers("client", "keepalive")), len(seen.analysed("keep_alive", "client"))
    return None if fired >= asked > 0 else f"{asked} questions, but the timer fired {fired} times"


@scenario.must_see(f"after {PROBES} questions without an answer the connection is dead: ETIMEDOUT")
def dead(seen: Seen) -> str | None:
    failed = seen.actor("client").failed("recv", "ETIMEDOUT")
    if failed is None:
        return "recv did not fail with ETIMEDOUT"
    last = seen.arrived("server")[-1]
    unanswered = [event for event in seen.analysed("keep_alive", "client") if event.order > last.order]
    return seen.same(len(unanswered), PROBES, "questions without an answer")


@scenario.must_see("the client's side is closed, the server's stays ESTABLISHED")
def one_sided(seen: Seen) -> str | None:
    return seen.went_through("client", "ESTABLISHED", "CLOSE") or seen.same(
        seen.path("server")[-1][0].name, "ESTABLISHED", "the server's last state"
    )
