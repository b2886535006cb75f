"""The queues of one connection at one moment, line by line: its listener's two, the buffers of both ends, the epoll
instances that watch them and the threads that sleep on them. Only what some event has told; a limit that was never seen
gets no gauge.
"""

from __future__ import annotations

from textual.content import Content

from tracer.kinds import EVIDENCE_MARK, KNOWN_SEQUENCE, KNOWN_WINDOW, Side
from tracer.states import STATES, State
from tracer.views import EpollView, ListenerView, SocketView, ThreadView
from tracer.words import epoll, label, size
from tracer.world import World
from tui.numbers import NO_SSTHRESH, sequence_space
from tui.plain import plain
from tui.widgets.queues import gauge

GAP = "    "


def state_text(state: State, mark: str = "", *, long: bool = True) -> Content:
    """A state's name or code in the colour of its group, with the mark of its evidence."""
    row = STATES[state]
    style = "" if row.group in ("closed", "unknown") else f"bold $state-{row.group}"
    return Content.styled(label(state) if long else row.code, style) + Content(mark)


def queue_lines(world: World, conn: int) -> list[Content]:
    """One line for each owner of queues that matters to the connection, in the order of a packet's way in."""
    ends = {side: end for side in (Side.CLIENT, Side.SERVER) if (end := world.end(conn, side))}
    lines = [_listener(listener) for listener in _listeners(world, conn)]
    lines += [_end(conn, end) for end in ends.values()]
    pids = {end.pid for end in ends.values() if end.pid}
    lines += [_epoll(view) for view in world.epolls.values() if view.pid in pids]
    lines += [_thread(view) for view in world.threads.values() if view.pid in pids and view.call]
    return lines


def _listeners(world: World, conn: int) -> list[ListenerView]:
    known = world.connections.get(conn)
    if known is None:
        return []
    return [view for view in world.listeners.values() if view.local[1] == known.server[1]]


def _listener(view: ListenerView) -> Content:
    def queue(name: str, length: int) -> Content:
        limit = f"/{view.limit}" if view.limit else ""
        bar = gauge(length, view.limit)
        return Content(f"{name} ") + bar + Content(f"{' ' if bar else ''}{length}{limit}{GAP}")

    line = Content(f" {f'server :{view.local[1]}':<15} ")
    return line + queue("SYN queue", view.syn_queue) + queue("accept queue", view.accept_queue) + f"most {view.most}"


def _end(conn: int, end: SocketView) -> Content:
    line = Content(f" {f'#{conn} {end.side.name.lower()}':<15} ") + state_text(end.state, EVIDENCE_MARK[end.evidence])
    snapshot = end.snapshot
    if snapshot is None or end.waits:
        return line
    if snapshot["known"] & KNOWN_SEQUENCE:
        unread, unacked = sequence_space(snapshot)
        line += f"{GAP}send {size(unacked)}{GAP}receive {size(unread)}"
    if snapshot["known"] & KNOWN_WINDOW:
        ssthresh = "∞" if snapshot["ssthresh"] >= NO_SSTHRESH else str(snapshot["ssthresh"])
        line += f"{GAP}in flight {snapshot['packets_out']}{GAP}cwnd {snapshot['snd_cwnd']}{GAP}ssthresh {ssthresh}"
    return line


def _epoll(view: EpollView) -> Content:
    watching = ", ".join(str(fd) for fd, _, _ in view.interest) or "nothing"
    ready = ", ".join(f"{fd} {epoll(mask)}" if mask else str(fd) for fd, mask in view.ready) or "nothing"
    return Content(f" {f'epoll {view.epfd}':<15} watching {watching}{GAP}ready {ready}")


def _thread(view: ThreadView) -> Content:
    asleep = "asleep in " if view.running == "blocked" else "in "
    return Content(f" {plain(view.comm) or f'thread {view.tid}':<15} {asleep}{plain(view.call)}")
