"""Fixed timelines for tests of screens: the same events, nanosecond by nanosecond, every time."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np

from tracer.batch import BatchBuilder
from tracer.kinds import SYSCALLS, Evidence, Side, Source
from tracer.segments import ACK, FIN, PSH, RST, SYN, V4_MAPPED
from tracer.states import State
from tracer.timeline import Timeline

START = 1_700_000_000_000_000_000
PORTS = {Side.CLIENT: 40000, Side.SERVER: 8080}
PIDS = {Side.CLIENT: 201, Side.SERVER: 101}
C, V = Side.CLIENT, Side.SERVER
HERE = (0, V4_MAPPED | int(ipaddress.IPv4Address("127.0.0.1")))


class Story:
    """Writes events of connections on loopback, in the order of the calls; times in ms."""

    def __init__(self) -> None:
        self.builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)

    def _head(self, conn: int, side: Side) -> dict[str, Any]:
        pid = PIDS[side]
        return {
            "conn": conn,
            "side": side,
            "sock": 10 * conn + side,
            "addr": 0x1000 * conn + side,
            "pid": pid,
            "tid": pid,
        }

    def _ends(self, conn: int, side: Side) -> dict[str, Any]:
        other = V if side is C else C
        ports = {C: PORTS[C] + conn, V: PORTS[V]}
        return {"saddr": HERE, "daddr": HERE, "sport": ports[side], "dport": ports[other]}

    def state(self, ms: float, conn: int, side: Side, old: State, new: State) -> None:
        """A socket changes state."""
        fields = self._ends(conn, side) | {
            "old": old, "new": new, "state": new, "known": 31, "family": 4, "snd_cwnd": 10, "ssthresh": 0x7FFF_FFFF,
            "srtt": 41, "rto": 201_000, "rcv_nxt": 100, "copied_seq": 60, "rcvbuf": 131072, "sndbuf": 87040,
            "snd_wnd": 65536, "rcv_wnd": 65495,
        }  # fmt: skip
        self.builder.add("socket:state", START + round(ms * 1e6), fields, **self._head(conn, side))

    def packet(self, ms: float, conn: int, side: Side, flags: int, seq: int, ack: int = 0, length: int = 0) -> None:
        """A segment leaves and arrives ten microseconds later."""
        raw = np.zeros(104, "u1")
        raw[:40] = np.arange(40)
        fields = self._ends(conn, side) | {
            "flags": flags, "seq": seq, "ack": ack, "length": length, "window": 502, "wscale": -1, "family": 4,
            "ttl": 64, "header": 20, "caplen": 40, "wire_len": 40 + length, "raw": raw, "skb": 0xABC,
        }  # fmt: skip
        for late, kind in ((0, "packet:sent"), (10_000, "packet:received")):
            self.builder.add(kind, START + round(ms * 1e6) + late, fields, conn=conn, side=side)

    def call(
        self, ms: float, conn: int, side: Side, name: str, fd: int, *, ret: int | None = None, arg: int = 0
    ) -> None:
        """A call begins, or ends where `ret` is given."""
        number = SYSCALLS.index(name)
        head = self._head(conn, side) | {"fd": fd}
        if ret is None:
            fields = {"call": number, "args": (fd, arg, 0, 0)}
            self.builder.add("syscall:enter", START + round(ms * 1e6), fields, **head)
        else:
            fields = {"call": number, "ret": ret, "arg1": arg}
            self.builder.add("syscall:exit", START + round(ms * 1e6), fields, **head)

    def time_wait(
        self, ms: float, conn: int, side: Side, kind: str = "timewait:born", substate: State = State.TIME_WAIT
    ) -> None:
        """A TIME_WAIT object is born, or what `kind` says."""
        left = 60_000_000_000 if kind == "timewait:born" else 0
        fields = self._ends(conn, side) | {"left": left, "family": 4, "substate": substate}
        self.builder.add(kind, START + round(ms * 1e6), fields, **self._head(conn, side))

    def onto(self, timeline: Timeline | None = None) -> Timeline:
        """All of it on a timeline."""
        timeline = Timeline() if timeline is None else timeline
        timeline.append(self.builder.take())
        return timeline


def half_close(story: Story, conn: int = 1, at: float = 0.0) -> None:
    """One connection from connect() to TIME_WAIT; the client closes first, two seconds later the server."""
    s = State
    story.call(at, conn, C, "connect", 5)
    story.state(at + 0.001, conn, C, s.CLOSE, s.SYN_SENT)
    story.packet(at + 0.002, conn, C, SYN, 1000)
    story.packet(at + 0.02, conn, V, SYN | ACK, 5000, 1001)
    story.state(at + 0.04, conn, C, s.SYN_SENT, s.ESTABLISHED)
    story.packet(at + 0.042, conn, C, ACK, 1001, 5001)
    story.state(at + 0.055, conn, V, s.LISTEN, s.SYN_RECV)
    story.state(at + 0.056, conn, V, s.SYN_RECV, s.ESTABLISHED)
    story.call(at + 0.06, conn, C, "connect", 5, ret=0)
    story.call(at + 0.12, conn, C, "sendto", 5)
    story.packet(at + 0.122, conn, C, PSH | ACK, 1001, 5001, 512)
    story.packet(at + 0.16, conn, V, ACK, 5001, 1513)
    story.call(at + 0.30, conn, C, "shutdown", 5, arg=1)
    story.state(at + 0.301, conn, C, s.ESTABLISHED, s.FIN_WAIT1)
    story.packet(at + 0.302, conn, C, FIN | ACK, 1513, 5001)
    story.state(at + 0.33, conn, V, s.ESTABLISHED, s.CLOSE_WAIT)
    story.packet(at + 0.34, conn, V, ACK, 5001, 1514)
    story.state(at + 0.36, conn, C, s.FIN_WAIT1, s.FIN_WAIT2)
    story.call(at + 0.37, conn, C, "shutdown", 5, ret=0, arg=1)
    story.call(at + 2300, conn, V, "close", 7)
    story.state(at + 2300.01, conn, V, s.CLOSE_WAIT, s.LAST_ACK)
    story.packet(at + 2300.02, conn, V, FIN | ACK, 5001, 1514)
    story.packet(at + 2300.05, conn, C, ACK, 1514, 5002)
    story.time_wait(at + 2300.06, conn, C)
    story.state(at + 2300.07, conn, C, s.FIN_WAIT2, s.CLOSE)
    story.state(at + 2300.08, conn, V, s.LAST_ACK, s.CLOSE)


def refused(story: Story, conn: int, at: float) -> None:
    """A connection to a closed port: SYN, RST."""
    story.state(at, conn, C, State.CLOSE, State.SYN_SENT)
    story.packet(at + 0.01, conn, C, SYN, 1)
    story.packet(at + 0.05, conn, V, RST | ACK, 0, 2)
    story.state(at + 0.07, conn, C, State.SYN_SENT, State.CLOSE)


def three() -> Timeline:
    """Two half-closes and a refusal, one after the other."""
    story = Story()
    half_close(story, 1)
    half_close(story, 2, 2400)
    refused(story, 3, 4800)
    return story.onto()
