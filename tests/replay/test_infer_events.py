"""Inferred states as events on the timeline: where they stand, what they carry."""

from __future__ import annotations

import numpy as np

from tracer.batch import Batch, BatchBuilder
from tracer.events import NUMBER
from tracer.identity import Identities
from tracer.kinds import Certainty, Evidence, Side, Source
from tracer.replay.infer_events import StateEvents
from tracer.segments import ACK, FIN, SYN, V4_MAPPED
from tracer.session import Losses, Session
from tracer.states import State
from tracer.timeline import Event, Timeline

CLIENT, SERVER = (0, V4_MAPPED | 0x0A000001, 40000), (0, V4_MAPPED | 0x0A000002, 80)
SECOND = 1_000_000_000


def packets(*rows: tuple[float, str, int, int, int]) -> Batch:
    """Packets as (seconds, C or S, flags, seq, ack)."""
    builder = BatchBuilder(Source.WIRE, Evidence.CAPTURED)
    for seconds, who, flags, seq, ack in rows:
        source, target = (CLIENT, SERVER) if who == "C" else (SERVER, CLIENT)
        fields = {
            "saddr": source[:2], "sport": source[2], "daddr": target[:2], "dport": target[2], "family": 4,
            "flags": flags, "seq": seq, "ack": ack, "window": 1000, "wscale": -1,
        }  # fmt: skip
        builder.add("packet:captured", int(seconds * SECOND), fields)
    return builder.take()


HANDSHAKE = ((1.0, "C", SYN, 100, 0), (1.1, "S", SYN | ACK, 500, 101), (1.2, "C", ACK, 101, 501))
CLOSING = (
    (2.0, "C", FIN | ACK, 101, 501),
    (2.1, "S", ACK, 501, 102),
    (2.2, "S", FIN | ACK, 501, 102),
    (2.3, "C", ACK, 102, 502),
)


def timeline(*batches: Batch, now: float | None = None) -> Timeline:
    line, identities, states = Timeline(), Identities(), StateEvents()
    for batch in batches:
        identities.resolve(batch)
        line.append(states.extend(batch))
    if now is not None:
        line.append(states.extend(packets(), int(now * SECOND)))
    return line


def told(events: list[Event]) -> list[str]:
    return [
        f"{event.side.name} {State(event['old']).name}>{State(event['new']).name}"
        if event.name == "socket:state"
        else f"{event.side.name} packet"
        for event in events
    ]


def test_changes_stand_right_behind_their_packet() -> None:
    assert told(list(timeline(packets(*HANDSHAKE)).events())) == [
        "CLIENT packet",
        "CLIENT CLOSE>SYN_SENT",
        "SERVER packet",
        "SERVER LISTEN>SYN_RECV",
        "CLIENT SYN_SENT>ESTABLISHED",
        "CLIENT packet",
        "SERVER SYN_RECV>ESTABLISHED",
    ]


def test_an_event_says_whose_state_it_is_and_how_it_is_known() -> None:
    event = timeline(packets(*HANDSHAKE))[3]
    assert (event.source, event.evidence, event.side) == (Source.ENGINE, Evidence.INFERRED, Side.SERVER)
    assert (event.conn, event.sock, event.fd, event.time) == (1, 0, -1, int(1.1 * SECOND))
    assert (event.ip("saddr"), event["sport"], event.ip("daddr"), event["dport"]) == ("10.0.0.2", 80, "10.0.0.1", 40000)
    assert (event["family"], event["state"], event["certainty"]) == (4, State.SYN_RECV, Certainty.CERTAIN)


def test_cutting_the_packets_into_batches_changes_nothing() -> None:
    rows = HANDSHAKE + CLOSING
    whole = told(list(timeline(packets(*rows)).events()))
    assert told(list(timeline(*(packets(row) for row in rows)).events())) == whole
    assert whole[-4:] == ["SERVER CLOSE_WAIT>LAST_ACK", "CLIENT FIN_WAIT2>TIME_WAIT", "CLIENT packet",
                          "SERVER LAST_ACK>CLOSE"]  # fmt: skip


def test_time_wait_ends_without_packets_when_time_passes() -> None:
    line = timeline(packets(*HANDSHAKE, *CLOSING), now=70)
    last = line[len(line) - 1]
    assert told([last]) == ["CLIENT TIME_WAIT>CLOSE"]
    assert last.time == int(62.2 * SECOND)


def test_time_wait_ends_between_the_packets_of_others() -> None:
    late = packets((61.0, "C", ACK, 102, 502), (70.0, "S", SYN, 9000, 0))
    names = told(list(timeline(packets(*HANDSHAKE, *CLOSING), late).events()))
    assert names[-4:] == ["CLIENT packet", "CLIENT TIME_WAIT>CLOSE", "CLIENT packet", "CLIENT CLOSE>SYN_SENT"]


def test_time_wait_that_ends_with_a_packet_ends_before_it() -> None:
    names = told(list(timeline(packets(*HANDSHAKE, *CLOSING), packets((62.2, "C", SYN, 9000, 0))).events()))
    assert names[-3:] == ["CLIENT TIME_WAIT>CLOSE", "CLIENT packet", "CLIENT CLOSE>SYN_SENT"]


def test_states_that_a_probe_saw_keep_their_rows() -> None:
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    builder.add("socket:state", int(1.05 * SECOND), {"old": State.CLOSE, "new": State.LISTEN})
    first = packets(HANDSHAKE[0])
    seen = builder.take()
    heads = np.concatenate([first.heads, seen.heads])
    both = Batch(heads, {**first.tables, **seen.tables})
    both.heads["conn"][0], both.heads["side"][0] = 1, Side.CLIENT
    extended = StateEvents().extend(both)
    assert extended.heads["source"].tolist() == [Source.WIRE, Source.ENGINE, Source.KERNEL]
    assert extended.tables[NUMBER["socket:state"]]["new"].tolist() == [State.SYN_SENT, State.LISTEN]
    assert extended.heads["row"].tolist() == [0, 0, 1]
    assert len(both) == 2


def test_packets_of_no_connection_and_empty_batches_pass_through() -> None:
    batch = packets(*HANDSHAKE)  # not resolved: conn is 0
    assert StateEvents().extend(batch) is batch
    assert len(StateEvents().extend(packets())) == 0


class Script:
    """A source that gives each batch once."""

    def __init__(self, *batches: Batch) -> None:
        self.batches = list(batches)

    def drain(self) -> Batch:
        return self.batches.pop(0) if self.batches else packets()

    def losses(self) -> Losses:
        return Losses()

    def stop(self) -> None:
        """Nothing to stop."""


def test_a_live_session_lets_time_wait_end_although_nobody_sends() -> None:
    moments = iter([3.0, 50.0, 62.21, 62.23, 99.0])
    session = Session(
        [Script(packets(*HANDSHAKE, *CLOSING))],
        clock=lambda: int(next(moments) * SECOND),
        timed=[StateEvents().extend],
    )
    counts = [session.pump() for _ in range(5)]
    assert [count > 0 for count in counts] == [True, False, False, True, False], "some 20 ms late: LAG"
    last = list(session.timeline.events())[-1]
    assert told([last]) == ["CLIENT TIME_WAIT>CLOSE"]
    assert last.time == int(62.2 * SECOND)
