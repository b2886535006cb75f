"""What `await open_connection()` waits for: asyncio registers a connecting socket for EPOLLOUT, and for nothing else.

The loop calls connect() on a non-blocking socket, gets EINPROGRESS, and registers a *writer*: epoll_ctl(ADD, EPOLLOUT),
level-triggered (asyncio.selector_events, sock_connect). The coroutine awaits a future meanwhile, and the thread sleeps
in epoll_wait. The wire here holds the SYN-ACK, so that it can be seen waiting. When it arrives the socket is writable:
the loop asks SO_ERROR how it has ended, takes the socket out of epoll, and puts it in again for EPOLLIN, as a reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, listen, send, socket
from scenarios.network import Network
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen
    from tracer.timeline import Event

ADD, DELETE = 1, 2
"""EPOLL_CTL_ADD, EPOLL_CTL_DEL."""
CPYTHON = 0xFFFF_FFFF
"""Of epoll's 64 bits of data CPython sets those that it reads again (epoll_data.fd); the rest is what was there."""
RELEASES = 4
"""The step at whose beginning the client must be waiting."""

scenario = Scenario(
    name="asyncio-dial",
    title="Inside open_connection(): asyncio waits for writable, then for words",
    topic="servers",
    place=68,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "connect gives EINPROGRESS; epoll_ctl for EPOLLOUT alone",
        "the SYN-ACK arrives: EPOLLOUT, then SO_ERROR",
        "epoll_ctl DEL, and ADD again for EPOLLIN",
    ),
    questions=(
        ("How often is the socket put under epoll?", "Twice: as a writer while it connects, as a reader afterwards"),
        ("Why not as a reader and a writer at once?", "By level, a writable socket would wake the loop all the time"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("network", "The wire will hold the server's SYN-ACK.")
def holds(me: Network) -> None:
    me.hold("server", "SYN ACK")


scenario.runs(
    "client",
    "A client on asyncio dials. Its SYN goes out, and its loop sleeps.",
    ["{python}", "-m", "scenarios.servers.asyncio_client", "{address:server}", "{port}"],
    listens=None,
    watch="SYN_SENT; the socket is under epoll for EPOLLOUT",
    rests=True,
)


@scenario.step("network", "The wire lets the SYN-ACK go: the loop wakes, and waits for words.", rests="client")
def releases(me: Network) -> None:
    me.mend()
    me.release()


@scenario.step("server", "The server accepts, has a word to say, and closes; the client reads it.", ends="client")
def speaks(me: Actor) -> None:
    me.connection = accept(me.listener)
    send(me.connection, b"welcome")
    close(me.connection)


def dialed(seen: Seen) -> int:
    """The descriptor of the connection."""
    return next((call.enter.fd for call in seen.calls("client", "connect") if call.error == "EINPROGRESS"), -1)


def orders(seen: Seen) -> list[tuple[int, str, Event]]:
    """What was asked of epoll about it: (1 add, 2 delete; mask in words; event)."""
    client = seen.actor("client")
    events = [event for event in seen.all_of("epoll:ctl") if event.pid == client.pid]
    told = zip(client.registrations(), events, strict=True)
    return [(operation, mask, event) for (operation, fd, mask), event in told if fd == dialed(seen)]


@scenario.must_see("connect() gives EINPROGRESS, and after it the socket is registered for EPOLLOUT alone")
def in_progress(seen: Seen) -> str | None:
    call = next((call for call in seen.calls("client", "connect") if call.error == "EINPROGRESS"), None)
    first = next(iter(orders(seen)), None)
    if first is None or first[:2] != (ADD, "EPOLLOUT"):
        return f"the first was {first[:2] if first else 'nothing'}"
    return seen.in_order(("connect() returns", call.leave if call else None), ("epoll_ctl", first[2]))


@scenario.must_see("while the SYN-ACK is on its way the loop sleeps in epoll_wait")
def sleeps(seen: Seen) -> str | None:
    begin = seen.step(RELEASES)
    return seen.asleep_during("client", "epoll_wait", begin, begin)


@scenario.must_see("the SYN-ACK makes it ESTABLISHED, epoll brings EPOLLOUT, and SO_ERROR is asked")
def writable_is_connected(seen: Seen) -> str | None:
    released = seen.step(RELEASES).order
    notices = [(event, told) for event, told in seen.actor("client").notices() if event.order > released and told]
    asked = next((call.enter for call in seen.calls("client", "getsockopt") if call.enter.order > released), None)
    brought = [(data & CPYTHON, mask) for data, mask in notices[0][1]] if notices else []
    if brought != [(dialed(seen), "EPOLLOUT")]:
        return f"epoll brought {brought or 'nothing'}"
    return seen.in_order(
        ("the SYN-ACK arrives", next(iter(seen.arrived("server", "SYN ACK")), None)),
        ("ESTABLISHED", seen.reached("client", "ESTABLISHED")),
        ("epoll_wait returns", notices[0][0]),
        ("SO_ERROR is asked", asked),
    )


@scenario.must_see("then it is taken out of epoll, put in again for EPOLLIN, and taken out before it is closed")
def reader(seen: Seen) -> str | None:
    told = [(operation, mask if operation == ADD else "") for operation, mask, _ in orders(seen)]
    return seen.same(told, [(ADD, "EPOLLOUT"), (DELETE, ""), (ADD, "EPOLLIN"), (DELETE, "")], "what epoll was asked")


@scenario.must_see("the client goes through SYN_SENT, ESTABLISHED and CLOSE_WAIT to its end")
def path(seen: Seen) -> str | None:
    return seen.went_through("client", "SYN_SENT", "ESTABLISHED", "CLOSE_WAIT", "CLOSE")
