"""The backlog: how many finished connections may wait, and one more than that.

listen(fd, n) says how many finished connections may wait for accept(). Linux calls the queue full when it is *longer*
than n (sk_acceptq_is_full() compares with >), so n + 1 fit: even listen(fd, 0) lets one wait. The next SYN is dropped
and not refused (tcp_conn_request()), in the hope that there will be room when it comes again. The number is a limit and
nothing that is set aside; a second listen() on the same socket changes it at any time, and those who wait stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SOCK_NONBLOCK, begin_connect, bind, close, connect, listen, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

BACKLOGS = (0, 1, 3)
LARGER = 5

scenario = Scenario(
    name="backlog",
    title="The backlog: n + 1 fit, and the next one is not answered",
    topic="limits",
    place=10,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    ports=len(BACKLOGS),
    sysctls={"net.ipv4.tcp_syncookies": "0"},
    watch=("each queue one longer than its backlog", "an overflow at each", "listen() a second time"),
    questions=(
        ("How many connections fit into listen(fd, 0)?", "One"),
        ("Is the SYN that finds no room refused?", "No: it is dropped, and its client tries again a second later"),
        ("Can the backlog be changed later?", "Yes, by listen() again; those in the queue stay"),
    ),
)


@scenario.step("server", f"Three listeners with backlogs of {', '.join(map(str, BACKLOGS))}.")
def listens(me: Actor) -> None:
    me.listeners = []
    for nth, backlog in enumerate(BACKLOGS):
        listener = socket()
        bind(listener, me.at("server", nth))
        listen(listener, backlog)
        me.listeners.append(listener)


@scenario.step("client", "To each as many connections as its backlog, and one.", watch="1 of 0, 2 of 1, 4 of 3")
def fills(me: Actor) -> None:
    for nth, backlog in enumerate(BACKLOGS):
        for _ in range(backlog + 1):
            connect(socket(), me.at("server", nth))


@scenario.step("client", "And to each one more.", watch="no answer; three overflows")
def one_more(me: Actor) -> None:
    for nth in range(len(BACKLOGS)):
        begin_connect(socket(SOCK_NONBLOCK), me.at("server", nth))


@scenario.step("server", f"listen() again on the last one, with {LARGER}.", watch="the limit; the queue is as it was")
def listens_again(me: Actor) -> None:
    listen(me.listeners[-1], LARGER)


@scenario.step("client", f"Now {LARGER - BACKLOGS[-1]} more get in there at once.", watch="the queue grows on")
def more(me: Actor) -> None:
    for _ in range(LARGER - BACKLOGS[-1]):
        connect(socket(), me.at("server", len(BACKLOGS) - 1))


@scenario.step("server", "The server closes all three: whoever waits is reset.", watch="RST to each that waits")
def ends(me: Actor) -> None:
    for listener in me.listeners:
        close(listener)


@scenario.must_see("each queue takes one more than its backlog")
def one_longer(seen: Seen) -> str | None:
    before = seen.step(4)
    for number, backlog in enumerate(BACKLOGS, 1):
        queued = [event for event in seen.listener(number).queued() if event.order < before.order]
        told = [(event["ack_backlog"], event["max_ack_backlog"]) for event in queued]
        wanted = [(length, backlog) for length in range(1, backlog + 2)]
        if wrong := seen.same(told, wanted, f"(length, limit) of queue {number}"):
            return wrong
    return None


@scenario.must_see("the next SYN finds each of them full and is dropped without an answer")
def dropped(seen: Seen) -> str | None:
    before = seen.step(4)
    for number, backlog in enumerate(BACKLOGS, 1):
        found = [event for event in seen.listener(number).overflows() if event.order < before.order]
        told = [(event["ack_backlog"], event["max_ack_backlog"]) for event in found]
        if wrong := seen.same(told, [(backlog + 1, backlog)], f"(length, limit) at the overflow of queue {number}"):
            return wrong
    closed = seen.step(6).order  # if the play is held up then, their SYNs come again, and are answered by RST
    asked = [one for one in seen.connections() if one.packets("client", "SYN")]
    late = [one for one in asked if not any(packet.order < closed for packet in one.packets("server"))]
    return None if len(late) == len(BACKLOGS) else f"{len(late)} SYNs without an answer, not {len(BACKLOGS)}"


@scenario.must_see("a second listen() raises the limit while connections wait, and as many more get in")
def raised(seen: Seen) -> str | None:
    last = seen.listener(len(BACKLOGS))
    told = [(event["ack_backlog"], event["max_ack_backlog"]) for event in last.queued()]
    wanted = [(length, LARGER) for length in range(BACKLOGS[-1] + 2, LARGER + 2)]
    return seen.same(told[BACKLOGS[-1] + 1 :], wanted, "(length, limit) after the second listen()")
