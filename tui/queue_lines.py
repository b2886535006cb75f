"""The queues of one connection at one moment, line by line: its listener's two, the buffers of both ends, the epoll
instances that watch them and the threads that sleep on them. Only what some event has told; a limit that was never seen
gets no gauge.
"""

from __future__ import annotations

from textual.content import Content

from tracer.kinds import EVIDENCE_MARK, KNOWN_BUFFERS, KNOWN_SEQUENCE, KNOWN_WINDOW, Side
from tracer.states import STATES, State
from tracer.views import EpollView, ListenerView, SocketView, ThreadView
from tracer.words import epoll, label, size, unacked, unread
from tracer.world import World
from tui.numbers import NO_SSTHRESH, sequence_space
from tui.plain import plain
from tui.task_lines import poll_lines
from tui.widgets.queues import gauge

GAP = "    "
MOST_FDS = 40
"""Descriptors of a process that are listed."""


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


def pane_lines(world: World, conn: int) -> list[Content]:
    """The same with room: every queue on a line of its own, what each epoll watches, each process's descriptors."""
    lines: list[Content] = []
    for listener in _listeners(world, conn):
        lines.append(Content.styled(f"listener :{listener.local[1]}", "bold"))
        lines.append(_gauged("SYN queue", listener.syn_queue, listener.limit))
        lines.append(_gauged("accept queue", listener.accept_queue, listener.limit, f"  most {listener.most}"))
        overflow = f"✗ {listener.overflows} turned away" if listener.overflows else "0"
        lines.append(Content(f"  {'overflow':<14}") + Content.styled(overflow, "bold" * bool(listener.overflows)))
    ends = [end for side in (Side.CLIENT, Side.SERVER) if (end := world.end(conn, side))]
    for end in ends:
        head = Content.styled(f"{end.side.name.lower()} of #{conn}  ", "bold")
        lines.append(head + state_text(end.state, EVIDENCE_MARK[end.evidence]))
        lines += _buffers(end)
    pids = {end.pid for end in ends if end.pid}
    for view in world.epolls.values():
        if view.pid in pids:
            lines += _watched(view, world)
    for pid in sorted(pids):
        lines += poll_lines(world, pid, descriptors(world, conn, pid))
    for pid in sorted(pids):
        lines += _descriptors(world, pid)
    nothing = (
        "Nothing is known of any queue at this moment. Kernel probes or sock_diag tell of queues once there are any."
    )
    return lines or [Content(nothing)]


def _gauged(name: str, value: int, limit: int, more: str = "", shown: str = "", top: str = "") -> Content:
    bar = gauge(value, limit, 10)
    of = f" of {top or limit}" if limit else ""
    return Content(f"  {name:<14}") + bar + Content(f"{'  ' if bar else ''}{shown or value}{of}{more}")


def _buffers(end: SocketView) -> list[Content]:
    snapshot = end.snapshot
    if end.waits:
        return [Content("  none any more: a TIME_WAIT object stands for the socket")]
    if snapshot is None:
        return [Content("  its buffers were not seen")]
    lines = []
    known = snapshot["known"]
    if known & KNOWN_SEQUENCE:
        unread_bytes, unacked_bytes = unread(snapshot), unacked(snapshot)
        lines.append(Content(f"  {'not read yet':<14}{size(unread_bytes)}"))
        lines.append(Content(f"  {'not ACKed yet':<14}{size(unacked_bytes)}"))
    if known & KNOWN_BUFFERS:
        for name, taken, most in (("receive buf", "rmem", "rcvbuf"), ("send buf", "wmem", "sndbuf")):
            used, limit = snapshot[taken], snapshot[most]
            lines.append(_gauged(name, used, limit, "", size(used), size(limit)))
    if known & KNOWN_WINDOW:
        ssthresh = "∞" if snapshot["ssthresh"] >= NO_SSTHRESH else str(snapshot["ssthresh"])
        closed = "  ✗ closed" if snapshot["snd_wnd"] == 0 else ""
        ours, peers = size(snapshot["rcv_wnd"]), size(snapshot["snd_wnd"])
        lines.append(Content(f"  {'window':<14}ours {ours}, peer's {peers}{closed}"))
        lines.append(_gauged("in flight", snapshot["packets_out"], snapshot["snd_cwnd"], f" cwnd, ssthresh {ssthresh}"))
    return lines


def _watched(view: EpollView, world: World) -> list[Content]:
    ready = dict(view.ready)
    lines = [Content.styled(f"epoll {view.epfd} of process {view.pid}", "bold")]
    for fd, mask, _ in view.interest:
        told = ""
        if fd in ready:
            told = f"   ● ready{f' {epoll(ready[fd])}' if ready[fd] else ''}"
        lines.append(Content(f"  fd {fd:<4} wants {epoll(mask)}{told}"))
    if not view.interest:
        lines.append(Content("  watches nothing"))
    asleep = ", ".join(f"{plain(thread.comm)} {thread.tid}" for thread in world.waiters(view.ep))
    lines.append(Content(f"  asleep on it: {asleep or 'nobody'}"))
    return lines


def descriptors(world: World, conn: int, pid: int) -> set[int]:
    """The descriptors by which a process knows the sockets of a connection."""
    known = world.connections.get(conn)
    own = {sock for _, sock in known.sockets} if known is not None else set()
    return {fd for (owner, fd), sock in world.fds.items() if owner == pid and sock in own}


def _descriptors(world: World, pid: int) -> list[Content]:
    mine = sorted((fd, sock) for (owner, fd), sock in world.fds.items() if owner == pid)
    lines = [Content.styled(f"descriptors of process {pid}", "bold")] if mine else []
    for fd, sock in mine[:MOST_FDS]:
        known = world.sockets.get(sock)
        if sock in world.listeners:
            what = f"listener :{world.listeners[sock].local[1]}"
        elif known is not None and known.conn:
            what = f"{known.side.name.lower()} of #{known.conn} {label(known.state)}{EVIDENCE_MARK[known.evidence]}"
        else:
            what = "not connected"
        lines.append(Content(f"  fd {fd:<4} socket {sock}  {what}"))
    if len(mine) > MOST_FDS:
        lines.append(Content(f"  and {len(mine) - MOST_FDS:,} more"))
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
