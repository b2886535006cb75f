"""Inside Accept() and Read(): a real Go program's goroutines, its poll descriptors, and who asks epoll.

One goroutine accepts, one for each connection reads and writes, and all of it looks blocking. Go's runtime makes every
socket non-blocking and registers it with epoll once, edge-triggered, for both directions (runtime/netpoll_epoll.go).
Where a call says EAGAIN, the goroutine writes itself into the poll descriptor of the file descriptor (rg if it reads,
wg if it writes) and is parked: it is on no thread then. A thread that finds nothing to run waits in epoll; what this
brings makes the place "ready", takes the goroutine out, and runs it on that very thread. The end of the client's words
(FIN) is readiness, too: Read() is tried again and says EOF.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SHUT_WR, close, connect, recv_exactly, recv_to_end, send, shutdown, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen
    from tracer.timeline import Event

HELLO = b"hello"
MAIN = "1"
"""The number of the goroutine that runs main()."""
ADD = 1
"""EPOLL_CTL_ADD."""
CONNECTS, SPEAKS, SHUTS, CLOSES = 2, 3, 4, 5
"""Steps at whose beginning the table is looked at."""

scenario = Scenario(
    name="go-echo",
    title="Inside Accept() and Read(): a Go server parks and wakes its goroutines",
    topic="servers",
    place=30,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "the poll descriptors (Q): the listener's rg holds goroutine 1, the connection's its own goroutine",
        "accept4 or read gives EAGAIN, the goroutine parks, its thread goes on to epoll",
        "epoll_pwait returns, rg turns ready, the goroutine is runnable, runs, and takes the notice away",
    ),
    questions=(
        ("The server waits in Accept(). On which thread is goroutine 1?", "On none: it stands in rg of the listener"),
        ("How often is a connection registered with epoll?", "Once, when it is accepted, for both directions"),
        ("What wakes the reader when the client half-closes?", "Readiness, as with data: read() then gives 0, EOF"),
    ),
)

scenario.runs(
    "server",
    "The Go server listens. Its goroutine 1 tries to accept, is told EAGAIN, and parks.",
    ["{go:echo}", "{address}", "{port}"],
    watch="one poll descriptor, the listener's: rg 1, wg nil",
    rests=True,
)


@scenario.step(
    "client",
    "The client connects. Goroutine 1 accepts, makes a goroutine for the connection, and both park.",
    rests="server",
    watch="two poll descriptors, a goroutine in the rg of each",
)
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step(
    "client", "It says hello and reads the echo: the reader is woken, echoes, and parks again.", rests="server"
)
def says_hello(me: Actor) -> None:
    send(me.connection, HELLO)
    if recv_exactly(me.connection, len(HELLO)) != HELLO:
        raise AssertionError("that is no echo")


@scenario.step(
    "client",
    "It shuts its direction and reads the end: the FIN has woken the reader, who closes.",
    rests="server",
    watch="rg ready, taken, and the poll descriptor is gone",
)
def half_closes(me: Actor) -> None:
    shutdown(me.connection, SHUT_WR)
    if recv_to_end(me.connection):
        raise AssertionError("there was nothing more to be echoed")


@scenario.step("client", "The client closes its descriptor.", watch="the table has the listener alone")
def closes(me: Actor) -> None:
    close(me.connection)


def changes(seen: Seen, actor: str = "server") -> list[Event]:
    """What happened to the poll descriptors of a program."""
    told = [event for event in seen.actor(actor).events if event.name == "polldesc:change"]
    if not told:
        seen.cannot_tell("poll descriptors are seen by probes in the Go program only")
    return told


def table(seen: Seen, step: int) -> dict[int, tuple[str, str]]:
    """Who is parked where when a step begins: (rg, wg) by descriptor."""
    held: dict[int, tuple[str, str]] = {}
    for event in changes(seen):
        if event.order > seen.step(step).order:
            break
        held[event.fd] = event["rg"], event["wg"]
        if event["why"] == "close":
            del held[event.fd]
    return held


def listener(seen: Seen) -> int:
    """The listening descriptor: the first that was put under epoll for its sake."""
    return int(next(call.enter.fd for call in seen.calls("server", "listen")))


def connection(seen: Seen) -> int:
    """The descriptor that accept gave."""
    return next((call.result for call in seen.calls("server", "accept") if call.result not in (None, -1)), -1) or -1


def states(seen: Seen, task: str) -> list[Event]:
    """Each change of a goroutine's state."""
    return [event for event in seen.actor("server").events if event.name == "task:state" and str(event["task"]) == task]


@scenario.must_see("parked in accept: the table has the listener alone, goroutine 1 in its rg, nobody in wg")
def parked_in_accept(seen: Seen) -> str | None:
    return seen.same(table(seen, CONNECTS), {listener(seen): (MAIN, "nil")}, "the table")


@scenario.must_see("connection accepted: both goroutines are parked, each in the rg of its own descriptor")
def both_parked(seen: Seen) -> str | None:
    held = table(seen, SPEAKS)
    readers = {fd: rg for fd, (rg, _) in held.items()}
    worker = readers.get(connection(seen), "")
    if worker in ("", MAIN) or not worker.isdigit():
        return f"the table was {held}"
    return seen.same(readers, {listener(seen): MAIN, connection(seen): worker}, "who reads")


