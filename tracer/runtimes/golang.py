"""Go programs as a source: goroutines, poll descriptors and who asks epoll, by uprobes.

The runtime tells nobody what it does, but a few of its functions are at the heart of it: every change of a goroutine's
status goes through casgstatus, every goroutine is made by newproc1, every wait for a descriptor is in netpollblock and
every notice in netpollready. Probes sit at those, in the file: each process that runs it has them, and only who is
followed is told of. Opt-in, since a hit costs its program about a hundred times what a probe of the kernel's does.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from tracer.batch import Batch, BatchBuilder, merge
from tracer.kernel.attach import Attached, AttachError, InProgram
from tracer.kernel.bcc_import import BccMissing
from tracer.kernel.clock import Clock
from tracer.kernel.compile import CompileError, compile_text
from tracer.kernel.image import Image, Images, Loaded
from tracer.kernel.ring import HEADER_BYTES, MappedRing, Tallies, Tally
from tracer.kernel.source import KernelError, KernelSource
from tracer.kinds import Evidence, Source
from tracer.runtimes.go_binary import GoBinary, GoError, NotGo
from tracer.runtimes.go_events import RECORD, GoWords, c_record
from tracer.runtimes.go_layout import Layout, layout_of
from tracer.runtimes.uprobes import put, take_off
from tracer.session import Losses

RING_BYTES: Final = 8 << 20
"""One program's ring: 80,000 records between two drains."""
LOOK: Final = 0.02
"""Seconds between two looks at which programs the followed processes run, where they are ..."""
FEW: Final = 64
"""... not more than these; else:"""
SELDOM: Final = 1.0
OLDEST: Final = 17
"""Minor version since which arguments are in registers."""
COST: Final = 11_000
"""ns that a hit takes from its program, about: two traps and the probe; measured by bench/go_probes."""


class Place(NamedTuple):
    """One row: where a program sits."""

    program: str
    function: str
    returns: bool = False
    """At every RET of the function; else at its entry."""
    needed: bool = True


PLACES: Final[tuple[Place, ...]] = (
    Place("on_newproc1_return", "runtime.newproc1", returns=True),
    Place("on_casgstatus", "runtime.casgstatus"),
    Place("on_netpoll", "runtime.netpoll", needed=False),
    Place("on_open_return", "internal/poll.runtime_pollOpen", returns=True),
    Place("on_close", "internal/poll.runtime_pollClose"),
    Place("on_reset", "internal/poll.runtime_pollReset"),
    Place("on_return", "internal/poll.runtime_pollReset", returns=True),
    Place("on_block", "runtime.netpollblock"),
    Place("on_block_return", "runtime.netpollblock", returns=True),
    Place("on_commit_return", "runtime.netpollblockcommit", returns=True),
    Place("on_ready", "runtime.netpollready"),
    Place("on_return", "runtime.netpollready", returns=True),
    Place("on_unblock", "internal/poll.runtime_pollUnblock"),
    Place("on_return", "internal/poll.runtime_pollUnblock", returns=True),
    Place("on_deadline", "internal/poll.runtime_pollSetDeadline", needed=False),
    Place("on_return", "internal/poll.runtime_pollSetDeadline", returns=True, needed=False),
    Place("on_deadline", "runtime.netpolldeadlineimpl", needed=False),
    Place("on_return", "runtime.netpolldeadlineimpl", returns=True, needed=False),
)
"""Every probe. A program without the network has no poll descriptors: then only its goroutines are followed."""
_ALWAYS: Final = 2
"""The first rows: without them there is nothing to see."""

PLACEHOLDER: Final = {name: 0x60FE_57A7_0FF5_0001 + (i << 40) for i, name in enumerate(Layout._fields)}
"""What stands in the text for an offset: it depends on the Go version, and the text should not."""


@dataclass
class _Program:
    """One probed file."""

    module: Loaded
    words: GoWords
    ring: MappedRing
    tallies: Tallies
    attached: list[Attached] = field(default_factory=list)

    def close(self) -> None:
        take_off(self.attached)
        self.attached = []
        with contextlib.suppress(BufferError):
            self.ring.close()
        self.module.close()


