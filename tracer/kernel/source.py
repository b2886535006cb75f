"""The kernel as a source of batches: programs compiled, loaded and hung on their hooks, who is followed, all taken off.

What the programs write is read in `rings`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar, Final

from tracer.batch import Batch, merge
from tracer.kernel.attach import Attached, AttachError, Mode, hang, load, map_update
from tracer.kernel.bcc_import import BccMissing
from tracer.kernel.btf import BtfError, KernelTypes, Prototype
from tracer.kernel.compile import CompileError, compile_text
from tracer.kernel.doctor import capabilities, missing_rights, too_old
from tracer.kernel.hooks import Kernel, Status, put_on
from tracer.kernel.image import Image, Images, Loaded
from tracer.kernel.probes import ALL_GROUPS, SYMBOLS, Group
from tracer.kernel.program import PLACEHOLDER, own_rings, program_text
from tracer.kernel.reasons import Reasons
from tracer.kernel.ring import Tally
from tracer.kernel.rings import DEFAULT_BYTES, RINGS, Rings
from tracer.kernel.seed import Seeder
from tracer.kernel.slots import map_entries
from tracer.kernel.softirqs import Softirqs
from tracer.kernel.symbols import addresses
from tracer.kernel.syscalls import CALL, DATA_CALLS, EPOLL_CALLS, FD_CALLS, numbers
from tracer.kernel.tree import FOLLOW, INHERIT, Tree
from tracer.kinds import Ring
from tracer.session import Losses

_WITH_QUEUES: Final = frozenset({Group.QUEUES, Group.RESETS})
"""With one of these a change of state tells the socket's queues and windows, too: a RST's reason may be unread data."""
_WAYS: Final = ((Mode.TP_BTF, True), (Mode.TP_BTF, False), (Mode.RAW_TP, False))
"""How to load, cheapest first, and whether with casts (text/common.c): a kernel may have them and yet refuse ours."""


class KernelError(Exception):
    """Probing is not possible here; one sentence says why."""


@dataclass(frozen=True)
class Filter:
    """Who is followed. A socket is followed when any of these holds, and then until it is freed."""

    processes: frozenset[int] = frozenset()
    """These processes and all that they will fork."""
    parents: frozenset[int] = frozenset()
    """Not these processes themselves, but all that they will fork."""
    netns: frozenset[int] = frozenset()
    """Inodes of network namespaces."""
    ports: frozenset[int] = frozenset()
    """Local or peer's port."""
    cgroups: frozenset[int] = frozenset()
    """Inodes (ids) of cgroups of the unified hierarchy: sockets made in them and below them, and their processes."""
    members: frozenset[int] = frozenset()
    """These processes and their sockets, not what they will fork: those that are in the cgroups already."""
    everything: bool = False
    """The whole machine, but for this process."""


