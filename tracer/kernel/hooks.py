"""The probes of the table on their hooks: each on the first that this kernel has and takes, or off and why.

The verifier takes a third of a second for all programs, so they are loaded side by side, up to four at once where there
are as many processors. Only when all of them are loaded they are hung on their hooks, in the table's order: that takes
next to no time, so what one probe sees of a connection that is at work already another one has hardly missed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tracer.kernel.attach import Attached, AttachError, Mode, hang, load
from tracer.kernel.btf import KernelTypes
from tracer.kernel.fields import FIELDS, find
from tracer.kernel.image import Loaded
from tracer.kernel.probes import PROBES, Group, Hook, Probe

_ESSENTIAL: Final = Group.STATES
_NOT_ASKED: Final = "not asked for"
_AT_ONCE: Final = 4
"""Programs in the hands of the verifier at a time, at most."""


@dataclass(frozen=True)
class Status:
    """One probe: on, or off and why; or on, and why not the kind of event that `Probe.partly` names."""

    probe: Probe
    hook: Hook | None
    on: bool
    why: str = ""
    missed: int = 0
    """Runs that the kernel skipped because the same program was already running on that processor."""


@dataclass
class Kernel:
    """What programs are hung on: this kernel, and the way that was chosen to load them."""

    types: KernelTypes
    symbols: Mapping[str, int]
    mode: Mode
    casts: bool
    """Numbers are given types (text/common.c): what is refused so may be taken in another way."""

    def lacks(self, probe: Probe) -> str:
        """What the probe needs and this kernel has not, or does not tell; "" when there is nothing."""
        rows = {row.accessor: row for row in FIELDS}
        lacking = [name for name in probe.needs if find(self.types, rows[name]) is None]
        if lacking:
            return f"this kernel has no {', '.join(rows[lacking[0]].paths)}"
        hidden = [name for name in probe.symbols if name not in self.symbols]
        return _unknown(hidden[0]) if hidden else ""

    def hooks(self, probe: Probe) -> list[tuple[Hook, int]]:
        """Those of the probe's hooks that there are, best first, with their BTF ids."""
        found = []
        for hook in probe.hooks:
            prototype = None if hook.fentry else self.types.tracepoint(hook.name)
            number = self.types.function(hook.name) if hook.fentry else prototype.btf_id if prototype else None
            if number is not None:
                found.append((hook, number))
        return found


class _Row:
    """A probe on its way to its hook."""

    def __init__(self, probe: Probe, kernel: Kernel, code: bytes, why: str) -> None:
        self._probe, self._kernel, self._code, self._why = probe, kernel, code, why
        self._hooks = [] if why else kernel.hooks(probe)
        if not self._hooks:
            self._why = why or "this kernel has none of: " + ", ".join(hook.name for hook in probe.hooks)
        self._loaded: list[tuple[Hook, int]] = []

    @property
    def work(self) -> int:
        """For the verifier, about: the longest program first, and none of its helpers is idle at the end."""
        return len(self._code) if self._hooks else 0

    def load(self) -> None:
        """Give the program to the verifier, for the first hook that it takes it for.

        Raises `AttachError` where all should be tried in another way.
        """
        while self._hooks and not self._loaded:
            hook, number = self._hooks.pop(0)
            try:
                program = load(self._probe.program, self._code, self._kernel.mode, number, fentry=hook.fentry)
            except AttachError as error:
                self._refused(hook, error)
            else:
                self._loaded.append((hook, program))

    def hang(self, attached: list[Attached]) -> Status:
        """Put it on; where the kernel refuses that, the row says why. Raises `AttachError` as `load` does."""
        while self._loaded:
            hook, program = self._loaded.pop()
            try:
                attached.append(hang(self._probe.program, hook.name, program, self._kernel.mode, fentry=hook.fentry))
            except AttachError as error:
                self._refused(hook, error)
                self.load()
                continue
            part = self._probe.partly[0]
            return Status(self._probe, hook, True, _unknown(part) if part and part not in self._kernel.symbols else "")
        return Status(self._probe, None, False, self._why)

    def _refused(self, hook: Hook, error: AttachError) -> None:
        if self._probe.group is _ESSENTIAL or (self._kernel.casts and not hook.fentry):
            raise error
        self._why = str(error)

    def drop(self) -> None:
        """Let a program go that was not hung on its hook."""
        while self._loaded:
            os.close(self._loaded.pop()[1])


def put_on(groups: Collection[Group], module: Loaded, kernel: Kernel, attached: list[Attached]) -> list[Status]:
    """Put on the probes of these groups; those that are on are added to ``attached``. One row for each of the table.

    Raises `AttachError` when this way of loading does not do; what is in ``attached`` is the caller's even then.
    """
    rows = [
        _Row(probe, kernel, module.program(probe.program), kernel.lacks(probe) if probe.group in groups else _NOT_ASKED)
        for probe in PROBES
    ]
    try:
        _load(sorted(rows, key=lambda row: -row.work))
        return [row.hang(attached) for row in rows]
    finally:
        for row in rows:
            row.drop()


def _load(rows: Sequence[_Row]) -> None:
    """All of them; raises the first `AttachError`, when none is in the verifier's hands any more."""
    with ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as side:
        running: list[Future[None]] = [side.submit(row.load) for row in rows if row.work]
        try:
            for each in running:
                each.result()
        except BaseException:
            for each in running:
                each.cancel()
            raise


def _unknown(symbol: str) -> str:
    return f"the address of {symbol} is not to be had: CAP_SYSLOG is needed, or this kernel lacks it"