class GoSource:
    """The Go programs among those that the kernel source follows. `add` probes a file; others are found as they run."""

    def __init__(self, kernel: KernelSource, mode: InProgram | None = None) -> None:
        """``kernel`` must have been started: it knows who is followed. ``mode``: see tracer.runtimes.uprobes."""
        self._kernel, self._clock, self._mode = kernel, Clock(), mode
        self._programs: dict[tuple[int, int], _Program | None] = {}
        self._closed = Losses()
        self._next_look = 0.0
        self._notes = BatchBuilder(Source.TRACER, Evidence.REPORTED)
        self._rest: list[Batch] = []

    def add(self, path: str) -> None:
        """Probe a program's file. Raises `GoError` when that is not possible; twice is allowed."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # the process may end meanwhile
        except OSError as refused:
            raise GoError(f"{path}: {refused.strerror}") from None
        try:
            status = os.fstat(file)
            key = status.st_dev, status.st_ino
            if key not in self._programs:
                self._programs[key] = None  # once is enough, whatever comes of it
                self._programs[key] = self._probe(path, f"/proc/self/fd/{file}")
        finally:
            os.close(file)

    @property
    def programs(self) -> int:
        """How many files are probed."""
        return sum(program is not None for program in self._programs.values())

    def _probe(self, name: str, path: str) -> _Program:
        binary = GoBinary(path, name)
        if binary.minor and binary.minor < OLDEST:
            raise GoError(f"{name} is made by {binary.version}: goroutines are followed since Go 1.{OLDEST}")
        try:
            return self._put(binary)
        except (AttachError, BccMissing, CompileError, KernelError, OSError, ValueError) as error:
            raise GoError(f"{name}: {error}") from error

    def _put(self, binary: GoBinary) -> _Program:
        layout, reasons = layout_of(binary)
        constants = {PLACEHOLDER[name]: value for name, value in layout._asdict().items()}
        module = Loaded(go_image(), constants, {"go_ring": RING_BYTES}, {"tree": self._kernel.tree})
        try:
            ring = MappedRing(module.map_fd("go_ring"), RING_BYTES, HEADER_BYTES + RECORD.itemsize)
        except BaseException:
            module.close()
            raise
        program = _Program(module, GoWords(binary, reasons), ring, Tallies(module.map_fd("tallies")))
        try:
            for name, addresses in _places(binary).items():
                code = module.program(name)
                program.attached += put(name, code, binary.path, [binary.offset(at) for at in addresses], self._mode)
        except BaseException:
            program.close()
            raise
        binary.release()
        return program

    # Reading

    def drain(self) -> Batch:
        """Events since the last call, in order for each program; new programs are looked for as well."""
        self._look()
        batches = [self._notes.take(), *self._rest]
        self._rest = []
        return merge([*batches, *(self._read(program) for program in self._programs.values() if program)])

    def _read(self, program: _Program) -> Batch:
        records = program.ring.drain().reshape(-1).view(RECORD)
        return program.words.batch(records, self._clock.offset.ns)

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        processes = self._kernel.followed_processes()
        self._next_look = now + (LOOK if len(processes) <= FEW else SELDOM)
        for pid in processes:
            path = f"/proc/{pid}/exe"
            with contextlib.suppress(OSError):  # it has ended
                status = Path(path).stat()
                if (status.st_dev, status.st_ino) not in self._programs:
                    self._found(pid, path)

    def _found(self, pid: int, path: str) -> None:
        try:
            self.add(path)
        except NotGo:
            return
        except GoError as reason:
            self._notes.add("trace:note", time.time_ns(), {"text": f"process {pid}: {reason}"}, pid=pid)

    def losses(self) -> Losses:
        """Records written and lost, of all programs."""
        counts = [program.tallies.read(0) for program in self._programs.values() if program] or [Tally(0, 0)]
        written = self._closed.written + sum(count.written for count in counts)
        return Losses(written, self._closed.lost + sum(count.lost for count in counts))

    @property
    def hits(self) -> int:
        """How often followed programs came to a probe: what `COST` is for. Of programs that are probed now."""
        return sum(program.tallies.read(1).written for program in self._programs.values() if program)

    def stop(self) -> None:
        """Take the probes off; a last `drain` brings what is still in the rings. Twice is allowed."""
        for key, program in self._programs.items():
            if program is None:
                continue
            take_off(program.attached)
            self._rest.append(self._read(program))
            count = program.tallies.read(0)
            self._closed = Losses(self._closed.written + count.written, self._closed.lost + count.lost)
            program.close()
            self._programs[key] = None
        self._next_look = float("inf")


def _places(binary: GoBinary) -> dict[str, list[int]]:
    """Program -> the addresses at which it sits. Raises `GoError` where one is missing that is needed."""
    found: dict[str, list[int]] = {}
    network = binary.function("runtime.netpollblock") is not None
    for place in PLACES if network else PLACES[:_ALWAYS]:
        start = binary.function(place.function)
        addresses = [] if start is None else binary.returns(place.function) if place.returns else [start[0]]
        if not addresses and place.needed:
            raise GoError(f"{binary.name} ({binary.version}): {place.function} was not found, or not where it returns")
        if addresses:
            found.setdefault(place.program, []).extend(addresses)
    return found


def go_text() -> str:
    """The program text: the same for every Go version. Who is followed is the kernel source's own map."""
    defines = "".join(f"#define AT_{name.upper()} {value:#x}ULL\n" for name, value in PLACEHOLDER.items())
    text = (files("tracer.runtimes") / "text" / "go.c").read_text(encoding="utf-8")
    tree = (files("tracer.kernel") / "text" / "tree.c").read_text(encoding="utf-8")
    return defines + c_record() + tree + text


def go_image() -> Image:
    """The programs: from the cache, or compiled now and kept. Raises CompileError, BccMissing."""
    text, images = go_text(), Images()
    image = images.get(text)
    if image is None:
        image = compile_text(text)
        images.put(text, image)
    return image
