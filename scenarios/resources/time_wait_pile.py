"""TIME_WAIT by the hundred: what a server that closes first collects.

Whoever closes first keeps a TIME_WAIT object for a minute (RFC 9293 section 3.6.1). A server that ends each connection
itself after the answer collects them: at a thousand requests a second there are sixty thousand. They cost little (a
small object each, no socket, no descriptor, no buffer), and a server's port is not used up by them, since its clients
have ports of their own. But each blocks its four numbers for its client, and beyond net.ipv4.tcp_max_tw_buckets the
kernel makes no more of them and closes at once (inet_twsk_alloc()).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

MANY = 100
ROOM = 10
"""How many the kernel may keep beyond those."""
BEYOND = 20

scenario = Scenario(
    name="time-wait-pile",
    title="TIME_WAIT by the hundred, and where the kernel makes no more",
    topic="resources",
    place=60,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    isolation="required",
    # tcp_rfc1337: a delayed ACK that crosses a FIN brings a RST now and then, which would end a TIME_WAIT.
    sysctls={"net.ipv4.tcp_max_tw_buckets": str(MANY + ROOM), "net.ipv4.tcp_rfc1337": "1"},
    watch=("TIME_WAIT on the server's side, a hundred of them", "sockets and descriptors are freed all the same"),
    questions=(
        ("What does a TIME_WAIT object have that a socket has not?", "Nothing; it lacks buffers, queues, a descriptor"),
        ("Who has them here, and why?", "The server: it closes first"),
        ("What happens beyond tcp_max_tw_buckets?", "No object is made: the connection is over at once"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, MANY)


def serve(me: Actor, many: int) -> None:
    """Accept and close."""
    for _ in range(many):
        close(accept(me.listener))


def come(me: Actor, many: int) -> None:
    """Connect, read to the end, close."""
    for _ in range(many):
        connection = socket()
        connect(connection, me.at("server"))
        recv(connection, 4096)
        close(connection)


@scenario.step("server", f"It accepts {MANY} clients, and closes each at once.", asleep_in="accept4")
def serves(me: Actor) -> None:
    serve(me, MANY)


@scenario.step("client", f"{MANY} clients come and go.", wakes="server", lasts=0.2,
               watch="TIME_WAIT on the server's side piles up")  # fmt: skip
def comes(me: Actor) -> None:
    come(me, MANY)


@scenario.step("server", f"It accepts {ROOM + BEYOND} more.", asleep_in="accept4")
def serves_more(me: Actor) -> None:
    serve(me, ROOM + BEYOND)


@scenario.step("client", f"{ROOM + BEYOND} more come.", wakes="server", lasts=0.2, watch="the last ones leave nothing")
def comes_again(me: Actor) -> None:
    come(me, ROOM + BEYOND)


@scenario.step("server", "The server closes its listener.")
def ends(me: Actor) -> None:
    close(me.listener)


@scenario.must_see(f"each of the first {MANY} leaves a TIME_WAIT on the server's side, and none ends meanwhile")
def pile(seen: Seen) -> str | None:
    more = seen.step(4)
    told = [event for event in seen.all_of("timewait:born", "timewait:expired", "timewait:cancelled")
            if event.time < more.time]  # fmt: skip
    servers = sum(event.name == "timewait:born" and event["sport"] == seen.listener().port for event in told)
    return seen.same((len(told), servers), (MANY, MANY), "objects' births and ends, and births of the server's")


@scenario.must_see(f"their sockets are freed all the same: {MANY} objects are all that is left")
def freed(seen: Seen) -> str | None:
    more = seen.step(4)
    gone = [event for event in seen.all_of("socket:destroy") if event.time < more.time]
    return seen.same(len(gone), 2 * MANY, "sockets freed")


@scenario.must_see("beyond tcp_max_tw_buckets no object is made, and the server's side is CLOSED at once")
def no_more(seen: Seen) -> str | None:
    last = seen.connection(MANY + ROOM + BEYOND)
    if last.timewait("server") is not None:
        return "the last connection left a TIME_WAIT"
    if wrong := last.went_through("server", "FIN_WAIT1", "FIN_WAIT2", "CLOSE"):
        return wrong
    born = len(seen.all_of("timewait:born"))
    return None if MANY <= born <= MANY + ROOM else f"{born} objects were made"


@scenario.must_see("the lint finds the pile, if it is asked for one of this size")
def linted(seen: Seen) -> str | None:
    found = [finding.words for finding in seen.lint("timewait-pile", timewait_pile=MANY)]
    return None if len(found) == 1 else f"it found {found}"
