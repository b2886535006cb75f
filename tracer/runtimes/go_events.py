"""From the records of the Go probes to events of the vocabulary: numbers become the words that the runtimes share."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.batch import Batch
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.field_types import TYPES, Field
from tracer.kinds import Evidence, Source
from tracer.runtimes.go_binary import GoBinary
from tracer.task_fields import CALLING, NEW, NIL, OVER, READY, RUNNABLE, RUNNING, WAIT, WAITING

RECORD_FIELDS: Final = (
    Field("time", "u64", "ns", "CLOCK_MONOTONIC"),
    Field("task", "u64", "", "goid"),
    Field("by", "u64", "", "goid of the goroutine in whose turn this happened, 0 the scheduler"),
    Field("value", "u64", "", "of a goroutine its start; the poll descriptor; of netpoll() its return address"),
    Field("ip", "u64", "", "where the probe was hit; 0 not told"),
    Field("rg", "u64", "", "0 nil, 1 ready, 2 wait, 3 | goid << 2; of netpoll() the delay"),
    Field("wg", "u64", "", "the same"),
    Field("rg_was", "u64", "", "the same, all ones where not known"),
    Field("wg_was", "u64", "", "the same"),
    Field("pid", "u32", "", "process"),
    Field("tid", "u32", "", "thread"),
    Field("fd", "i32", "", "-1 none"),
    Field("cpu", "u16", "", "processor"),
    Field("kind", "u8", "", "which of KINDS"),
    Field("why", "u8", "", "which of WHY"),
    Field("old", "u8", "", "status left"),
    Field("next", "u8", "", "status entered"),
    Field("reason", "u8", "", "why it waits, as the Go version numbers it"),
)
RECORD: Final = np.dtype([(field.name, TYPES[field.type].numpy) for field in RECORD_FIELDS], align=True)
"""A probe's record; in C struct go_record."""

KINDS: Final = {1: NUMBER["task:state"], 2: NUMBER["polldesc:change"], 3: NUMBER["poller:asks"]}
WHY: Final = ("", "open", "reset", "park", "taken", "readable", "writable", "both", "deadline", "closing", "close")
STATUS: Final = {
    1: RUNNABLE, 2: RUNNING, 3: CALLING, 4: WAITING, 6: OVER, 9: WAITING, 10: WAITING, 11: OVER,
}  # fmt: skip
"""Statuses of runtime2.go: 9 is _Gpreempted, 10 _Gleaked, 11 _Gdeadextra."""
_READABLE, _WRITABLE, _CLOSE = (WHY.index(word) for word in ("readable", "writable", "close"))
_SIDES: Final = ("rg", "wg", "rg_was", "wg_was")
_PLACES: Final = (NIL, READY, WAIT)
_UNKNOWN: Final = (1 << 64) - 1
_NAME: Final = 40
_HERE: Final = b"go"


def c_record() -> str:
    """The record in C."""
    body = "".join(f"    {TYPES[field.type].c % field.name};\n" for field in RECORD_FIELDS)
    return f"struct go_record {{\n{body}}};\n"


