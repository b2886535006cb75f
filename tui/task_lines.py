"""Tasks and poll descriptors at the cursor, line by line: what each goroutine or other task does, who is parked where.

A server has as many tasks as connections, so only those are listed that matter to the connection looked at: whoever is
parked on its descriptor, whoever runs or could run, and the first of the others; the rest is counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from textual.content import Content

from tracer.kinds import EVIDENCE_MARK
from tracer.task_fields import CALLING, NIL, READY, RUNNABLE, RUNNING, WAIT, WAITING
from tracer.tasks import of_process, poll_table, run_queue
from tracer.timeline import Timeline
from tracer.views import TaskView
from tracer.words import clean, duration
from tracer.world import World
from tui.thread_lanes import task_lane

MOST: Final = 12
"""Tasks, and poll descriptors, of one process that are listed."""
SIGNS: Final = {RUNNING: "▶", RUNNABLE: "▷", CALLING: "▶", WAITING: "‖"}
"""What a task does, with a sign: nothing hangs on colour."""
_FIRST: Final = {RUNNING: 0, CALLING: 0, RUNNABLE: 1, WAITING: 2}


def task_lines(world: World, pid: int, fds: set[int], now: int) -> list[tuple[TaskView | None, Content]]:
    """The tasks of a process, those on the descriptors `fds` first; with each line the task that it is about."""
    tasks = of_process(world, pid)
    if not tasks:
        return []
    counts = Counter(view.state for view in tasks)
    told = ", ".join(f"{counts[state]} {state}" for state in (RUNNING, CALLING, RUNNABLE, WAITING) if counts[state])
    runtime = clean(tasks[0].runtime)
    lines: list[tuple[TaskView | None, Content]] = [(None, Content(f"  {runtime} tasks: {len(tasks)}, {told}"))]
    queue = run_queue(world, pid)
    if queue:
        names = ", ".join(str(view.task) for view in queue[:MOST]) + (" …" if len(queue) > MOST else "")
        lines.append((None, Content(f"  run queue: {names}")))
    # a runtime's own tasks come last: they are always there
    order = sorted(
        tasks, key=lambda view: (view.fd not in fds, _FIRST.get(view.state, 3), view.fd < 0, view.task)
    )[:MOST]  # fmt: skip
    lines += [(view, _task(view, now)) for view in order]
    if len(tasks) > MOST:
        lines.append((None, Content(f"  and {len(tasks) - MOST:,} more")))
    return lines


def _task(view: TaskView, now: int) -> Content:
    since = f" for {duration(now - view.since)}" if now > view.since else ""
    name = f" {clean(view.name)}" if view.name else ""
    state = f"{SIGNS.get(view.state, '?')} {clean(view.state)}"
    what = f": {clean(view.why)}" if view.why else ""
    what += f" on fd {view.fd}" if view.fd >= 0 else ""
    what += f", by {view.by}" if view.state == RUNNABLE and view.by not in (0, view.task) else ""
    mark = EVIDENCE_MARK[view.evidence]
    return Content(f"  task {view.task}{name}  ") + Content.styled(state, "bold") + Content(f"{mark}{what}{since}")


def task_drawn(timeline: Timeline, view: TaskView, first: int, stop: int, cursor: int, width: int) -> str:
    """Its lane, "" where there is nothing to draw."""
    drawn = task_lane(timeline, view.pid, view.task, first, stop, cursor, width)
    return drawn if drawn.strip(" ┃") else ""


def poll_lines(world: World, pid: int, fds: set[int]) -> list[Content]:
    """The poll descriptors of a process: who is parked where, or what is ready and nobody has taken."""
    table = poll_table(world, pid)
    if not table:
        return []
    lines = [Content.styled(f"poll descriptors of process {pid} ({clean(table[0].runtime)})", "bold")]
    order = sorted(table, key=lambda view: (view.fd not in fds, view.fd))
    for view in order[:MOST]:
        line = Content(f"  fd {view.fd:<4} rg ") + _place(view.rg) + Content("  wg ") + _place(view.wg)
        lines.append(line + Content(f"  {EVIDENCE_MARK[view.evidence]}({clean(view.why)})"))
    if len(table) > MOST:
        lines.append(Content(f"  and {len(table) - MOST:,} more"))
    return lines


def _place(what: str) -> Content:
    if what in (NIL, WAIT):
        return Content(f"{what:<8}")
    if what == READY:
        return Content.styled(f"{'● ready':<8}", "bold")
    return Content.styled(f"{f'‖ {clean(what)}' if what else '':<8}", "bold")
