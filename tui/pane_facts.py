"""What each pane shows of a moment: the facts of the world folded up to the cursor, made into the pane's document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from textual.content import Content

from tracer.events import NUMBER
from tracer.kinds import EVIDENCE_MARK, Side
from tracer.resources import POLL, RECEIVE, REQUEST, SEND, WAIT, Ledger, Resource, by
from tracer.timeline import Event, Timeline
from tracer.views import SocketView, ThreadView
from tracer.words import clean, duration
from tui.moment import Facts
from tui.problems import SIGNS, Problems
from tui.queue_lines import descriptors, pane_lines
from tui.task_lines import task_drawn, task_lines
from tui.telling import sections
from tui.thread_lanes import LEGEND, lane
from tui.tools import Layer
from tui.widgets.inspector import Section
from tui.widgets.lines_pane import Lines
from tui.widgets.pane import link
from tui.widgets.resources import Item, Table
from tui.widgets.states import Peer, Peers

RUNNING = {"running": "▶ running", "runnable": "▷ runnable", "blocked": "‖ asleep", "unknown": "? not seen"}
"""What a thread does, with a sign: nothing hangs on colour."""
LANE = 36
"""Cells of a thread's lane."""
NOT_DEEP = "Too fast to follow: pause to see this."


class Seen(Protocol):
    """What a pane may look at beside the facts of the moment."""

    @property
    def timeline(self) -> Timeline:
        """All events."""
        ...

    @property
    def problems(self) -> Problems:
        """What is wrong, as far as it was looked for."""
        ...

    def covers(self) -> str:
        """What the list of problems is of, in a sentence, where the timeline does not hold everything; else ""."""
        ...

    def output(self) -> Sequence[str] | None:
        """The last lines that the launched command has written; None where none was launched."""
        ...

    def dissect(self, event: Event) -> Sequence[Layer]:
        """The layers of a packet. Raises ValueError, one sentence."""
        ...

    def ledger(self, conn: int) -> Ledger:
        """The resources of a connection."""
        ...


def inspector(facts: Facts, seen: Seen) -> tuple[Section, ...]:
    """All about the event."""
    return tuple(sections(facts, seen.timeline, seen.dissect))


def states(facts: Facts, seen: Seen) -> Peers:
    """Both ends on the diagram."""

    def peer(side: Side, end: SocketView) -> Peer:
        start = facts.asked.start
        path = tuple((order, seen.timeline[order].time - start, state) for order, state in end.path)
        return Peer(side, end.state, EVIDENCE_MARK[end.evidence], path)

    ends = ((side, facts.after.end(facts.conn, side)) for side in (Side.CLIENT, Side.SERVER))
    return Peers(tuple(peer(side, end) for side, end in ends if end is not None))


def queues(facts: Facts, seen: Seen) -> Lines:
    """All queues, epoll instances and descriptors."""
    since = facts.event.time - facts.asked.start if facts.event else 0
    lines = pane_lines(facts.after, facts.conn) if facts.deep else [Content(NOT_DEEP)]
    return Lines(f"Queues at +{duration(since)}", tuple(lines))


def resources(facts: Facts, seen: Seen) -> Table:
    """The lifecycle table up to the playhead."""
    timeline, limit = seen.timeline, facts.asked.limit
    rows = seen.ledger(facts.conn).at(limit) if facts.conn else []
    orders = sorted({order for row in rows for order in (row.born, row.freed) if order >= 0})
    place = {order: at / max(len(orders) - 1, 1) for at, order in enumerate(orders)}
    start = facts.asked.start

    def at(order: int) -> int:
        return timeline[order].time - start if order >= 0 else 0

    def what(order: int) -> str:
        return by(timeline[order]) if order >= 0 else ""

    def called(row: Resource) -> str:
        if row.kind == POLL:
            return f"poll descriptor of {row.name.partition(',')[0]}"
        return row.kind if row.kind in (REQUEST, WAIT, RECEIVE, SEND) else row.name

    cursor = facts.asked.cursor

    def now(row: Resource) -> str:
        return "ahead" if row.born > cursor else "gone" if 0 <= row.freed <= cursor else "here"

    items = tuple(
        Item(
            row.side, row.kind, called(row), row.born, row.freed, at(row.born), at(row.freed),
            place.get(row.born, 0.0), place.get(row.freed, 1.0), what(row.born), what(row.freed), row.bytes, row.limit,
            now(row),
        )
        for row in rows
    )  # fmt: skip
    untold = not len(timeline.indices("kind", NUMBER["polldesc:change"]))
    missing = ("Poll descriptors are kept by a language's runtime: no source tells of them here.",)
    return Table(facts.conn, items, missing if items and untold else ())


