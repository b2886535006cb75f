"""What a play says about itself, as a source of events: evidence `reported`.

Every step of the script is an `actor:step`, at the moment of its cue; what came of it, and what an actor remarks, is an
`actor:report`. Where no probe can see the actors' system calls, their own account of them takes the place: entry and
return of each call with its arguments, and what epoll handed back, by the actors' own clock (CLOCK_MONOTONIC,
that of the probes).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from scenarios.calls import Call
from scenarios.cookies import cookie_of
from scenarios.play import Report
from scenarios.servers.telling import MARK, heard
from tracer.batch import Batch, BatchBuilder
from tracer.events import KIND
from tracer.kinds import MAX_READY, SYSCALLS, Evidence, Source
from tracer.session import Losses

KERNEL_NAME: Final = {"send": "sendto", "recv": "recvfrom"}
"""The C library has no system call of these names to call: it calls these."""
DID: Final = "done"
"""What an actor has to say about a step in which it made no call."""


class ActorReports:
    """The reports of a play as a source: give `hear` to the play as its listener."""

    rests = True

    def __init__(self, offset: int, calls: bool, before_step: Callable[[], None] = lambda: None) -> None:
        """`offset` is CLOCK_REALTIME minus CLOCK_MONOTONIC, in ns.

        `calls`: take the actors' word for their system calls too. `before_step` is called when a step is about to
        begin, from the play's thread: to wake a sampler.
        """
        self._offset = offset
        self._calls = calls
        self._before_step = before_step
        self._lock = threading.Lock()
        self._pending: list[tuple[int, str, dict[str, Any], dict[str, Any]]] = []
        self._cookies: dict[tuple[int, int], int] = {}
        self._entered: set[tuple[int, str]] = set()
        self._last_call: dict[str, str] = {}
        self._written = 0

    def hear(self, report: Report) -> None:
        """Take in what the play reports; from the play's thread."""
        if report.kind == "cue":
            self._before_step()
        with self._lock:
            self._note(report)

    def _note(self, report: Report) -> None:
        actor = {"step": report.step, "actor": report.actor}
        if report.kind == "cue":
            self._last_call.pop(report.actor, None)
            self._add(report.time, "actor:step", actor | {"text": report.text}, report.pid)
        elif report.kind == "call" and report.call is not None:
            self._last_call[report.actor] = report.text
            if self._calls:
                self._call(report.call, report.pid)
        elif report.kind == "sleep":
            if self._calls and report.call is not None:
                self._enter(report.call, report.pid)
                self._entered.add((report.pid, report.call.name))
        elif report.fate is not None:
            self._fate(report.fate, report.pid)
        elif report.kind == "said" and report.text.startswith(MARK):
            self._runtime(report)
        else:
            text = report.text or self._last_call.get(report.actor, DID)
            self._add(report.time, "actor:report", actor | {"text": text}, report.pid)

    def _add(self, moment: int, kind: str, fields: dict[str, Any], pid: int, fd: int = -1) -> None:
        if fd >= 0 and (pid, fd) not in self._cookies:  # inherited at a fork, or a duplicate
            self._cookies[pid, fd] = cookie_of(pid, fd)
        head = {"pid": pid, "tid": pid, "fd": fd, "cookie": self._cookies.get((pid, fd), 0)}
        self._pending.append((moment + self._offset, kind, fields, head))

    def _enter(self, call: Call, pid: int) -> None:
        values = [value & 0xFFFF_FFFF_FFFF_FFFF for value in call.values[:4]]
        fields = {"call": _number(call), "args": values + [0] * (4 - len(values))}
        self._add(call.enter_ns, "syscall:enter", fields, pid, call.fd)

    def _call(self, call: Call, pid: int) -> None:
        if _number(call) == 0:  # none that is followed: kill, or what a hand-made peer does
            return
        if (pid, call.name) in self._entered:  # told when it fell asleep there
            self._entered.discard((pid, call.name))
        else:
            self._enter(call, pid)
        if call.name in ("socket", "accept4") and call.result >= 0:
            self._cookies[pid, call.result] = cookie_of(pid, call.result)
        made = call.result if call.name == "socket" and call.result >= 0 else call.fd
        second, third = (*call.values, 0, 0, 0)[1:3]
        fields: dict[str, Any] = {
            "call": _number(call),
            "ret": -call.errno if call.errno else call.result,
            "arg1": second & 0xFFFF_FFFF_FFFF_FFFF,
            "arg2": third & 0xFFFF_FFFF_FFFF_FFFF,
        }
        self._add(call.exit_ns, "syscall:exit", fields, pid, made)
        if call.name == "epoll_ctl" and not call.errno:
            epoll, operation, fd, events = call.values
            about: dict[str, Any] = {
                "ep": _stand_in(pid, epoll),
                "epfd": epoll,
                "op": operation,
                "events": events,
                "data": fd,
            }
            self._add(call.exit_ns, "epoll:ctl", about, pid, fd)
        elif call.name == "epoll_wait":
            kept = call.ready[:MAX_READY]
            room = [0] * (MAX_READY - len(kept))
            about = {
                "ep": _stand_in(pid, call.fd),
                "epfd": call.fd,
                "n": -call.errno if call.errno else call.result,
                "data": [fd for fd, _ in kept] + room,
                "events": [mask for _, mask in kept] + room,
            }
            self._add(call.exit_ns, "epoll:wait", about, pid, call.fd)
        elif call.name == "close":
            self._cookies.pop((pid, call.fd), None)

    def _fate(self, fate: dict[str, Any], pid: int) -> None:
        """What the wire did to a segment."""
        fields = {
            name: fate[name] for name in ("sport", "dport", "netns", "seq", "ack", "length", "flags", "family", "why")
        }
        fields |= {"actor": fate["sender"], "delay": round(fate["seconds"] * 1e9)}
        fields |= {name: _halves(fate[name]) for name in ("saddr", "daddr")}
        self._add(fate["time"], f"network:{fate['told']}", fields, pid)

    def _runtime(self, report: Report) -> None:
        """What a runtime inside a program tells of its tasks; what is no such line is a remark like any other."""
        try:
            told = heard(report.text)
            known = {field.name: field.type for field in KIND[told.kind].fields}
            fields = {name: int(value) if known[name] == "u64" else str(value) for name, value in told.fields.items()}
            self._add(told.time, told.kind, fields, report.pid, told.fd)
        except (ValueError, TypeError, KeyError):
            what = {"step": report.step, "actor": report.actor, "text": report.text}
            self._add(report.time, "actor:report", what, report.pid)
            return
        _, _, _, head = self._pending[-1]
        head |= {"tid": told.tid, "source": Source.RUNTIME}
        if told.kind == "polldesc:change" and fields.get("why") == "close":
            self._cookies.pop((report.pid, told.fd), None)

    def drain(self) -> Batch:
        """What has been reported since the last call, in order of time."""
        with self._lock:
            pending, self._pending = self._pending, []
        # Actors report in bursts, one after the other: what they did at the same time is brought together here.
        pending.sort(key=lambda each: each[0])
        builder = BatchBuilder(Source.STAGE, Evidence.REPORTED)
        for moment, kind, fields, head in pending:
            builder.add(kind, moment, fields, **head)
        self._written += len(pending)
        return builder.take()

    def losses(self) -> Losses:
        """What was delivered; nothing is lost on the way."""
        return Losses(self._written, 0)

    def stop(self) -> None:
        """Nothing to let go of."""


def _halves(text: str) -> tuple[int, int]:
    """An address in hexadecimal as two halves, IPv4 mapped into IPv6."""
    raw = bytes.fromhex(text)
    whole = raw if len(raw) == 16 else bytes(10) + b"\xff\xff" + raw
    return int.from_bytes(whole[:8], "big"), int.from_bytes(whole[8:], "big")


def _stand_in(pid: int, epoll: int) -> int:
    """For the kernel address of an epoll instance, which only probes see: a number that no other instance has."""
    return pid << 20 | epoll


def _number(call: Call) -> int:
    name = KERNEL_NAME.get(call.name, call.name)
    return SYSCALLS.index(name) if name in SYSCALLS else 0
