"""Rows of the ladder: which events belong to one moment, and what each lane shows of them.

A segment does not travel alone: a call causes a state, the state sends a segment, the segment arrives, moves the other
side's state, fills a queue, wakes a thread. Drawn one event a row that takes ten rows and hides what belongs together,
so events are merged into rows along exactly that path (tui.ladder.placing says which rows there are, this module what
they tell).

The fold keeps what the lanes said last (both states), so a row is complete in itself and any row can be drawn alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tracer.events import PACKETS
from tracer.kinds import EVIDENCE_MARK, Evidence, Side
from tracer.replay.analysis import RETRANSMISSION
from tracer.segments import ACK, FIN, RST, SYN
from tracer.states import State
from tracer.task_fields import WAITING
from tracer.timeline import Event
from tracer.words import LIBC, call, clean, message, ready, unacked, unread
from tracer.words import flags as flag_names
from tui.ladder.parts import Arrow, Held, Row
from tui.ladder.placing import Placing, other

GAP: Final = 200_000_000
"""ns without any event after which a row is put in that names the gap: people see a fifth of a second."""

EPOLL_WAITS: Final = ("epoll_wait", "epoll_pwait", "epoll_pwait2")
"""What they return is told by epoll:wait."""
_PLAIN: Final = frozenset({"shutdown", "close", "bind", "listen", "epoll_ctl", "setsockopt"})
"""Calls of which nobody expects more than 0."""


class Rows(Placing):
    """The rows of one connection, built event by event; feed events in order."""

    def add(self, event: Event) -> None:
        """Merge the event into the last row, or begin another."""
        memory = self.memory
        if memory.last and event.time - memory.last >= GAP and event.name != "actor:step":
            calm = self._calm(Side.CLIENT), self._calm(Side.SERVER)
            self._push(Row(memory.last, (), -1, *calm, gap=event.time - memory.last))
        memory.last = max(memory.last, event.time)
        if event.name == "actor:step":
            self.title(event, f"{event['step']}. {clean(event['actor'])}: {clean(event['text'])}")
        elif event.name == "trace:lost":
            self.title(event, f"{event['lost']} events were lost here")
        elif event.name in ("trace:note", "trace:unseen"):
            self.title(event, message(event))
        elif event.number in PACKETS:
            self._packet(event)
        elif event.name == "network:dropped":
            self._dropped(event)
        elif event.name in ("socket:state", "request:born") or event.name.startswith("timewait"):
            self._state(event)
        else:
            self._rest(event)

    # Segments

    def _packet(self, event: Event) -> None:
        key = (event.side, event["seq"], event["ack"], event["flags"], event["length"])
        if event.name == "packet:received":
            self._watch(other(event.side))
        if event.name == "packet:received" and (key in self.memory.segments or self.left_before(event)):
            at = self.memory.segments.pop(key, -1)
            row = self.rows[at] if 0 <= at == len(self.rows) - 1 else None
            if row is not None and row.arrow is not None:
                arrow = replace(row.arrow, arrived=True)
                self.rows[at] = replace(row, arrow=arrow, orders=(*row.orders, event.order), stage=3)
                return
            # Others came between: the arrival is a row of its own, and the departure stays open-ended.
            self._begin_arrow(event, self._arrow(event, again=False, left=False, arrived=True), stage=3)
            return
        again = bool(event["analysis"] & RETRANSMISSION)
        if again:
            flying = (at for (*same, _, _, _), at in self.memory.segments.items() if same == [event.side, event["seq"]])
            self.memory.lost |= frozenset(flying)
        if event.name == "packet:sent":
            self._begin_arrow(event, self._arrow(event, again=again, left=True, arrived=False), stage=2)
            self.memory.segments[key] = len(self.rows) - 1
        else:
            self._begin_arrow(event, self._arrow(event, again=again, left=True, arrived=True), stage=3)

    def left_before(self, event: Event) -> bool:
        """Whether the segment that arrives was on its way when this fold began: then its row is not among these."""
        return False

    def _dropped(self, event: Event) -> None:
        """A wire told that it has lost a segment: the departure that was drawn ends in a cross."""
        key = (event.side, event["seq"], event["ack"], event["flags"], event["length"])
        at = self.memory.segments.pop(key, -1)
        if at >= 0:
            self.memory.dropped |= {at}
        self._quietly(event)

    def _watch(self, side: Side) -> None:
        if side and side not in self.memory.watched:
            self.memory.watched |= {side}

    def _begin_arrow(self, event: Event, arrow: Arrow, stage: int) -> None:
        row = self.rows[-1] if self.rows else None
        free = row is not None and row.arrow is None and row.stage < 2 and row.from_client == arrow.to_right
        self._place(event, stage, side=event.side, begins=not free, main=True)
        self.rows[-1] = replace(self.rows[-1], arrow=arrow)

    def _relative(self, side: Side, number: int) -> int:
        """Counted from the side's SYN, as Wireshark does; where that was not seen, from one below the first number."""
        base = self.memory.base.setdefault(side, (number - 1) & 0xFFFF_FFFF)
        return (number - base) & 0xFFFF_FFFF

    def _arrow(self, event: Event, *, again: bool, left: bool, arrived: bool) -> Arrow:
        bits, length = event["flags"], event["length"]
        if bits & SYN:
            self.memory.base[event.side] = event["seq"]
        names = flag_names(bits)
        bare = flag_names(bits & ~ACK) if bits & ~ACK else "ACK"
        seq, ack = self._relative(event.side, event["seq"]), self._relative(other(event.side), event["ack"])
        numbers = f"{seq}:{seq + length}" if length else f"{seq}"
        pure = bits & (SYN | FIN | RST) == 0 and length == 0
        acks = f" ack={ack}" if bits & ACK else ""
        label: tuple[str, ...] = (bare, f"{bare} {numbers}", f"{names} {numbers}", f"{names} seq={numbers}{acks}")
        if pure:
            label = ("ACK", f"ACK {ack}", f"ACK ack={ack}", f"ACK ack={ack} win={event['window']}")
        right = event.side != Side.SERVER
        return Arrow(right, label, dashed=pure, again=again, reset=bool(bits & RST), left=left, arrived=arrived)

    # States and queues

    def _state(self, event: Event) -> None:
        side, mark = event.side, EVIDENCE_MARK[event.evidence]
        name = event.name
        if event.evidence == Evidence.OBSERVED:
            self._watch(side or Side.SERVER)
        if name == "request:born":
            new = State.NEW_SYN_RECV
        elif name == "socket:state":
            new = State(event["new"]) if event["new"] in State._value2member_map_ else State.UNKNOWN
        elif name in ("timewait:expired", "timewait:cancelled"):
            new = State.CLOSE
        else:
            new = State(event["substate"])
        if side == Side.NONE:
            self._listener(event, new)
            return
        if side in self.memory.waiting and name == "socket:state":
            self._quietly(event)  # the full socket is freed, the TIME_WAIT object stays
            return
        known = self._calm(side).state
        if event.evidence in (Evidence.SAMPLED, Evidence.INFERRED) and new == known:
            self._hold(side, event, known, new)
            self._quietly(event)
            return
        held = self.memory.held.get(side)
        if event.evidence == Evidence.SAMPLED and held is not None and held.outlasts(new, event.time, known):
            self._quietly(event)
            return
        self._hold(side, event, known, new)
        if event.evidence == Evidence.INFERRED and self._open() and not self._no_arrow():
            self._quietly(event)  # worked out from this row's segment: it belongs to it, whatever its stage
        else:
            self._place(event, 1, side=side, main=self._no_arrow())
        shown: dict[str, object] = {"state": new, "mark": mark, "moved": True}
        if name == "request:born":
            shown["queue"] = f"synq {event['qlen']}/{event['max_ack_backlog']}"
        if name.startswith("timewait"):
            shown["left"] = event["left"]
            if new == State.CLOSE:
                self.memory.waiting.pop(side, None)
            else:
                self.memory.waiting[side] = event.time + event["left"]
        self._show(side, **shown)

    def _hold(self, side: Side, event: Event, known: State, new: State) -> None:
        """Keep how the side's state is known; being told of it again may make it firmer."""
        held = self.memory.held.get(side)
        if held is not None and new == known:
            self.memory.held[side] = replace(held, evidence=min(held.evidence, event.evidence))
        else:
            left = frozenset() if held is None else held.left | {known}
            self.memory.held[side] = Held(event.evidence, event.time, left)

    def _no_arrow(self) -> bool:
        return not self.rows or self.rows[-1].arrow is None

    def _listener(self, event: Event, new: State) -> None:
        self._place(event, 1, side=Side.SERVER, main=self._no_arrow())
        if self._calm(Side.SERVER).state in (State.UNKNOWN, State.LISTEN, State.CLOSE):
            self._show(Side.SERVER, state=new, mark="", moved=True)

    # Calls, threads, epoll, buffers

    def _rest(self, event: Event) -> None:
        kind = event.name
        who = self._pids.get(event.pid, Side.NONE)
        if kind == "syscall:enter" and who:
            self._enter(event, who)
        elif kind == "syscall:exit" and who:
            self._exit(event, who)
        elif kind == "epoll:wait" and who:
            text = ready(event) if event["n"] > 0 else f"epoll_wait() = {event['n']}"
            self._app(event, who, (text.replace("EPOLL", ""), text))
        elif kind == "epoll:ready" and event.ctx and self.rows:
            self._quietly(event)
        elif kind == "thread:blocked" and who and event["was"] and event.tid in self.memory.calls:
            self._sleeps(event, who)
        elif kind == "thread:woken" and who and event.ctx and self.rows:
            side_end = self._end(who)
            self._quietly(event)
            if not side_end.app and self._open():
                self._show(who, app=("wakes", "wakes up"))
        elif kind == "task:state" and who and event.fd >= 0 and WAITING in (event["old"], event["new"]):
            name, parks = f"task {event['task']}", event["new"] == WAITING
            self._app(event, who, (name, f"{name} {'parks on' if parks else 'is woken,'} fd {event.fd}"))
        elif kind == "process:exit" and who and event.tid == event.pid:
            self._app(event, who, ("exits", "the process ends"))
        elif kind in ("accept:queued", "accept:taken"):
            self._place(event, 4 if kind == "accept:queued" else 7, side=Side.CLIENT)
            self._show(Side.SERVER, queue=f"accq {event['ack_backlog']}/{event['max_ack_backlog']}")
        elif kind == "request:gone":
            self._quietly(event)
        elif kind in ("socket:readable", "socket:queues") and event.side:
            self._buffers(event)
        else:
            self._quietly(event)

    def _app(self, event: Event, side: Side, words: tuple[str, ...]) -> None:
        free = self._open() and not self._end(side).app
        self._place(event, 0, side=side, begins=not free)
        self._show(side, app=words)

    def _enter(self, event: Event, side: Side) -> None:
        name, text = LIBC.get(event.call, event.call), call(event)
        short = f"{name}()"
        if name == "shutdown":
            short = text = text.replace("SHUT_", "")
        elif name == "epoll_ctl" and any(event["args"]):
            text = f"epoll_ctl({'-' if event['args'][1] == 2 else '+'}fd {event['args'][2]})"
        self._place(event, 0, side=side, begins=True)
        self._show(side, app=(short, text))
        self.memory.calls[event.tid] = (len(self.rows) - 1, name)

    def _exit(self, event: Event, side: Side) -> None:
        at, name = self.memory.calls.pop(event.tid, (-1, LIBC.get(event.call, event.call)))
        value = call(event).rpartition(" = ")[2]
        if event.call in EPOLL_WAITS:
            self._quietly(event)  # epoll:wait says what it returned
        elif at == len(self.rows) - 1 >= 0:
            row = self.rows[at]
            self.rows[at] = replace(row, orders=(*row.orders, event.order), stage=7)
            if value != "0" or event.call not in _PLAIN:
                self._show(side, app=_returned(value, self._end(side).app))
        else:
            if self._open() and not self._end(side).app and self.rows[-1].stage >= 3:
                self._quietly(event)  # the segment in this row is what it waited for
            else:
                self._place(event, 0, side=side, begins=True)
            self._show(side, app=_returned(value, (f"{name}()", f"{name}({event.fd})")))

    def _sleeps(self, event: Event, side: Side) -> None:
        at, _ = self.memory.calls[event.tid]
        self._quietly(event)
        words = self._end(side).app
        if at == len(self.rows) - 1 and words and not words[0].endswith("zZ"):
            self._show(side, app=(f"{words[0]} zZ", *(f"{text}, asleep" for text in words)))

    def _buffers(self, event: Event) -> None:
        side = event.side
        received, sent = unread(event), unacked(event)
        text = " ".join([*([f"rxq {received}B"] if received else []), *([f"txq {sent}B"] if sent else [])])
        before = self.memory.queues.get(side, "")
        if text == before or event["state"] == State.LISTEN:
            self._quietly(event)
            return
        self.memory.queues[side] = text
        self._quietly(event)
        if self._open() and not self._end(side).queue:
            emptied = "rxq 0B" if "rxq" in before else "txq 0B"
            self._show(side, queue=text or emptied)


def _returned(value: str, calls: tuple[str, ...]) -> tuple[str, ...]:
    """A call in words with what it returned; an errno, which may be long, finds room even where the call does not."""
    whole = tuple(f"{text} = {value}" for text in calls)
    return (f"= {value}", *whole) if value.startswith("E") else whole