class GoWords:
    """The words for one program."""

    def __init__(self, binary: GoBinary, reasons: tuple[str, ...]) -> None:
        self._binary = binary
        self._reasons = np.array(
            [(reasons[n] if n < len(reasons) else f"reason {n}").encode() for n in range(256)], "S40"
        )
        self._reasons[0] = b""
        known = {number: word.encode() for number, word in STATUS.items()}
        self._states = np.array([known.get(number, f"status {number}".encode()) for number in range(256)], "S16")
        self._why = np.array([word.encode() for word in WHY], "S40")
        self._names: dict[int, bytes] = {}
        self._moved: dict[int, int] = {}
        """Process -> how far its code lies from where the file says (position-independent programs)."""
        self._places: dict[tuple[int, int], tuple[int, ...]] = {}
        """Process and poll descriptor -> `_SIDES` as last told."""
        hooks = {1: "runtime.casgstatus", 3: "runtime.netpoll"}
        self._at = {kind: (binary.function(name) or (0, 0))[0] for kind, name in hooks.items()}

    def batch(self, records: NDArray[np.void], offset: int) -> Batch:
        """Events of records; ``offset`` is what turns their clock into ns since the Unix epoch."""
        records = records[(records["kind"] != 1) | (records["task"] != 0)]  # a thread's own g0 is no task
        heads = np.zeros(len(records), HEAD)
        for name in ("pid", "tid", "fd", "cpu"):
            heads[name] = records[name]
        heads["probe_time"] = records["time"]
        heads["time"] = np.maximum.accumulate(records["time"]) + np.uint64(offset)
        heads["source"], heads["evidence"] = Source.RUNTIME, Evidence.OBSERVED
        tables = {}
        for kind, write in ((1, self._tasks), (2, self._polls), (3, self._asks)):
            mine = np.flatnonzero(records["kind"] == kind)
            if len(mine):
                number = KINDS[kind]
                heads["kind"][mine], heads["row"][mine] = number, np.arange(len(mine))
                rows = np.zeros(len(mine), PAYLOAD[number])
                rows["runtime"] = _HERE
                write(records[mine], rows)
                tables[number] = rows
        return Batch(heads, tables)

    def _tasks(self, records: NDArray[np.void], rows: NDArray[np.void]) -> None:
        rows["task"], rows["by"] = records["task"], records["by"]
        rows["old"], rows["new"] = self._states[records["old"]], self._states[records["next"]]
        rows["old"][records["ip"] == 0] = NEW.encode()  # told by newproc1
        rows["why"] = self._reasons[records["reason"]]
        rows["why"][records["next"] == 9] = b"preempted"
        rows["name"] = self._functions(records)

    def _polls(self, records: NDArray[np.void], rows: NDArray[np.void]) -> None:
        rows["desc"], rows["task"], rows["why"] = records["value"], records["task"], self._why[records["why"]]
        places = self._followed_on(records)
        for column, name in enumerate(_SIDES):
            values, where = np.unique(places[:, column], return_inverse=True)
            rows[name] = np.array([_place(value).encode() for value in values.tolist()], "S16")[where]

    def _followed_on(self, records: NDArray[np.void]) -> NDArray[np.uint64]:
        """What the places held after and before each record, as `_SIDES`.

        Two threads may work on one descriptor at once, one parking its reader, one telling that it is writable, and
        each looks at both places. A record whose before is the last one's before, and not its after, has looked earlier
        than that: it goes on from what was told meanwhile, and a place that is not its own stays as it was.
        """
        told: list[tuple[int, ...]] = []
        names = ("pid", "value", "why", *_SIDES)
        for pid, desc, why, rg, wg, rg_was, wg_was in zip(*(records[name].tolist() for name in names), strict=True):
            last = self._places.get((pid, desc))
            if last is not None and last[0] != rg_was == last[2]:
                rg, rg_was = last[0] if why == _WRITABLE else rg, last[0]
            if last is not None and last[1] != wg_was == last[3]:
                wg, wg_was = last[1] if why == _READABLE else wg, last[1]
            row = rg, wg, rg_was, wg_was
            told.append(row)
            if why == _CLOSE:
                self._places.pop((pid, desc), None)
            else:
                self._places[pid, desc] = row
        return np.array(told, np.uint64).reshape(-1, len(_SIDES))

    def _asks(self, records: NDArray[np.void], rows: NDArray[np.void]) -> None:
        rows["delay"], rows["task"] = records["rg"].view(np.int64), records["by"]
        rows["caller"] = self._functions(records)

    def _functions(self, records: NDArray[np.void]) -> NDArray[np.bytes_]:
        """The names behind ``value``, each an address in its process."""
        for kind, pid, ip in np.unique(records[["kind", "pid", "ip"]]).tolist():
            if ip:
                self._moved[pid] = ip - self._at[kind]
        pairs, where = np.unique(records[["pid", "value"]], return_inverse=True)
        names = [self._name(value - self._moved.get(pid, 0)) for pid, value in pairs.tolist()]
        found: NDArray[np.bytes_] = np.array(names, "S40")[where]
        return found

    def _name(self, address: int) -> bytes:
        known = self._names.get(address)
        if known is None:
            name = self._binary.name_at(address).rpartition("/")[2]
            known = self._names[address] = name[:_NAME].encode("ascii", "replace")
        return known


def _place(value: int) -> str:
    if value == _UNKNOWN:
        return ""
    return _PLACES[value] if value < len(_PLACES) else str(value >> 2)
