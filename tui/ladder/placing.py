"""Where an event goes: into the last row while the stages of its moment rise, else into a new one.

The fold over one connection's events without the words (those are tui.ladder.rows'): rows, and what has to be kept from
one event to the next. A row has a *direction* (the side that begins) and its events pass through *stages* in order:

    0 call of the beginning side   1 its state   2 segment sent   3 segment received
    4 state and queues of the other side   5 readiness and wake-up there   6 return of the call, queues after it

An event joins the row while stages only rise and its place in the row is free; otherwise it begins a new row. The other
side's state joins only once the segment has arrived: until then it is that side's own doing. Nothing is moved past
anything: rows follow each other in the order of events. Every event is in exactly one row, those that say nothing new
(a queue unchanged, a thread that merely runs on) without words of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tracer.kinds import Evidence, Side
from tracer.timeline import Event
from tui.ladder.parts import End, Memory, Row, Saved


def other(side: Side) -> Side:
    """The end across."""
    return Side.SERVER if side == Side.CLIENT else Side.CLIENT


class Placing:
    """Rows that grow by events, given in order."""

    def __init__(self, pids: Mapping[int, Side]) -> None:
        """``pids``: which end each process works for; others' calls and threads are not drawn."""
        self.rows: list[Row] = []
        self.memory = Memory()
        self._pids = pids
        self._pending: tuple[int, ...] = ()
        """Events without words that came when there was no row to put them in."""

    def save(self) -> Saved:
        """What is needed to come back here: only the last row is ever changed by later events."""
        last = self.rows[-1] if self.rows else None
        return Saved(len(self.rows), last, self._pending, self.memory.copy())

    def restore(self, saved: Saved) -> None:
        """Come back to where ``saved`` was made."""
        del self.rows[saved.count :]
        if saved.last is not None:
            self.rows[-1] = saved.last
        self._pending, self.memory = saved.pending, saved.memory.copy()

    def present(self, now: int) -> Row | None:
        """What is going on at ``now`` (ns) without any event: a TIME_WAIT timer runs. None when nothing is."""
        waiting = {side: until - now for side, until in self.memory.waiting.items() if until > now}
        if not waiting:
            return None
        client, server = (replace(self._calm(side), left=waiting.get(side, 0)) for side in (Side.CLIENT, Side.SERVER))
        return Row(now, (), -1, client, server, live=True)

    def shown(self, at: int) -> Row:
        """Row ``at`` as far as is known by now: what became of a segment that was only seen to leave.

        Where nobody watches the far end, a departure is all there can be: then it is drawn as an arrow like any other.
        """
        row = self.rows[at]
        arrow = row.arrow
        if arrow is None or arrow.arrived or not arrow.left:
            return row
        if at in self.memory.dropped:
            return replace(row, arrow=replace(arrow, lost=True))
        if (Side.SERVER if arrow.to_right else Side.CLIENT) not in self.memory.watched:
            return replace(row, arrow=replace(arrow, arrived=True))
        return replace(row, arrow=replace(arrow, lost=True)) if at in self.memory.lost else row

    # Placing

    def _push(self, row: Row) -> None:
        if self._pending and not row.gap:
            row = replace(row, orders=(*self._pending, *row.orders))
            self._pending = ()
        self.rows.append(row)

    def _calm(self, side: Side) -> End:
        """That side's lanes when nothing happens there: its state goes on."""
        known = self.memory.client if side == Side.CLIENT else self.memory.server
        return End(state=known.state, mark=known.mark)

    def _place(self, event: Event, stage_if_first: int, *, side: Side, begins: bool = False, main: bool = False) -> Row:
        """The row for an event of ``side``: the last one if its stages allow, else a new one; with the event in it."""
        row = self.rows[-1] if self.rows else None
        stage = stage_if_first
        if row is not None and not row.title and not row.gap:
            mine = (side == Side.CLIENT) == row.from_client
            stage = stage_if_first if mine else {1: 4, 0: 7}.get(stage_if_first, stage_if_first)
            read_at_once = event.evidence == Evidence.SAMPLED and row.arrow is None
            if not mine and stage == 4 and row.stage < 3 and not read_at_once:
                begins = True  # nothing has come over yet
            if mine and stage == 1 and row.stage == 2:
                stage = 2  # tcp_time_wait() comes after the ACK has left, and belongs to it
            if not begins and stage >= row.stage:
                about = event.order if main else row.main
                row = self.rows[-1] = replace(row, orders=(*row.orders, event.order), stage=stage, main=about)
                return row
        row = Row(
            event.time, (event.order,), event.order, self._calm(Side.CLIENT), self._calm(Side.SERVER),
            stage=stage_if_first, from_client=side != Side.SERVER,
        )  # fmt: skip
        self._push(row)
        return row

    def _show(self, side: Side, **changes: object) -> None:
        """Change what a side's lanes show in the last row, and remember its state."""
        row = self.rows[-1]
        end = replace(row.client if side == Side.CLIENT else row.server, **changes)  # type: ignore[arg-type]
        if side == Side.CLIENT:
            self.rows[-1], self.memory.client = replace(row, client=end), end
        else:
            self.rows[-1], self.memory.server = replace(row, server=end), end

    def _end(self, side: Side) -> End:
        return self.rows[-1].client if side == Side.CLIENT else self.rows[-1].server

    def _quietly(self, event: Event) -> None:
        """Into the last row without a word."""
        if self.rows and not self.rows[-1].gap:
            self.rows[-1] = replace(self.rows[-1], orders=(*self.rows[-1].orders, event.order))
        else:
            self._pending = (*self._pending, event.order)

    def _open(self) -> bool:
        """The last row has lanes to write into."""
        return bool(self.rows) and not self.rows[-1].title and not self.rows[-1].gap

    def title(self, event: Event, text: str) -> None:
        """A row across all lanes."""
        calm = self._calm(Side.CLIENT), self._calm(Side.SERVER)
        self._push(Row(event.time, (event.order,), event.order, *calm, title=text))
