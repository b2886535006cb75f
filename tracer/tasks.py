"""Tasks and poll descriptors, folded: what each goroutine, asyncio task or netpoller task does, who is parked where.

A parked task is on no thread; the only trace of it is its number in a place of a poll descriptor (rg for reading, wg
for writing), or in a queue of the runtime. So the two tables belong together: whoever waits for IO stands in one of
them, and the run queue is all tasks that are runnable, in the order in which they became so.

Each function here takes the world and one event, and replaces records of the world (tracer.world).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tracer.task_fields import NIL, OVER, RUNNABLE
from tracer.timeline import Event
from tracer.views import PollView, TaskView

if TYPE_CHECKING:
    from tracer.world import World


def _state(world: World, event: Event) -> None:
    key, new = (event.pid, event["task"]), event["new"]
    if new == OVER:
        world.tasks.pop(key, None)
        return
    known = world.tasks.get(key)
    since = known.since if known is not None and known.state == new else event.time
    order = known.order if known is not None and known.state == new else event.order
    name = event["name"] or (known.name if known is not None else "")
    world.tasks[key] = TaskView(
        key[1], event.pid, event["runtime"], name, new, since, order, event["why"], event.fd, event["by"], event.tid,
        event.evidence,
    )  # fmt: skip


def _poll(world: World, event: Event) -> None:
    key = event.pid, event.fd
    if event["why"] == "close":
        world.polls.pop(key, None)
        return
    rg, wg = event["rg"] or NIL, event["wg"] or NIL
    world.polls[key] = PollView(
        event.pid, event.fd, event["desc"], rg, wg, event["why"], event.time, event["runtime"], event.evidence
    )


def ended(world: World, pid: int) -> None:
    """The process has ended: its tasks and poll descriptors with it."""
    for key in [key for key in world.tasks if key[0] == pid]:
        del world.tasks[key]
    for key in [key for key in world.polls if key[0] == pid]:
        del world.polls[key]


def of_process(world: World, pid: int) -> list[TaskView]:
    """The tasks of a process by number."""
    return sorted((view for view in world.tasks.values() if view.pid == pid), key=lambda view: view.task)


def run_queue(world: World, pid: int) -> list[TaskView]:
    """The tasks that could run, in the order in which they became runnable."""
    return sorted((view for view in of_process(world, pid) if view.state == RUNNABLE), key=lambda view: view.order)


def poll_table(world: World, pid: int) -> list[PollView]:
    """The poll descriptors of a process by file descriptor."""
    return sorted((view for view in world.polls.values() if view.pid == pid), key=lambda view: view.fd)


FOLDS: Final[dict[str, Callable[[World, Event], None]]] = {"task:state": _state, "polldesc:change": _poll}
"""The kinds of event that a runtime is behind, and what each changes."""
