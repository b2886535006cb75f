"""The state diagram of RFC 9293 (figure 5) with both peers on it.

Where a state stands is the table `PLAN`; what a state is called, its group, and which ways lead on from it are
tracer.states' own table, so the picture cannot say what the validator does not. A filled diamond is where the client
is, an open one the server; small letters mark where they have been. Below the diagram each peer's path so far, and
what could happen next by the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, cast

from textual.content import Content

from tracer.kinds import Side
from tracer.states import STATES, TRANSITIONS, State, Trigger
from tracer.words import duration
from tui.widgets.pane import Pane, cut, link, title_line

HERE: Final = {Side.CLIENT: "◆", Side.SERVER: "◇"}
BEEN: Final = {Side.CLIENT: "c", Side.SERVER: "s"}

PLAN: Final = (
    "",
    "       ┌────────┴────────┐",
    "connect│                 │listen",
    "",
    "       │                 ",
    "       └────────┬────────┘",
    "",
    "FIN out┌────────┴────────┐FIN in",
    "",
    "       ├─►               │",
    "",
    "                         │",
    "       └────────┬────────┘",
    "",
)
"""The ways, as lines; most boxes lie on them."""

PLACES: Final[tuple[tuple[int, int, State], ...]] = (
    (0, 12, State.CLOSE), (3, 2, State.SYN_SENT), (3, 19, State.LISTEN), (4, 19, State.SYN_RECV),
    (6, 10, State.ESTABLISHED), (8, 2, State.FIN_WAIT1), (8, 19, State.CLOSE_WAIT), (9, 10, State.CLOSING),
    (10, 2, State.FIN_WAIT2), (10, 19, State.LAST_ACK), (11, 2, State.TIME_WAIT), (13, 12, State.CLOSE),
)  # fmt: skip
"""Line and column of each box."""

WAYS: Final[tuple[tuple[State, State], ...]] = (
    (State.CLOSE, State.SYN_SENT), (State.CLOSE, State.LISTEN), (State.SYN_SENT, State.ESTABLISHED),
    (State.SYN_RECV, State.ESTABLISHED), (State.ESTABLISHED, State.FIN_WAIT1), (State.ESTABLISHED, State.CLOSE_WAIT),
    (State.FIN_WAIT1, State.CLOSING), (State.FIN_WAIT1, State.FIN_WAIT2), (State.FIN_WAIT2, State.TIME_WAIT),
    (State.CLOSE_WAIT, State.LAST_ACK), (State.TIME_WAIT, State.CLOSE), (State.LAST_ACK, State.CLOSE),
)  # fmt: skip
"""What the lines stand for; each is a way of the table of transitions."""

SIDE_BY_SIDE: Final = 72
"""Columns from which the paths stand beside the diagram."""
DIAGRAM: Final = 36
"""Columns that the diagram takes, marks and all."""


@dataclass(frozen=True)
class Peer:
    """One end of the connection."""

    side: Side
    state: State
    mark: str
    """? inferred, ~ sampled, else nothing."""
    path: tuple[tuple[int, int, State], ...]
    """(order, ns since the connection's first event, state) of every state so far."""


@dataclass(frozen=True)
class Peers:
    """What the pane shows."""

    ends: tuple[Peer, ...] = ()


TRIGGERS: Final[dict[Trigger, str]] = {
    Trigger.LISTEN: "listen()", Trigger.CONNECT: "connect()", Trigger.CLOSE: "close() or shutdown()",
    Trigger.ABORT: "an abort", Trigger.RCV_SYN: "a SYN comes", Trigger.RCV_SYN_ACK: "a SYN-ACK comes",
    Trigger.RCV_ACK_OF_SYN: "the ACK of our SYN", Trigger.RCV_FIN: "a FIN comes",
    Trigger.RCV_ACK_OF_FIN: "the ACK of our FIN", Trigger.RCV_FIN_AND_ACK: "a FIN that acknowledges ours",
    Trigger.RCV_RST: "a RST comes", Trigger.TIMEOUT: "a timeout", Trigger.TIMEWAIT_TIMEOUT: "the waiting is over",
    Trigger.HANDOVER: "a TIME_WAIT object takes over", Trigger.ACCEPT_QUEUE_FULL: "the accept queue is full",
}  # fmt: skip
"""Triggers in words."""


def _same(state: State) -> State:
    """The state as the RFC has it: a request sock is in SYN-RECEIVED."""
    return State.SYN_RECV if state is State.NEW_SYN_RECV else state


def box(state: State, peers: Peers) -> Content:
    """`F1 FIN_WAIT1◆`: reverse where somebody is, bold where somebody was, faint where nobody came by."""
    row = STATES[state]
    marks, here, been = "", False, False
    for peer in peers.ends:
        if _same(peer.state) is state:
            here = True
            marks += HERE[peer.side] + peer.mark
        elif any(_same(passed) is state for _, _, passed in peer.path):
            been = True
            marks += BEEN[peer.side]
    colour = "" if row.group in ("closed", "unknown") else f"$state-{row.group}"
    style = f"bold reverse {colour}" if here else f"bold {colour}" if been else "dim"
    return Content.styled(f"{row.code} {row.label}", style.strip()) + Content.styled(marks, "bold")


def diagram(peers: Peers) -> list[Content]:
    """The diagram in lines of DIAGRAM cells at most."""
    lines = []
    for at, ways in enumerate(PLAN):
        line = Content("")
        for column, state in [(column, state) for row, column, state in PLACES if row == at]:
            line += Content.styled(ways[line.cell_length : column].ljust(column - line.cell_length), "dim")
            line += box(state, peers)
        lines.append(line + Content.styled(ways[line.cell_length :], "dim"))
    return lines


def _path(peer: Peer, width: int) -> list[Content]:
    lines = [Content.styled(f"{HERE[peer.side]} {peer.side.name.lower()}", "bold")]
    for i, (order, at, state) in enumerate(peer.path):
        last = i == len(peer.path) - 1
        mark = peer.mark if last else ""
        name = Content.styled(STATES[state].label, "bold" if last else "") + Content(mark)
        arrow = "→ " if i else "  "
        lines.append(cut(Content(f"  {arrow}") + link(name, order) + Content(f"  {duration(at)}"), width))
    return lines


def ways(state: State, width: int) -> list[Content]:
    """The rows of the table that lead on from a state, one line each."""
    rows = [row for row in TRANSITIONS if row.state is state]
    found = []
    for row in rows:
        sends = f", sends {row.sends}" if row.sends else ""
        way = f"    {TRIGGERS[row.trigger]} → {STATES[row.next].label}{sends}"
        found.append(cut(Content.styled(way, "dim"), width))
    return found


class States(Pane):
    """The pane. Its document is `Peers`."""

    def lines(self, document: object, width: int) -> Sequence[Content]:
        peers = cast(Peers, document)
        title = title_line("States", width, right="client ◆c server ◇s")
        drawn = diagram(peers)
        beside = width >= SIDE_BY_SIDE
        room = width - DIAGRAM if beside else width
        told = [] if beside else [Content("")]
        if not peers.ends:
            told.append(Content("No state is known of either end."))
        for peer in peers.ends:
            told += [*_path(peer, room), *ways(peer.state, room)]
        if not beside:
            return [title, *drawn, *told]
        empty = Content("")
        both = [
            line + Content(" " * max(DIAGRAM - line.cell_length, 0)) + right
            for line, right in zip_longest(drawn, told, fillvalue=empty)
        ]
        return [title, *both]
