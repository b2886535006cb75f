"""The eyes for a stage: the sources that see most of a play with the rights there are.

Kernel probes see everything as it happens. On a stage with a network of its own the network is their filter, so that
nobody's packet is missed and none of a stranger's is seen; on the host's loopback the actors' processes and the play's
port are. A Go program is looked into as well: of its goroutines the kernel knows nothing. Without probes packets
(AF_PACKET, where the stage's network is our own) and the sampled socket table are what a plain user has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scenarios.stage import Ground, Stage
from tracer.kernel.source import Filter, KernelError, KernelSource
from tracer.session import EventSource
from tracer.tables.counters import ListenCounters
from tracer.tables.source import TableSource

Sight = tuple[str, bool, str]
"""A group of eyes, whether it sees anything, and what is to be said about it (why not, where it does not)."""


def probes(ground: Ground) -> KernelSource:
    """Kernel probes that watch what happens on this stage and nothing else. Raises KernelError."""
    source = KernelSource()
    pids = frozenset(ground.watched)
    if ground.isolated:
        source.start(Filter(processes=pids, netns=frozenset(ground.networks.values())))
    else:
        source.start(Filter(processes=pids, ports=frozenset({ground.port})))
    return source


def counters(ground: Ground) -> ListenCounters:
    """The kernel's own counts of connections turned away, of each network of the stage."""
    files = {
        ground.networks[name]: Path(f"/proc/{pid}/net/netstat")
        for name, pid in ground.pids.items()
        if name in ground.networks
    }
    return ListenCounters(files)


def runtimes(stage: Stage, kernel: KernelSource) -> list[EventSource]:
    """What looks into the Go programs of a play; none where it has none. `kernel` has started. Raises KernelError."""
    if not stage.programs:
        return []
    from tracer.runtimes.go_binary import GoError  # a disassembler and all: few plays need it
    from tracer.runtimes.golang import GoSource

    go = GoSource(kernel)
    try:
        for path in stage.programs.values():
            go.add(path)
    except GoError as reason:
        go.stop()
        raise KernelError(str(reason)) from None
    return [go]


def plain(stage: Stage, ground: Ground) -> tuple[list[EventSource], list[Sight]]:
    """Packets and the socket table, as far as the rights go."""
    from tracer.wire import seats
    from tracer.wire.source import WireSource

    sources: list[EventSource] = []
    told: list[Sight] = []
    ports = () if ground.isolated else (ground.port,)
    first = stage.scenario.actors[0]
    netns = ground.networks[first]
    try:
        seat, remark = seats.take(lambda: stage.socket("packet"), stage.interface)
        # Seen on a wire between networks, a packet belongs to neither of them.
        sources.append(WireSource(seat, netns if len(set(ground.networks.values())) == 1 else 0, ports))
        told.append(("packets", True, remark))
    except OSError as refused:
        told.append(("packets", False, f"AF_PACKET: {refused.strerror}"))
    for actor, inode in ground.networks.items():
        if inode == netns and actor != first:
            continue  # one network, one table
        try:
            sources.append(TableSource(stage.socket("diag", actor), inode, ports, ground.watched))
            told.append(("table", True, "sampled: what lies between two readings is not seen"))
        except OSError as refused:
            told.append(("table", False, f"sock_diag: {refused.strerror}"))
    return sources, told


def hurry(sources: Sequence[EventSource]) -> None:
    """Something is about to happen: who reads tables looks before it does, and does not sleep while it does."""
    for source in sources:
        if isinstance(source, TableSource):
            source.look()