@dataclass
class KernelSource:
    """The probes of this machine. `start` puts them on, `drain` brings events, `stop` takes everything off.

    `mode` None means: tp_btf, and raw_tp where the kernel refuses that; each with its records read in the cheapest way
    that the kernel takes.
    """

    groups: frozenset[Group] = ALL_GROUPS
    mode: Mode | None = None
    ring_bytes: dict[Ring, int] = field(default_factory=lambda: dict(DEFAULT_BYTES))

    rests: ClassVar = True
    """The rings keep what has come."""

    def __post_init__(self) -> None:
        self._module: Loaded | None = None
        self._attached: list[Attached] = []
        self._status: list[Status] = []
        self._rings: Rings | None = None
        self._softirqs: Softirqs | None = None
        self.unseen: dict[str, int] = {}
        """After `stop`: softirqs in which no probe was run, by vector, as far as that can be known."""
        self._seeder = Seeder()
        self._tree: Tree | None = None
        self._exits: Prototype | None = None
        self._onlooker: int | None = None

    # Starting

    def start(self, followed: Filter) -> None:
        """Put the probes on; when it returns they run. Raises `KernelError`, and has left nothing behind then."""
        lacking = too_old() or missing_rights(capabilities())
        if lacking:
            raise KernelError(lacking)
        try:
            types = KernelTypes()
            symbols = addresses(SYMBOLS)
            ways = [way for way in _WAYS if self.mode in (None, way[0])]
            for mode, casts in ways:
                try:
                    self._load(types, symbols, mode, followed, casts=casts)
                    break
                except AttachError:
                    if (mode, casts) == ways[-1]:
                        raise
                    self._let_go()
            types.save()
        except (BtfError, BccMissing, CompileError, AttachError, OSError) as error:
            self._let_go()
            raise KernelError(str(error)) from error
        except BaseException:
            self._let_go()
            raise

    def _load(self, types: KernelTypes, symbols: dict[str, int], mode: Mode, followed: Filter, *, casts: bool) -> None:
        constants = {PLACEHOLDER[name]: symbols.get(name, 0) for name in SYMBOLS}
        own = own_rings(types, mode, casts=casts)
        self._module = self._made(image_of(types, mode, casts=casts), constants, own=own)
        self.running_mode, self.casts, self.own_rings = mode, casts, own
        self._tree = Tree(self._module.map_fd("tree"))
        self._fill_maps(followed)
        self._rings = Rings(self._module, self.ring_bytes, Reasons(types), own=own)
        groups = self.groups | {Group.PROCESSES}  # forks decide who is followed: always on
        self._status = put_on(groups, self._module, Kernel(types, symbols, mode, casts), self._attached)
        if any(program.name == "on_softirq_exit" for program in self._attached):
            self._softirqs = Softirqs.of_map(self._map("cpu_here"), self._module.value_size("cpu_here"))
            self._softirqs.begin()
        self._exits = types.tracepoint("sys_exit")
        self._show(followed.processes | followed.members)

    def _show(self, processes: Collection[int]) -> None:
        """Take in the sockets that these processes have, by a program at the exits of calls that only sees this."""
        if self._module is None or self._exits is None or not processes:
            return
        if self._onlooker is None:
            self._onlooker = load("on_shown", self._module.program("on_shown"), self.running_mode, self._exits.btf_id)
        looking = hang("on_shown", "sys_exit", os.dup(self._onlooker), self.running_mode)
        try:
            for process in processes:
                self._seeder.show(process)
        finally:
            looking.close()

    def _made(self, image: Image, constants: dict[int, int], *, own: bool) -> Loaded:
        """The maps; where there is no room for larger rings than usual, with the usual ones."""

        def entries() -> dict[str, int]:
            return map_entries(self.ring_bytes, RINGS) if own else {RINGS[r]: n for r, n in self.ring_bytes.items()}

        try:
            return Loaded(image, constants, entries())
        except AttachError:
            if all(self.ring_bytes[ring] <= size for ring, size in DEFAULT_BYTES.items()):
                raise
            self.ring_bytes = dict(DEFAULT_BYTES)
            return Loaded(image, constants, entries())

    # Who is followed

    def _map(self, name: str) -> int:
        if self._module is None:
            raise KernelError("the probes are not on")
        return self._module.map_fd(name)

    def _fill_maps(self, followed: Filter) -> None:
        calls = self._map("calls")
        flags = ((FD_CALLS, 0x100), (DATA_CALLS, 0x200), (EPOLL_CALLS, 0x400))
        names = {index: name for name, index in CALL.items()}
        for number, index in numbers().items():
            what = index | sum(flag for among, flag in flags if names[index] in among)
            map_update(calls, _u32(number), _u32(what))
        settings = (followed.netns, followed.ports, followed.cgroups, followed.everything)
        switches = b"".join(_u32(int(bool(value))) for value in settings)
        rest = _u64(self._seeder.token) + _u32(os.getpid()) + _u32(0)
        rest += _u32(bool(self.groups & _WITH_QUEUES)) + _u32(Group.READINESS in self.groups)
        rest += bytes(24)  # struct settings (text/table.c)
        map_update(self._map("settings"), _u32(0), switches + rest)
        for parent in followed.parents:
            self.follow_process(parent, itself=False)
        for process in followed.processes:
            self.follow_process(process)
        for process in followed.members:
            self.follow_process(process, children=False)
        for cgroup in followed.cgroups:
            map_update(self._map("cgroup_set"), _u64(cgroup), _u32(1))
        for name, values in (("netns_set", followed.netns), ("port_set", followed.ports)):
            for value in values:
                map_update(self._map(name), _u32(value), _u32(1))

    def follow_process(self, pid: int, *, itself: bool = True, children: bool = True, sockets: bool = True) -> None:
        """From now on follow a process, the sockets that it has, and what it forks, or some of the three."""
        self._tree_if_on().put(pid, (INHERIT if children else 0) | (FOLLOW if itself else 0))
        if itself and sockets and self._attached:
            self._show((pid,))

    def unfollow_process(self, pid: int) -> None:
        """No longer; its children and sockets stay followed."""
        self._tree_if_on().put(pid, 0)

    def followed_processes(self) -> set[int]:
        """The processes that are followed now, those forked since included; a process leaves with its last thread."""
        return set() if self._tree is None else self._tree.followed()

    @property
    def tree(self) -> int:
        """Descriptor of the map of followed processes, for probes of another kind. Raises `KernelError`."""
        return self._tree_if_on().fd

    def _tree_if_on(self) -> Tree:
        if self._tree is None:
            raise KernelError("the probes are not on")
        return self._tree

    # Reading

    def drain(self) -> Batch:
        """Events since the last call, in order, a portion (`rings.PORTION`) at most. Never blocks; after `stop` brings
        the rest."""
        return merge([]) if self._rings is None else self._rings.drain()

    @property
    def more(self) -> bool:
        """Whether the last drain left much: the next one should follow at once."""
        return self._rings is not None and self._rings.more

    # Counting and ending

    def tallies(self) -> dict[Ring, Tally]:
        """Written and lost records by ring, exactly."""
        return dict.fromkeys(RINGS, Tally(0, 0)) if self._rings is None else self._rings.tallies()

    def losses(self) -> Losses:
        """Written and lost records of all rings; after `stop` the softirqs too in which no probe was run."""
        written = sum(count.written for count in self.tallies().values())
        return Losses(written, 0 if self._rings is None else self._rings.lost(), sum(self.unseen.values()))

    def status(self) -> list[Status]:
        """Every probe: on, or off and why."""
        missed = {program.name: program.runs().get("recursion_misses", 0) for program in self._attached}
        return [
            Status(row.probe, row.hook, row.on, row.why, missed.get(row.probe.program, row.missed))
            for row in self._status
        ]

    def runs(self) -> dict[str, tuple[int, int]]:
        """Runs and ns of every program that is on, as far as the kernel counts them (kernel.bpf_stats_enabled)."""
        counts = {program.name: program.runs() for program in self._attached}
        return {name: (each.get("run_cnt", 0), each.get("run_time_ns", 0)) for name, each in counts.items()}

    def stop(self) -> None:
        """Take the probes off; a last `drain` brings what is still in the rings. Twice is allowed."""
        self._status = self.status()
        if self._softirqs is not None:
            self.unseen, self._softirqs = self._softirqs.end(), None
        for program in self._attached:
            program.close()
        self._attached = []
        self._let_go()

    def _let_go(self) -> None:
        for program in self._attached:
            program.close()
        if self._rings is not None:
            self._rings.close()
        self._attached, self._softirqs = [], None
        if self._tree is not None:
            self._tree.close()
            self._tree = None
        if self._onlooker is not None:
            os.close(self._onlooker)
            self._onlooker = None
        if self._module is not None:
            self._module.close()
            self._module = None


def image_of(types: KernelTypes, mode: Mode, *, casts: bool = True) -> Image:
    """The programs for this kernel: from the cache, or compiled now and kept. Raises CompileError, BccMissing.

    The rings in it are of one page each: their size is said when an image is used.
    """
    text = program_text(types, mode, dict.fromkeys(RINGS, 1), casts=casts)
    images = Images()
    image = images.get(text)
    if image is None:
        image = compile_text(text)
        images.put(text, image)
    return image


def prepare() -> None:
    """Compile ahead (set-up calls it), so that the first trace starts as fast as the second. Raises `KernelError`."""
    try:
        types = KernelTypes()
        image_of(types, Mode.TP_BTF)
        types.save()
    except (BtfError, BccMissing, CompileError) as error:
        raise KernelError(str(error)) from error


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")
