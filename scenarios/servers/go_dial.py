"""Inside Dial(): a Go client waits for its handshake as a writer.

A goroutine that dials looks blocked, and no thread is. The runtime calls connect() on a non-blocking socket, which
sends the SYN and returns EINPROGRESS; then it registers the socket with epoll, as every other, for both directions and
edge-triggered, and parks the goroutine in wg of its poll descriptor: it waits for EPOLLOUT. The wire here holds the
SYN-ACK, so that it can be seen parked. When the SYN-ACK arrives the socket is writable, wg turns ready, the goroutine
runs and asks SO_ERROR how it has ended (net/fd_unix.go, netFD.connect).
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

ADD = 1
"""EPOLL_CTL_ADD."""
RELEASES = 4
"""The step at whose beginning the goroutine must be parked."""
WORDS = b"welcome"

scenario = Scenario(
    name="go-dial",
    title="Inside Dial(): a Go client parks as a writer until it is connected",
    topic="servers",
    place=35,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "connect gives EINPROGRESS; only then the socket is put under epoll",
        "wg holds the goroutine that dials, while its socket is in SYN_SENT",
        "the SYN-ACK arrives: writable, wg ready, SO_ERROR",
    ),
    questions=(
        ("In which place of the poll descriptor does the dialing goroutine stand?", "In wg: it waits for writable"),
        ("Which flags is a connecting socket registered with?", "All: EPOLLIN, EPOLLOUT, EPOLLRDHUP and EPOLLET"),
        ("How does Dial() learn whether it was refused?", "By SO_ERROR, once the socket is writable"),
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
    "A Go client dials. Its SYN goes out, and its goroutine parks.",
    ["{go:dial}", "{address:server}", "{port}"],
    listens=None,
    watch="SYN_SENT; wg holds goroutine 1, rg nobody",
    rests=True,
)


@scenario.step(
    "network",
    "The wire lets the SYN-ACK go: the goroutine wakes, dials no more, and parks as a reader.",
    rests="client",
)
def releases(me: Network) -> None:
    me.mend()
    me.release()


@scenario.step(
    "server", "The server accepts, has a word to say, and closes; the client reads it, and ends.", ends="client"
)
def speaks(me: Actor) -> None:
    me.connection = accept(me.listener)
    send(me.connection, WORDS)
    close(me.connection)


def dialed(seen: Seen) -> int:
    """The descriptor of the connection."""
    return next((call.enter.fd for call in seen.calls("client", "connect") if call.error == "EINPROGRESS"), -1)


def changes(seen: Seen) -> list[Event]:
    """What happened to its poll descriptor."""
    every = [event for event in seen.actor("client").events if event.name == "polldesc:change"]
    if not every:
        seen.cannot_tell("poll descriptors are seen by probes in the Go program only")
    return [event for event in every if event.fd == dialed(seen)]


def registered(seen: Seen) -> tuple[Event | None, set[str]]:
    """The first time that the connecting socket was put under epoll, and for what."""
    added = [event for event in seen.all_of("epoll:ctl") if event.pid == seen.actor("client").pid]
    masks = [mask for op, fd, mask in seen.actor("client").registrations() if op == ADD and fd == dialed(seen)]
    first = next((event for event in added if event["op"] == ADD and event.fd == dialed(seen)), None)
    return first, set(masks[0].split("|")) if masks else set()


@scenario.must_see("connect() gives EINPROGRESS, and after it the socket is registered for both directions at once")
def in_progress(seen: Seen) -> str | None:
    call = next((call for call in seen.calls("client", "connect") if call.error == "EINPROGRESS"), None)
    event, mask = registered(seen)
    if not {"EPOLLIN", "EPOLLOUT", "EPOLLET"} <= mask:
        return f"it was registered for {'|'.join(sorted(mask)) or 'nothing'}"
    return seen.in_order(("connect() returns", call.leave if call else None), ("epoll_ctl", event))


@scenario.must_see("while the SYN-ACK is on its way the goroutine that dials is parked in wg, and nobody in rg")
def parked_as_writer(seen: Seen) -> str | None:
    before = [event for event in changes(seen) if event.order < seen.step(RELEASES).order]
    last = before[-1] if before else None
    return seen.same((last["rg"], last["wg"]) if last else None, ("nil", "1"), "rg and wg")


@scenario.must_see(
    "the SYN-ACK makes it ESTABLISHED, that is writable; wg is ready, the goroutine runs, SO_ERROR is asked"
)
def writable_is_connected(seen: Seen) -> str | None:
    released = seen.step(RELEASES).order
    notice = next((e for e in changes(seen) if e.order > released and e["wg"] == "ready"), None)
    tasks = [event for event in seen.actor("client").events if event.name == "task:state" and event["task"] == 1]
    runs = next((event for event in tasks if event["new"] == "running" and event.order > released), None)
    asked = next((call.enter for call in seen.calls("client", "getsockopt") if call.enter.order > released), None)
    return seen.in_order(
        ("the SYN-ACK arrives", next(iter(seen.arrived("server", "SYN ACK")), None)),
        ("ESTABLISHED", seen.reached("client", "ESTABLISHED")),
        ("wg is ready", notice),
        ("the goroutine runs", runs),
        ("SO_ERROR is asked", asked),
    )


@scenario.must_see("later the same goroutine is parked in rg, reads what the server says, and comes to the end")
def reads(seen: Seen) -> str | None:
    parked = [event for event in changes(seen) if event["why"] == "park" and event["rg"] == "1"]
    got = [call.result for call in seen.calls("client", "read") if call.enter.fd == dialed(seen) and not call.error]
    return seen.same((bool(parked), got[:1], got[-1:]), (True, [len(WORDS)], [0]), "parked, first and last read()")


@scenario.must_see("the client goes through SYN_SENT, ESTABLISHED and CLOSE_WAIT to its end")
def path(seen: Seen) -> str | None:
    return seen.went_through("client", "SYN_SENT", "ESTABLISHED", "CLOSE_WAIT", "CLOSE")
