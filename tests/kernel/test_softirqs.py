"""Softirqs that no probe saw are counted: by taking the probe away, and by the numbers alone."""

from __future__ import annotations

import os
import socket

import pytest

from tracer.kernel.probes import Group
from tracer.kernel.softirqs import PROC, VECTORS, Range, counted, grown
from tracer.kernel.source import Filter, KernelSource
from tracer.session import Session

TIMES = 300


def _packets() -> None:
    """So many over loopback: each is received in a softirq of its own, at the end of the call that sends it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        other.bind(("127.0.0.1", 0))
        for _ in range(TIMES):
            one.sendto(b"x", other.getsockname())
            other.recv(1)


@pytest.mark.kernel
def test_what_ran_without_the_probe_is_counted_and_no_event_is_lost() -> None:
    source = KernelSource(groups=frozenset({Group.STATES, Group.PACKETS}))
    source.start(Filter(parents=frozenset({os.getpid()})))
    session = Session([source])
    try:
        assert source._softirqs is not None
        _packets()
        seen = source._softirqs.end().get("NET_RX", 0)
        assert seen < TIMES / 3, "the program at softirq_exit sees them"
        for program in source._attached:
            if program.name == "on_softirq_exit":
                program.close()
        _packets()
    finally:
        session.stop()
    assert source.unseen["NET_RX"] >= TIMES
    losses = session.losses()
    assert (losses.unseen, losses.lost) == (sum(source.unseen.values()), 0)
    told = [event["softirqs"] for event in session.timeline.events() if event.name == "trace:unseen"]
    assert told == [losses.unseen]


@pytest.mark.kernel
def test_who_does_not_watch_packets_claims_nothing() -> None:
    source = KernelSource(groups=frozenset({Group.STATES}))
    source.start(Filter(parents=frozenset({os.getpid()})))
    _packets()
    source.stop()
    assert source.unseen == {}


def test_every_processor_and_vector_is_read() -> None:
    text = "                    CPU0       CPU2\n          HI:          1          2\n"
    text += "".join(f"{name:>12}: {number:10} {number + 7:10}\n" for name, number in VECTORS.items())
    expected = {(name, cpu): number + more for name, number in VECTORS.items() for cpu, more in ((0, 0), (2, 7))}
    assert counted(text) == expected
    assert {vector for vector, _ in counted(PROC.read_text())} == set(VECTORS)


@pytest.mark.parametrize(
    ("before", "after", "least"),
    [
        ((40, 40), (40, 40), 0),
        ((40, 40), (43, 43), 3),
        ((40, 42), (43, 45), 1),  # what is not known is not claimed
        ((40, 42), (41, 45), 0),
        ((2**32 - 1, 2**32 - 1), (1, 1), 2),  # the kernel's count has come round
    ],
)
def test_only_the_least_is_said(before: tuple[int, int], after: tuple[int, int], least: int) -> None:
    found = grown({("TIMER", 0): Range(*before)}, {("TIMER", 0): Range(*after), ("TIMER", 1): Range(9, 9)})
    assert found == ({"TIMER": least} if least else {})