@scenario.must_see("the echo done, the same goroutine is parked in rg again, and nobody in wg")
def parked_again(seen: Seen) -> str | None:
    before, after = (table(seen, step).get(connection(seen), ("", "")) for step in (SPEAKS, SHUTS))
    return f"wg holds {after[1]}" if after[1].isdigit() else seen.same(after[0], before[0], "rg")


@scenario.must_see("EOF: the FIN is readiness: rg ready, the notice taken, read() gives 0, the poll descriptor closed")
def end_of_file(seen: Seen) -> str | None:
    fd, shut = connection(seen), seen.step(SHUTS).order
    later = [event for event in changes(seen) if event.fd == fd and event.order > shut]
    notice, taken, closed = (
        next((event for event in later if event["why"] in words), None)
        for words in (("readable", "both"), ("taken",), ("close",))
    )
    last = [call for call in seen.calls("server", "read") if call.enter.fd == fd][-1]
    if last.result != 0:
        return f"the last read() gave {last.result}, not the end"
    return seen.in_order(
        ("the FIN arrives", seen.first("client", "FIN")),
        ("rg is ready", notice),
        ("the notice is taken", taken),
        ("read() gives 0", last.leave),
        ("the poll descriptor is closed", closed),
    )


@scenario.must_see("closed: the table has the listener alone again, with goroutine 1, and the other one is over")
def alone_again(seen: Seen) -> str | None:
    worker = table(seen, SPEAKS).get(connection(seen), ("", ""))[0]
    end = [event["new"] for event in states(seen, worker)][-1:]
    return seen.same(table(seen, CLOSES), {listener(seen): (MAIN, "nil")}, "the table") or seen.same(
        end, ["over"], f"goroutine {worker}"
    )


def waits(seen: Seen) -> list[tuple[Event, Event]]:
    """Each wait of a goroutine for a descriptor that has ended: the park, and the change by which it is runnable."""
    found = []
    for task in {str(event["task"]) for event in seen.actor("server").events if event.name == "task:state"}:
        told = states(seen, task)
        for park, wake in pairwise(told):
            if park["new"] == "waiting" and park.fd >= 0:
                found.append((park, wake))
    return sorted(found, key=lambda pair: pair[0].order)


@scenario.must_see("before each park the descriptor said EAGAIN")
def eagain_before(seen: Seen) -> str | None:
    calls = seen.calls("server", "accept", "read")
    for park, _ in waits(seen):
        before = [call for call in calls if call.enter.fd == park.fd and call.enter.order < park.order]
        if not before or before[-1].error != "EAGAIN":
            return f"goroutine {park['task']} parked on descriptor {park.fd} without an EAGAIN"
    return None if len(waits(seen)) >= 3 else f"there were {len(waits(seen))} waits, not three at least"


@scenario.must_see("before each waking the kernel told epoll, and epoll_pwait came back with something")
def readiness_before(seen: Seen) -> str | None:
    ready, back = seen.all_of("epoll:ready"), [event for event, _ in seen.actor("server").notices() if event["n"] > 0]
    for park, wake in waits(seen):
        between = range(park.order, wake.order)
        told = [event for event in ready if event.fd == park.fd and event.order < wake.order]
        if not told or not any(event.order in between for event in back):
            return f"goroutine {park['task']} was woken on descriptor {park.fd} without a notice of the kernel"
    return None


@scenario.must_see("a descriptor is registered with epoll once, for both directions, however often it is waited for")
def registered_once(seen: Seen) -> str | None:
    added = [(fd, set(mask.split("|"))) for op, fd, mask in seen.actor("server").registrations() if op == ADD]
    opened = [event.fd for event in changes(seen) if event["why"] == "open"]
    for fd in (listener(seen), connection(seen)):
        masks = [mask for each, mask in added if each == fd]
        if len(masks) != opened.count(fd) or not {"EPOLLIN", "EPOLLOUT", "EPOLLET"} <= masks[-1]:
            return (
                f"descriptor {fd} was registered {len(masks)} times, for {masks}, and opened {opened.count(fd)} times"
            )
    parked = sum(park.fd == connection(seen) for park, _ in waits(seen))
    return None if parked > 1 else f"the connection was waited for {parked} times"


@scenario.must_see("a thread to which epoll brought something runs goroutines as well: it is no poller's own")
def any_thread(seen: Seen) -> str | None:
    events = seen.actor("server").events
    brought = {event.tid for event, _ in seen.actor("server").notices() if event["n"] > 0}
    ran = {event.tid for event in events if event.name == "task:state" and event["new"] == "running"}
    return None if brought & ran else f"epoll brought something to {len(brought)} threads, none of which ran any"


@scenario.must_see("the client half-closes, and has TIME_WAIT in the end")
def half_close(seen: Seen) -> str | None:
    return seen.went_through("client", "ESTABLISHED", "FIN_WAIT1", "TIME_WAIT")
