"""What awaiting is made of: asyncio's tasks between the loop and the kernel.

`await reader.readexactly(4)` puts the task aside until a future has a result. The loop, one thread in epoll_wait,
learns that the descriptor is readable, reads from the socket itself, and feeds the stream, which gives the future its
result; that puts the task into the run queue, and in the same round it has its turn. So, unlike a netpoller's task, a
coroutine is never handed the descriptor: by the time it runs, the bytes lie in its stream's buffer. No EAGAIN is
needed, since epoll is level-triggered here: it would tell again.
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

scenario = Scenario(
    name="asyncio-tasks",
    title="Inside await: asyncio's tasks, their futures, and one loop",
    topic="servers",
    place=65,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "the task waits; the loop (task 0) waits in select",
        "epoll_wait returns, recv by the loop, and only then the task runs",
    ),
    questions=(
        ("Who calls recv(), the coroutine or the loop?", "The loop, before the coroutine has its turn"),
        ("How many threads serve ten coroutines?", "One"),
    ),
)

scenario.runs(
    "server",
    "An echo server on asyncio's streams starts, and tells of its tasks.",
    ["{python}", "-m", "scenarios.servers.asyncio_streams", "--host", "{address}", "--port", "{port}", "--report"],
)


@scenario.step("client", "A client connects: a task is made for it, which awaits its first bytes.", lasts=0.1)
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("client", "It says hello and reads the echo: the loop reads, the task answers.", lasts=0.1)
def says_hello(me: Actor) -> None:
    send(me.connection, HELLO)
    if recv_exactly(me.connection, len(HELLO)) != HELLO:
        raise AssertionError("that is no echo")


@scenario.step("client", "It shuts its direction, reads the end, and closes: the task is over.", lasts=0.1)
def leaves(me: Actor) -> None:
    shutdown(me.connection, SHUT_WR)
    if recv_to_end(me.connection):
        raise AssertionError("there was nothing more to be echoed")
    close(me.connection)


def states(seen: Seen, task: int) -> list[Event]:
    """Of a task of the server."""
    return [event for event in seen.actor("server").events if event.name == "task:state" and event["task"] == task]


def handler(seen: Seen) -> int:
    """The number of the task that serves the client: the one that waited for a descriptor. 0: there was none."""
    every = (event for event in seen.actor("server").events if event.name == "task:state")
    return next((int(event["task"]) for event in every if event["new"] == "waiting" and event.fd >= 0), 0)


@scenario.must_see("a task is made for the client, waits for its descriptor, has turns, and comes to its end")
def life(seen: Seen) -> str | None:
    told = [event["new"] for event in states(seen, handler(seen))]
    if told[:1] != ["new"] or told[-1:] != ["over"] or told.count("waiting") < 2:
        return f"its states were {', '.join(told) or 'none'}"
    return None


@scenario.must_see("the loop has read from the socket before the task has its turn")
def loop_reads(seen: Seen) -> str | None:
    turns = states(seen, handler(seen))
    at = next((n for n, event in enumerate(turns) if event["new"] == "waiting" and event.fd >= 0), None)
    if at is None or at + 2 >= len(turns):
        return "the task never waited for a descriptor"
    waits, runnable, runs = turns[at : at + 3]
    reads = [call for call in seen.calls("server", "recv", "read") if call.enter.fd == waits.fd]
    read = next((call.leave for call in reads if call.enter.order > waits.order), None)
    return seen.in_order(("the task waits", waits), ("recv", read), ("run queue", runnable), ("its turn", runs))


@scenario.must_see("the loop waits in epoll_wait, and runs when that returns")
def loop_sleeps(seen: Seen) -> str | None:
    rounds = [event["new"] for event in states(seen, 0)]
    waits = seen.calls("server", "epoll_wait")
    if rounds.count("waiting") < 3 or not waits:  # a client that is quicker than the loop is there when it first looks
        return f"the loop waited {rounds.count('waiting')} times"
    return None


@scenario.must_see("in the table of who waits the client's descriptor comes, is waited for, and goes")
def table(seen: Seen) -> str | None:
    fd = next((event.fd for event in states(seen, handler(seen)) if event.fd >= 0), -1)
    changes = [e["why"] for e in seen.actor("server").events if e.name == "polldesc:change" and e.fd == fd]
    if changes[:1] != ["open"] or "park" not in changes or changes[-1:] != ["close"]:
        return f"it went through {', '.join(changes) or 'nothing'}"
    return None
