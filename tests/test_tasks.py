"""Tasks and poll descriptors folded: who is parked where, who could run, and what is gone."""

from __future__ import annotations

from typing import Any

from tracer.batch import BatchBuilder
from tracer.kinds import Evidence, Source
from tracer.tasks import of_process, poll_table, run_queue
from tracer.timeline import Timeline
from tracer.world import World

GO = {"runtime": b"go"}
PID = 7


class Story:
    """Events one after the other, and the world after them."""

    def __init__(self) -> None:
        self.timeline, self.world, self._at = Timeline(), World(), 0

    def tell(self, kind: str, fd: int = -1, pid: int = PID, **own: Any) -> World:
        builder = BatchBuilder(Source.RUNTIME, Evidence.OBSERVED)
        self._at += 10
        words = {name: value.encode() if isinstance(value, str) else value for name, value in own.items()}
        builder.add(kind, self._at, words, pid=pid, tid=pid, fd=fd)
        first = self.timeline.append(builder.take())
        self.world.apply(self.timeline[first])
        return self.world

    def task(self, number: int, old: str, new: str, **more: Any) -> World:
        return self.tell("task:state", task=number, old=old, new=new, **GO, **more)

    def poll(self, fd: int, why: str, rg: str, wg: str = "nil", **more: Any) -> World:
        return self.tell("polldesc:change", fd, why=why, rg=rg, wg=wg, **GO, **more)


def test_a_task_from_birth_to_end() -> None:
    story = Story()
    world = story.task(5, "new", "runnable", by=1, name="main.serve")
    assert (world.tasks[PID, 5].state, world.tasks[PID, 5].by) == ("runnable", 1)
    world = story.task(5, "runnable", "running")
    assert world.tasks[PID, 5].name == "main.serve", "the name is told once"
    world = story.task(5, "running", "waiting", why="IO wait", fd=4)
    view = world.tasks[PID, 5]
    assert (view.state, view.why, view.fd, view.since) == ("waiting", "IO wait", 4, 30)
    assert not of_process(story.task(5, "running", "over"), PID)


def test_the_run_queue_is_in_the_order_of_becoming_runnable() -> None:
    story = Story()
    for number in (9, 3, 6):
        story.task(number, "waiting", "runnable")
    story.task(3, "runnable", "running")
    story.task(4, "new", "runnable", pid=PID + 1)
    assert [view.task for view in run_queue(story.world, PID)] == [9, 6]
    story.task(3, "running", "runnable")  # preempted: behind the others again
    assert [view.task for view in run_queue(story.world, PID)] == [9, 6, 3]


def test_the_poll_table_holds_who_is_parked_until_it_is_closed() -> None:
    story = Story()
    story.poll(4, "open", "nil")
    story.poll(3, "park", "1")
    world = story.poll(4, "park", "5", "ready")
    assert [(view.fd, view.rg, view.wg) for view in poll_table(world, PID)] == [(3, "1", "nil"), (4, "5", "ready")]
    before = world.copy()
    story.poll(4, "close", "nil")
    assert [view.fd for view in poll_table(story.world, PID)] == [3]
    assert [view.fd for view in poll_table(before, PID)] == [3, 4], "a copy keeps its moment"


def test_with_its_process_everything_goes() -> None:
    story = Story()
    for pid in (PID, PID + 1):
        story.task(1, "new", "running", pid=pid)
        story.poll(3, "park", "1", pid=pid)
    world = story.tell("process:exit", comm="server")
    assert not of_process(world, PID)
    assert not poll_table(world, PID)
    assert of_process(world, PID + 1)
    assert poll_table(world, PID + 1)
