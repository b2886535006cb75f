"""What actors report, as events: the steps of the script and, where no probe sees them, their system calls.

An actor stamps what it reports with CLOCK_MONOTONIC, the clock of the probes, so its reports fall into place between
the kernel's own events. When probes see system calls the actors' word for them is not taken as well: one call is one
event. Without probes the word is all there is, and the events say so: their evidence is *reported*.
"""

from __future__ import annotations

import threading
from typing import Final

from scenarios.play import Report
from tracer.batch import Batch, BatchBuilder
from tracer.kinds import SYSCALLS, Evidence, Source
from tracer.session import Losses

_CALL: Final = {name: number for number, name in enumerate(SYSCALLS)}
_CALL.update(send=_CALL["sendto"], recv=_CALL["recvfrom"])  # libc functions; these are the calls they make


class ActorReports:
    """An event source fed by a play: give ``hear`` to it as its listener."""

    def __init__(self, offset: int, *, calls: bool) -> None:
        """``offset`` is ns to add to CLOCK_MONOTONIC for time since the Unix epoch; ``calls``: also report calls."""
        self._offset, self._calls = offset, calls
        self._builder = BatchBuilder(Source.STAGE, Evidence.REPORTED)
        self._lock = threading.Lock()
        self._written = 0
        self._asleep_in: dict[int, str] = {}
        """Per process the call that it announced before it might sleep in it."""

    def hear(self, report: Report) -> None:
        """Take one report, from any thread."""
        with self._lock:
            if report.kind == "cue":
                self._add("actor:step", report, report.text)
            elif report.kind in ("said", "fail"):
                self._add("actor:report", report, report.text)
            elif report.kind == "sleep" and self._calls:
                self._announce(report)
            elif report.kind == "call" and self._calls and report.call is not None:
                self._add_call(report)

    def _add(self, kind: str, report: Report, text: str) -> None:
        own = {"step": report.step, "actor": report.actor, "text": text}
        self._builder.add(kind, report.time + self._offset, own, pid=report.pid, tid=report.pid)
        self._written += 1

    def _announce(self, report: Report) -> None:
        """A call that may sleep is told when it begins, not when it is over: between the two much may happen."""
        name = report.text.rpartition(" ")[2]
        self._asleep_in[report.pid] = name
        self._builder.add(
            "syscall:enter", report.time + self._offset, {"call": _CALL.get(name, 0)}, pid=report.pid, tid=report.pid
        )
        self._written += 1

    def _add_call(self, report: Report) -> None:
        call = report.call
        assert call is not None
        number = _CALL.get(call.name, 0)
        who = {"pid": report.pid, "tid": report.pid, "fd": call.fd}
        if self._asleep_in.pop(report.pid, "") != call.name:
            self._builder.add("syscall:enter", call.enter_ns + self._offset, {"call": number}, **who)
            self._written += 1
        result = -call.errno if call.errno else call.result
        self._builder.add("syscall:exit", call.exit_ns + self._offset, {"call": number, "ret": result}, **who)
        self._written += 1

    def drain(self) -> Batch:
        """What has been reported since the last call, in the order of reporting."""
        with self._lock:
            return self._builder.take()

    def losses(self) -> Losses:
        """Reports come through a pipe that blocks when it is full: none can be lost."""
        return Losses(self._written, 0)

    def stop(self) -> None:
        """Nothing is held."""