def programs(facts: Facts, seen: Seen) -> Lines:
    """The threads of both ends: what each does, since when, and on what it sleeps."""
    if not facts.deep:
        return Lines("Programs", (Content(NOT_DEEP),))
    world, now = facts.after, facts.event.time if facts.event else 0
    lines: list[Content] = []
    threads = sorted(world.threads.values(), key=lambda view: (view.pid, view.tid))
    ends = {end.pid: side for side in (Side.CLIENT, Side.SERVER) if (end := world.end(facts.conn, side)) and end.pid}
    pid = -1
    own = seen.timeline.indices("conn", facts.conn)
    first = int(own[0]) if facts.conn and len(own) else 0
    legend: list[Content] = []
    for view in threads:
        if view.pid != pid:
            if pid > 0:
                lines += _tasks(pid, facts, seen, first, now)
            pid = view.pid
            side = ends.get(pid)
            role = f"  {side.name.lower()} of #{facts.conn}" if side else ""
            lines.append(Content.styled(f"process {pid}{role}", "bold"))
        lines += _thread(view, facts, now)
        drawn = lane(seen.timeline, view.tid, first, facts.asked.limit, facts.asked.cursor, LANE)
        if drawn.strip(" ┃"):
            lines.append(Content(f"    {drawn}"))
            legend = [Content(""), Content.styled(LEGEND, "dim")]
    tasking = {view.pid for view in world.tasks.values()}
    for process in sorted(({pid} & tasking) | (tasking - {view.pid for view in threads})):
        if process != pid:
            lines.append(Content.styled(f"process {process}", "bold"))
        lines += _tasks(process, facts, seen, first, now)
        legend = legend or [Content(""), Content.styled(LEGEND, "dim")]
    if world.step is not None:
        lines += [Content(""), Content.styled("script", "bold")]
        lines.append(Content(f"{clean(world.step['actor'])}: {clean(world.step['text'])}"))
    if not threads and not tasking:
        lines.append(Content("No thread is known here: they have ended, or no probe watched the scheduler."))
    return Lines("Programs", (*lines, *legend), right=f"{len(threads)} thread{'s' * (len(threads) != 1)}")


def _tasks(pid: int, facts: Facts, seen: Seen, first: int, now: int) -> list[Content]:
    lines: list[Content] = []
    for view, line in task_lines(facts.after, pid, descriptors(facts.after, facts.conn, pid), now):
        lines.append(line)
        if view is not None:
            drawn = task_drawn(seen.timeline, view, first, facts.asked.limit, facts.asked.cursor, LANE)
            lines += [Content(f"    {drawn}")] if drawn else []
    return lines


def _thread(view: ThreadView, facts: Facts, now: int) -> list[Content]:
    since = f" for {duration(now - view.since)}" if view.running != "unknown" and now > view.since else ""
    name = clean(view.comm) or "thread"
    lines = [Content(f" {name} {view.tid}  ") + Content.styled(RUNNING.get(view.running, "?"), "bold") + Content(since)]
    if not view.call:
        return lines
    what = f"    in {clean(view.call)}"
    if view.entered and now > view.entered:
        what += f" for {duration(now - view.entered)}"
    lines.append(Content(what))
    if view.running == "blocked":
        lines.append(Content(f"    parked on {_parked(view, facts)}"))
    return lines


def _parked(view: ThreadView, facts: Facts) -> str:
    world = facts.after
    for epoll in world.epolls.values():
        if (epoll.pid, epoll.epfd) == (view.pid, view.fd):
            watched = ", ".join(str(fd) for fd, _, _ in epoll.interest) or "nothing"
            return f"epoll {epoll.epfd}, which watches fd {watched}"
    sock = world.fds.get((view.pid, view.fd), 0)
    known = world.sockets.get(sock) if sock else None
    if known is not None and known.conn:
        return f"fd {view.fd}, the {known.side.name.lower()}'s socket of #{known.conn}"
    if view.fd >= 0:
        return f"fd {view.fd}" + (", a listener" if sock in world.listeners else "")
    return view.name or "something that no probe told of"


def lints(facts: Facts, seen: Seen) -> Lines:
    """What is wrong so far, the one at the cursor lit."""
    found = seen.problems.before(facts.asked.limit)
    lines: list[Content] = []
    lit = -1
    for problem in found:
        here = facts.event is not None and problem.order == facts.event.order
        if here:
            lit = len(lines)
        conn = f" #{problem.conn}" if problem.conn else ""
        head = Content.styled(f"{'▸' if here else ' '}{SIGNS[problem.severity]} {problem.severity:<5} ", "bold")
        lines.append(head + link(Content(problem.name), problem.order) + Content(conn))
        lines.append(Content(f"    {problem.words}"))
        if here:
            lines += [Content(f"    {text}") for text in (problem.meaning, problem.advice) if text]
    if not found:
        lines.append(Content("Still looking." if seen.problems.stale else "Nothing wrong was found so far."))
    if covers := seen.covers():
        lines += [Content(""), Content(covers)]
    return Lines("Lints", tuple(lines), lit, f"{len(found)} found   ( ) jumps")


def output(facts: Facts, seen: Seen) -> Lines:
    """What the launched command has written: now, wherever the cursor is."""
    written = seen.output()
    if written is None:
        told = "No command was launched here: `synfin trace -- CMD` launches one and shows its output."
        return Lines("Output", (Content(told),))
    lines = tuple(Content(clean(line)) for line in written) or (Content("It has written nothing so far."),)
    return Lines("Output", lines, len(lines) - 1, "as of now")
