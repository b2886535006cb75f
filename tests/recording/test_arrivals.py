"""A segment is written once, where it leaves, however late, often or in which buffer it arrives."""

from __future__ import annotations

from tracer.batch import BatchBuilder
from tracer.kinds import Evidence, Source
from tracer.recording.arrivals import REMEMBERED, Departures

SENT, RECEIVED, JOURNAL = 2, 1, -1


def directions(memory: Departures, *packets: tuple[str, int, int]) -> list[int]:
    """Of (kind, skb, seq): what each is written as."""
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    for kind, skb, seq in packets:
        builder.add(kind, 1, {"caplen": 40, "skb": skb, "seq": seq, "sport": 1, "dport": 2})
    return memory.directions(builder.take(), None).tolist()


def test_an_arrival_is_known_by_its_segment_not_by_its_buffer() -> None:
    memory = Departures()
    assert directions(memory, ("packet:sent", 7, 100), ("packet:received", 7, 100)) == [SENT, JOURNAL]
    assert directions(memory, ("packet:sent", 7, 200)) == [SENT]
    # a relay has taken it out of one buffer and put it into another, twice
    assert directions(memory, ("packet:received", 8, 200), ("packet:received", 9, 200)) == [JOURNAL, JOURNAL]


def test_a_segment_sent_again_is_written_again_and_a_strangers_too() -> None:
    memory = Departures()
    assert directions(memory, ("packet:sent", 1, 5), ("packet:sent", 2, 5)) == [SENT, SENT]
    assert directions(memory, ("packet:received", 3, 5), ("packet:received", 3, 6)) == [JOURNAL, RECEIVED]


def test_the_oldest_departures_are_forgotten() -> None:
    memory = Departures()
    directions(memory, *(("packet:sent", 1, seq) for seq in range(REMEMBERED + 1)))
    assert directions(memory, ("packet:received", 1, REMEMBERED), ("packet:received", 1, 0)) == [JOURNAL, RECEIVED]
