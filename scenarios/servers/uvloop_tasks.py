"""The same coroutines over another loop: what uvloop changes between a task and the kernel, and what it does not.

The server's code is that of asyncio's story, to the line. Its loop is libuv, written in C: it waits in epoll_pwait,
reads from the socket itself, and feeds the same streams, so tasks wait, become runnable and have their turns in the
same order. What a runtime tells of itself ends at that border: asyncio's selector can be followed and makes a table of
who waits for what, libuv's cannot, so here the loop has no lane, and its sleep is known from the kernel alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.script import Scenario
from scenarios.servers.asyncio_tasks import connects, leaves, life, loop_reads, says_hello

if TYPE_CHECKING:
    from scenarios.sights import Seen
    from tracer.timeline import Event

scenario = Scenario(
    name="uvloop-tasks",
    title="Inside await over uvloop: the same tasks, a loop in C",
    topic="servers",
    place=66,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "the tasks' lanes are those of asyncio-tasks; there is none for the loop",
        "epoll_pwait, read by libuv, and only then the task runs",
    ),
    questions=(
        ("Why is there no table of who waits here?", "libuv keeps its selector to itself, and nothing tells of it"),
        ("Does a coroutine notice which loop runs it?", "No: the order of its states is the same"),
    ),
)

scenario.runs(
    "server",
    "An echo server on asyncio's streams starts over uvloop, and tells of its tasks.",
    ["{python}", "-m", "scenarios.servers.uvloop_streams", "--host", "{address}", "--port", "{port}", "--report"],
)
scenario.step("client", "A client connects: a task is made for it, which awaits its first bytes.", lasts=0.1)(connects)
scenario.step("client", "It says hello and reads the echo: libuv reads, the task answers.", lasts=0.1)(says_hello)
scenario.step("client", "It shuts its direction, reads the end, and closes: the task is over.", lasts=0.1)(leaves)

scenario.must_see("a task is made for the client, waits for its descriptor, has turns, and comes to its end")(life)
scenario.must_see("the loop has read from the socket before the task has its turn")(loop_reads)


@scenario.must_see("the loop sleeps in the kernel, and tells of no lane of its own and of no table")
def loop_is_silent(seen: Seen) -> str | None:
    slept = seen.calls("server", "epoll_wait", "epoll_pwait")
    if not slept:
        return "it never waited in epoll"
    told = [e for e in seen.actor("server").events if e.name == "polldesc:change" or _of_loop(e)]
    return f"{told[0].name} was told" if told else None


def _of_loop(event: Event) -> bool:
    return event.name == "task:state" and event["task"] == 0


@scenario.must_see("one thread serves the client")
def one_thread(seen: Seen) -> str | None:
    threads = {event.tid for event in seen.actor("server").events if event.name == "task:state"}
    return seen.same(len(threads), 1, "threads that ran tasks")
