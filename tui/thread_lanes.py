"""The lane of a thread or task: whether it ran, could have run or slept, from the first event to the playhead.

The axis is events, as in the scrubber, so that a minute asleep leaves room for the microseconds awake. A cell shows
what the thread did at its end; the cursor's cell is marked.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tracer.events import NUMBER
from tracer.task_fields import CALLING, NEW, RUNNABLE, RUNNING, WAITING
from tracer.timeline import Timeline

CELLS: Final = {"running": "█", "runnable": "▒", "blocked": "░", "unknown": " "}
LEGEND: Final = "█ running  ▒ runnable  ░ asleep  ┃ cursor; an axis of events"
_BLOCKED: Final = NUMBER["thread:blocked"]
_MEANS: Final = {
    NUMBER["thread:running"]: "running", NUMBER["thread:woken"]: "runnable", _BLOCKED: "blocked",
    NUMBER["process:exit"]: "unknown",
}  # fmt: skip
_TASK: Final = {RUNNING: "running", CALLING: "running", NEW: "runnable", RUNNABLE: "runnable", WAITING: "blocked"}


def lane(timeline: Timeline, tid: int, first: int, stop: int, cursor: int, width: int) -> str:
    """`░░░▒██░░┃░` for events `first`..`stop` in `width` cells."""
    if stop <= first or width < 1:
        return ""
    orders = timeline.indices("tid", tid)
    orders = orders[: int(np.searchsorted(orders, stop))]
    known: dict[int, str] = {}
    for kind, what in _MEANS.items():
        mine = np.intersect1d(orders, timeline.indices("kind", kind), assume_unique=True).tolist()
        known |= dict.fromkeys(mine, what)
        if kind == _BLOCKED:  # preempted, it left the processor and not its work
            known |= {order: "runnable" for order in mine if not timeline[order]["was"]}
    return _drawn(known, first, stop, cursor, width)


def task_lane(timeline: Timeline, pid: int, task: int, first: int, stop: int, cursor: int, width: int) -> str:
    """The same for a task of a runtime: parked is asleep."""
    if stop <= first or width < 1:
        return ""
    orders = timeline.indices("kind", NUMBER["task:state"])
    mine = timeline.field("task:state", "task") == task
    known: dict[int, str] = {}
    for order in orders[mine[: len(orders)]].tolist():
        event = timeline[order]
        if order < stop and event.pid == pid:
            known[order] = _TASK.get(event["new"], "unknown")
    return _drawn(known, first, stop, cursor, width)


def _drawn(known: dict[int, str], first: int, stop: int, cursor: int, width: int) -> str:
    times = sorted(known)
    ends = first + (np.arange(1, width + 1) * (stop - first) + width - 1) // width - 1
    places = np.searchsorted(np.array(times, np.int64), ends, side="right") - 1
    cells = [CELLS[known[times[at]]] if at >= 0 else " " for at in places.tolist()]
    if first <= cursor < stop:
        cells[int(np.searchsorted(ends, cursor))] = "┃"
    return "".join(cells)
