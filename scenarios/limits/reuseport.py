"""SO_REUSEPORT: several listeners on one port, and the kernel deals the connections out.

With SO_REUSEPORT on each of them any number of sockets may listen on one port, if they belong to the same user. Every
one has an accept queue of its own. For each SYN the kernel computes a hash of the four numbers and picks one listener
by it (reuseport_select_sock()): so nobody decides who is free, and a connection that was dealt to a listener stays
there, however busy its process is. When a listener closes, whoever waits in *its* queue is reset, though others on the
same port could have served them (inet_csk_listen_stop(); net.ipv4.tcp_migrate_req would pass them on). New ones go to
those who are left. In life each listener belongs to a process or thread of its own; here one process has all three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import bind, close, connect, fails, listen, setsockopt, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

LISTENERS = 3
CLIENTS = 45
"""So many that each listener gets some, but for one case in 20 million: 3 * (2/3) ** 45."""
LATER = 12

scenario = Scenario(
    name="reuseport",
    title="SO_REUSEPORT: three queues at one port, dealt by a hash",
    topic="limits",
    place=40,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    isolation="required",
    watch=("three accept queues that grow, by chance", "RST to those in the queue of the one that closes"),
    questions=(
        ("Who decides which listener gets a connection?", "A hash of its four numbers; not who is free"),
        ("What becomes of the waiting ones when their listener closes?", "They are reset"),
        ("Can a socket without the option join?", "No: EADDRINUSE"),
    ),
)


@scenario.step("server", f"{LISTENERS} sockets listen on one port, each with SO_REUSEPORT.")
def listens(me: Actor) -> None:
    me.listeners = []
    for _ in range(LISTENERS):
        listener = socket()
        setsockopt(listener, "SO_REUSEPORT", 1)
        bind(listener, me.at("server"))
        listen(listener, CLIENTS + LATER)
        me.listeners.append(listener)


@scenario.step("server", "A fourth one without the option may not: EADDRINUSE.")
def may_not(me: Actor) -> None:
    stranger = socket()
    fails("EADDRINUSE", bind, stranger, me.at("server"))
    close(stranger)


@scenario.step("client", f"{CLIENTS} connections.", watch="each goes to one of the three queues")
def connects(me: Actor) -> None:
    for _ in range(CLIENTS):
        connect(socket(), me.at("server"))


@scenario.step("server", "The last listener is closed.", watch="RST to all who waited there, and to nobody else")
def closes_one(me: Actor) -> None:
    close(me.listeners.pop())


@scenario.step("client", f"{LATER} more: the two that are left get them.", watch="no refusal")
def connects_again(me: Actor) -> None:
    for _ in range(LATER):
        connect(socket(), me.at("server"))


@scenario.step("server", "All are closed.")
def ends(me: Actor) -> None:
    for listener in me.listeners:
        close(listener)


@scenario.must_see(f"{LISTENERS} sockets are in LISTEN on one port at once, and a fourth cannot bind")
def at_once(seen: Seen) -> str | None:
    listeners = seen.listeners()
    if wrong := seen.same((len(listeners), len({each.port for each in listeners})), (LISTENERS, 1), "listeners, ports"):
        return wrong
    if wrong := seen.same(seen.results("server", "bind"), [0] * LISTENERS + ["EADDRINUSE"], "what bind() gave"):
        return wrong
    return seen.in_order(("LISTEN of the last", listeners[-1].opened), ("the first one closed", listeners[-1].closed))


@scenario.must_see(f"each of the {CLIENTS} connections is in one queue, and every queue gets some")
def dealt(seen: Seen) -> str | None:
    closed = seen.step(4)
    shares = [sum(event.order < closed.order for event in each.queued()) for each in seen.listeners()]
    return None if sum(shares) == CLIENTS and all(shares) else f"the queues got {shares}"


@scenario.must_see("when one closes, exactly those who wait in its queue are reset")
def reset(seen: Seen) -> str | None:
    waiting, again = len(seen.listener(LISTENERS).queued()), seen.step(5)
    told = [one for one in seen.connections() for event in one.resets_received("client") if event.order < again.order]
    return seen.same(len(told), waiting, "connections that were reset")


@scenario.must_see(f"the {LATER} that come later all stand, in the two other queues")
def later(seen: Seen) -> str | None:
    again = seen.step(5)
    shares = [sum(event.order > again.order for event in each.queued()) for each in seen.listeners()]
    if shares[-1] or sum(shares) != LATER:
        return f"the queues got {shares}"
    results = seen.results("client", "connect")
    return seen.same((len(results), set(results)), (CLIENTS + LATER, {0}), "what connect() gave")
