"""What a blocking read is made of: a netpoller parks a task, and the kernel's notice wakes it.

The server here is written from top to bottom: accept, read, write, read again. None of it blocks. Each task has a small
stack of its own; when recv() says EAGAIN, the task writes itself into a table beside the descriptor (rg: who waits to
read) and hands the processor to the scheduler. When nobody can run, the one thread sleeps in epoll_wait. A packet
arrives, the socket's callback puts it on epoll's list, epoll_wait returns, the task is taken out of the table and into
the run queue, and its recv() is tried again. Go does the same for every goroutine (runtime/netpoll.go). The client says
something, then says its last words and shuts its direction at once: what wakes the reader then is data, and at its next
attempt it finds the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SHUT_WR, close, connect, recv_exactly, recv_to_end, send, shutdown, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen
    from tracer.timeline import Event

HELLO = b"\0\0\0\5hello"
LAST = b"\0\0\0\4last"
EAGAIN = -11

scenario = Scenario(
    name="netpoller-echo",
    title="Inside a blocking read: a netpoller parks and wakes its tasks",
    topic="servers",
    place=20,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "recv gives EAGAIN, and the task's number appears in rg",
        "the kernel's notice (epoll:ready), epoll_wait, the task in the run queue, recv again",
        "one thread, however many tasks are parked",
    ),
    questions=(
        ("Where is a parked task kept?", "In the place rg or wg of its descriptor, and nowhere in the kernel"),
        ("Why is recv() tried before parking?", "Edge-triggered epoll tells of a change once: it may have been told"),
        ("Which system call does the thread sleep in while three tasks are parked?", "epoll_wait, one for all"),
    ),
)

scenario.runs(
    "server",
    "The netpoller's echo server starts: one task, which tries accept() and parks.",
    ["{python}", "-m", "scenarios.servers.netpoll_one", "--host", "{address}", "--port", "{port}", "--report"],
    watch="the listener's rg holds the task's number",
)


@scenario.step("client", "The client connects. A second task is made for it, tries to read, and parks.", lasts=0.1)
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("client", "It says hello and reads the echo: the parked task is woken once.", lasts=0.1)
def says_hello(me: Actor) -> None:
    send(me.connection, HELLO)
    if recv_exactly(me.connection, len(HELLO)) != HELLO:
        raise AssertionError("that is no echo")


@scenario.step("client", "It says its last words, shuts its direction, and reads their echo and the end.", lasts=0.1)
def half_closes(me: Actor) -> None:
    send(me.connection, LAST)
    shutdown(me.connection, SHUT_WR)
    if recv_to_end(me.connection) != LAST:
        raise AssertionError("the last words were not echoed")


@scenario.step("client", "The client closes its descriptor.", watch="the table has the listener only")
def closes(me: Actor) -> None:
    close(me.connection)


def parks(seen: Seen) -> list[tuple[Event, Event | None]]:
    """Each park in the table with the change by which it ended; None for who is parked still."""
    changes = [event for event in seen.actor("server").events if event.name == "polldesc:change"]
    found = []
    for at, event in enumerate(changes):
        if event["why"] == "park":
            later = (each for each in changes[at + 1 :] if each.fd == event.fd and each["rg_was"] == event["rg"])
            found.append((event, next((each for each in later if each["rg"] != event["rg"]), None)))
    return found


@scenario.must_see("each park has its EAGAIN before it")
def eagain_before(seen: Seen) -> str | None:
    calls = seen.calls("server", "accept", "recv")
    every = parks(seen)
    for park, _ in every:
        before = [call for call in calls if call.enter.fd == park.fd and call.enter.order < park.order]
        last = before[-1].leave if before else None
        if last is None or last["ret"] != EAGAIN or last.order > park.order:
            return f"task {park['rg']} parked on descriptor {park.fd} without an EAGAIN"
    return None if len(every) >= 3 else f"there were {len(every)} parks, not three at least"


@scenario.must_see(
    "each waking has its readiness before it: the kernel's callback, then epoll_wait with that descriptor"
)
def readiness_before(seen: Seen) -> str | None:
    notices = seen.all_of("epoll:ready")
    waits = seen.actor("server").notices()
    for park, wake in parks(seen):
        if wake is None:
            continue
        if wake["why"] != "readable":
            return f"task {park['rg']} was woken by {wake['why']}"
        told = [event for event, entries in waits if any(fd == park.fd and "EPOLLIN" in mask for fd, mask in entries)]
        told = [event for event in told if park.order < event.order < wake.order]
        called = [event for event in notices if event["data"] == park.fd and event.order < wake.order]
        if not told or not called:
            return f"task {park['rg']} was woken on descriptor {park.fd} without a notice of the kernel"
    return None


@scenario.must_see("whoever is woken goes through the run queue onto the thread")
def runs_again(seen: Seen) -> str | None:
    states = [event for event in seen.actor("server").events if event.name == "task:state"]
    for park, wake in parks(seen):
        if wake is None:
            continue
        after = [each["new"] for each in states if each["task"] == int(park["rg"]) and each.order > park.order]
        if after[:3] != ["waiting", "runnable", "running"]:
            return f"task {park['rg']} went {', '.join(after[:3])} after it parked"
    return None


@scenario.must_see("the table holds the descriptors that epoll holds, at every moment")
def agrees(seen: Seen) -> str | None:
    table: set[int] = set()
    kernel: set[int] = set()
    seen.all_of("epoll:ctl")  # only probes see a program's
    for event in sorted(seen.actor("server").events, key=lambda event: event.time):  # the table's come by another way
        if event.name == "epoll:ctl" and event["op"] in (1, 2):
            (kernel.add if event["op"] == 1 else kernel.discard)(event.fd)
        elif event.name == "polldesc:change":
            (table.discard if event["why"] == "close" else table.add)(event.fd)
            if table != kernel:
                return f"the table has {sorted(table)}, epoll has {sorted(kernel)}"
    return None if len(table) == 1 else f"at the end the table has {sorted(table)}, not the listener alone"


@scenario.must_see("in the end one task is left, parked in accept")
def one_left(seen: Seen) -> str | None:
    states = {event["task"]: event for event in seen.actor("server").events if event.name == "task:state"}
    left = [f"{event['task']} {event['new']}" for event in states.values() if event["new"] != "over"]
    return seen.same(left, ["1 waiting"], "tasks that are left")


@scenario.must_see("one thread does it all")
def one_thread(seen: Seen) -> str | None:
    threads = {event.tid for event in seen.actor("server").events if event.name in ("task:state", "epoll:wait")}
    return seen.same(len(threads), 1, "threads")


@scenario.must_see("the client half-closes, and its last words are echoed against the closed direction")
def half_close(seen: Seen) -> str | None:
    return seen.went_through("client", "ESTABLISHED", "FIN_WAIT1", "TIME_WAIT")
