"""asyncio opens a listener: what a runtime does besides socket, bind and listen.

A program that says `asyncio.start_server(...)` has said nothing of system calls. The runtime makes the three that every
listener needs, and some more of its own: it allows the address to be used again, makes the descriptor non-blocking, and
puts it under epoll, since nobody will ever sleep in accept(). When a client comes, the loop wakes from epoll_wait, and
accepts until there is nobody left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SHUT_WR, close, connect, recv_to_end, send, shutdown, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="asyncio-listener",
    title="asyncio as a server: what its loop asks of the kernel",
    topic="servers",
    place=60,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "system calls nobody has written",
        "epoll_ctl for the listener, then for the connection",
        "accept until EAGAIN",
    ),
    questions=(
        ("Where does the server's thread sleep?", "In epoll_wait, whatever its coroutines wait for"),
        ("Which call takes the connection out of epoll?", "An epoll_ctl of asyncio's own, before close()"),
    ),
)

scenario.runs(
    "server",
    "An echo server on asyncio's streams starts.",
    ["{python}", "-m", "scenarios.servers.asyncio_streams", "--host", "{address}", "--port", "{port}"],
)


@scenario.step("client", "A client connects, says a message, reads its echo, and closes.", watch="the loop at work")
def talks(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    send(me.connection, b"\0\0\0\5hello")
    shutdown(me.connection, SHUT_WR)
    if recv_to_end(me.connection) != b"\0\0\0\5hello":
        raise AssertionError("that is no echo")
    close(me.connection)


@scenario.must_see("the server makes socket, bind and listen, and more than these on the way")
def more_than_three(seen: Seen) -> str | None:
    names = [call.enter.call for call in seen.calls("server")]
    missing = [name for name in ("socket", "bind", "listen", "setsockopt", "epoll_ctl") if name not in names]
    return f"it makes no {missing[0]}" if missing else None


@scenario.must_see("listener and connection are under epoll, and are taken out of it")
def under_epoll(seen: Seen) -> str | None:
    operations = [operation for operation, _, _ in seen.actor("server").registrations()]
    return None if operations.count(1) >= 2 and operations.count(2) >= 1 else f"its epoll_ctl operations: {operations}"


@scenario.must_see("what the client says comes back, and both sides end in good order")
def echo(seen: Seen) -> str | None:
    return seen.went_through("server", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK")
