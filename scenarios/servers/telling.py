"""How a runtime inside a program tells a timeline what it does: one line of text for each change.

`event {...}` on standard output, with the moment (CLOCK_MONOTONIC, ns: the clock of kernel probes), the kind, thread,
descriptor and the kind's own fields. Whoever performs a scenario hears a program's output and puts such lines on the
timeline as events that are *reported*. Lines are kept back until the runtime is about to sleep, so that telling does
not come between the calls that are told of.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

MARK: Final = "event "
MOST: Final = 64
"""Lines that are kept back."""
KINDS: Final = ("task:state", "polldesc:change")


class Told(NamedTuple):
    """One event as a program tells it."""

    time: int
    """CLOCK_MONOTONIC, ns."""
    kind: str
    tid: int
    fd: int
    fields: dict[str, Any]


class Teller:
    """Where a runtime says what has happened."""

    def __init__(self, runtime: str, out: int = 1) -> None:
        self._runtime, self._out = runtime, out
        self._lines: list[str] = []
        self._states: dict[int, str] = {}
        self._places: dict[int, tuple[str, str]] = {}
        self.has_something: Callable[[], object] = lambda: None
        """Called when the first line is kept back: for a runtime of whose sleep one does not know."""

    def task(self, task: int, new: str, *, by: int = 0, why: str = "", name: str = "", fd: int = -1) -> None:
        """A task enters a state (tracer.task_fields.TASK_STATES)."""
        old = self._states.get(task, "")
        if new == "over":
            self._states.pop(task, None)
        else:
            self._states[task] = new
        self._add("task:state", fd, {"task": task, "by": by, "old": old, "new": new, "why": why, "name": name})

    def table(self, fd: int, rg: str, wg: str, why: str, *, task: int = 0) -> None:
        """A poll descriptor is this now: rg and wg are nil, ready or the number of a task."""
        rg_was, wg_was = self._places.get(fd, ("nil", "nil"))
        if why == "close":
            self._places.pop(fd, None)
        else:
            self._places[fd] = rg, wg
        places = {"rg": rg, "wg": wg, "rg_was": rg_was, "wg_was": wg_was}
        self._add("polldesc:change", fd, {"desc": fd, "task": task, **places, "why": why})

    def _add(self, kind: str, fd: int, fields: dict[str, Any]) -> None:
        told = Told(time.monotonic_ns(), kind, threading.get_native_id(), fd, fields | {"runtime": self._runtime})
        self._lines.append(f"{MARK}{json.dumps(told)}\n")
        if len(self._lines) == 1:
            self.has_something()
        if len(self._lines) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Say what was kept back."""
        text, self._lines = "".join(self._lines).encode(), []
        while text:
            text = text[os.write(self._out, text) :]


def heard(line: str) -> Told:
    """What a line tells. Raises ValueError, TypeError, KeyError for one that is none."""
    moment, kind, tid, fd, fields = json.loads(line.removeprefix(MARK))
    if kind not in KINDS or not isinstance(fields, dict):
        raise ValueError(f"{kind} is not for a runtime to tell")
    return Told(int(moment), kind, int(tid), int(fd), fields)
