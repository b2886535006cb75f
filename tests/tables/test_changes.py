"""Readings of a table told as a transcript: what is there, and which events come of it."""

from __future__ import annotations

import itertools
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tracer.batch import BatchBuilder
from tracer.kinds import Evidence, Source
from tracer.states import State
from tracer.tables.changes import Changes
from tracer.timeline import Timeline

SERVER, CLIENT = ("127.0.0.1", 80), ("127.0.0.1", 5000)


@dataclass
class Sock:
    """One socket as a message of the kernel's."""

    cookie: int
    state: State
    local: tuple[str, int]
    peer: tuple[str, int] = ("0.0.0.0", 0)
    rqueue: int = 0
    wqueue: int = 0
    inode: int = 0
    timer: int = 0
    expires: int = 0
    retransmits: int = 0
    info: bool = True

    def message(self) -> bytes:
        def raw(host: str) -> bytes:
            return bytes(map(int, host.split("."))) + bytes(12)

        fixed = struct.pack(
            "=BBBB2s2s16s16sIQIIIII",
            2,
            self.state,
            self.timer,
            self.retransmits,
            self.local[1].to_bytes(2, "big"),
            self.peer[1].to_bytes(2, "big"),
            raw(self.local[0]),
            raw(self.peer[0]),
            0,
            self.cookie,
            self.expires,
            self.rqueue,
            self.wqueue,
            1000,
            self.inode,
        )
        return fixed + (struct.pack("=HH", 4 + 232, 2) + bytes(232) if self.info else b"")


def listener(rqueue: int = 0) -> Sock:
    return Sock(1, State.LISTEN, SERVER, rqueue=rqueue, wqueue=8, inode=10)


def child(state: State = State.ESTABLISHED, inode: int = 0, rqueue: int = 0) -> Sock:
    return Sock(2, state, SERVER, CLIENT, inode=inode, rqueue=rqueue)


def client(state: State = State.ESTABLISHED) -> Sock:
    return Sock(3, state, CLIENT, SERVER, inode=30)


def timewait(left: int, state: State = State.TIME_WAIT) -> Sock:
    return Sock(3, state, CLIENT, SERVER, timer=3, expires=left, info=False)


def request(retransmits: int = 0) -> Sock:
    return Sock(2, State.SYN_RECV, SERVER, CLIENT, timer=1, retransmits=retransmits, info=False)


def told(*readings: Sequence[Sock], every_ms: int = 10) -> list[list[str]]:
    """The events of each reading, as lines."""
    builder = BatchBuilder(Source.TABLE, Evidence.SAMPLED)
    changes = Changes(builder, netns=7, owner={10: (100, 3), 20: (100, 5), 30: (200, 3)}.get)
    lines = []
    for number, reading in enumerate(readings):
        changes.feed([sock.message() for sock in reading], number * every_ms * 1_000_000)
        timeline = Timeline()
        timeline.append(builder.take())
        lines.append([])
        for event in timeline.events():
            assert event.evidence == Evidence.SAMPLED
            words = [event.name, str(event.cookie)]
            if "new" in event:
                words.append(f"{State(event['old']).name}>{State(event['new']).name}")
            if event.name.startswith("accept:"):
                words.append(f"{event['ack_backlog']}/{event['max_ack_backlog']}")
            if event.name == "socket:queues" and event["max_ack_backlog"]:
                words.append(f"{event['ack_backlog']}/{event['max_ack_backlog']} syn={event['qlen']}")
            if event.name == "accept:taken":
                words.append(f"child={event['child_cookie']} fd={event['child_fd']}")
            if event.name.startswith("request:"):
                words.append(f"qlen={event['qlen']} timeouts={event['timeouts']}")
            if event.name.startswith("timewait:"):
                words.append(f"{State(event['substate']).name} left={event['left'] // 1_000_000_000}")
            lines[-1].append(" ".join(words))
    return lines


def test_what_is_there_at_first_comes_from_nowhere() -> None:
    assert told([client()]) == [["socket:state 3 UNKNOWN>ESTABLISHED"]]


def test_nothing_new_is_no_event() -> None:
    assert told([listener(), client()], [client(), listener()])[1] == []


def test_a_handshake_is_a_child_of_the_listener() -> None:
    assert told([listener()], [client(), child(), listener(1)]) == [
        ["socket:state 1 UNKNOWN>LISTEN"],
        ["socket:state 3 UNKNOWN>ESTABLISHED", "socket:state 2 LISTEN>ESTABLISHED", "accept:queued 1 1/8"],
    ]


def test_a_request_sock_becomes_a_socket() -> None:
    assert told([listener()], [listener(), request()], [listener(), request(1)], [listener(1), child()])[1:] == [
        ["request:born 2 qlen=1 timeouts=0", "socket:queues 1 0/8 syn=1"],
        ["request:timer 2 qlen=1 timeouts=1"],
        ["request:gone 2 qlen=0 timeouts=1", "socket:state 2 LISTEN>ESTABLISHED", "accept:queued 1 1/8"],
    ]


def test_a_request_sock_that_is_dropped() -> None:
    assert told([listener(), request()], [listener()]) == [
        ["socket:state 1 UNKNOWN>LISTEN", "request:born 2 qlen=1 timeouts=0"],
        ["request:gone 2 qlen=0 timeouts=0", "socket:queues 1 0/8 syn=0"],
    ]


@pytest.mark.parametrize("torn", [False, True], ids=["one reading", "the listener read too early"])
def test_accept_gives_the_connection_a_file(torn: bool) -> None:
    before, between, after = [listener(1), child()], [listener(1), child(inode=20)], [listener(0), child(inode=20)]
    readings = [before, between, after] if torn else [before, after]
    assert list(itertools.chain(*told(*readings)[1:])) == ["socket:queues 2", "accept:taken 1 0/8 child=2 fd=5"]


def test_a_half_close_up_to_time_wait() -> None:
    lines = told(
        [client()],
        [client(State.FIN_WAIT2)],
        [timewait(60_000)],
        [timewait(59_990)],
        [timewait(50)],
        [],
    )
    assert lines[1:] == [
        ["socket:state 3 ESTABLISHED>FIN_WAIT2"],
        ["timewait:born 3 TIME_WAIT left=60"],
        [],
        [],
        ["timewait:expired 3 TIME_WAIT left=0"],
    ]


def test_time_wait_cut_short_and_armed_anew() -> None:
    assert told([timewait(60_000)], [timewait(30_000)], [timewait(60_000)], [])[1:] == [
        [],
        ["timewait:rearmed 3 TIME_WAIT left=60"],
        ["timewait:cancelled 3 TIME_WAIT left=0"],
    ]


def test_an_orphan_waits_in_fin_wait2_first() -> None:
    assert told([timewait(60_000, State.FIN_WAIT2)], [timewait(60_000)]) == [
        ["timewait:born 3 FIN_WAIT2 left=60"],
        ["timewait:rearmed 3 TIME_WAIT left=60"],
    ]


def test_a_socket_that_is_gone_is_closed_and_freed() -> None:
    assert told([child(State.LAST_ACK)], [])[1] == ["socket:state 2 LAST_ACK>CLOSE", "socket:destroy 2"]


def test_ports_choose_at_either_end() -> None:
    builder = BatchBuilder(Source.TABLE, Evidence.SAMPLED)
    changes = Changes(builder, ports=[80])
    other = Sock(9, State.ESTABLISHED, ("127.0.0.1", 81), CLIENT)
    assert changes.feed([listener().message(), client().message(), other.message()], 0) == 2
    assert len(changes) == 2


def test_heads_name_owner_and_namespace() -> None:
    builder = BatchBuilder(Source.TABLE, Evidence.SAMPLED)
    Changes(builder, netns=7, owner={30: (200, 3)}.get).feed([client().message()], 5)
    timeline = Timeline()
    timeline.append(builder.take())
    event = timeline[0]
    assert (event.time, event.pid, event.fd, event["netns"]) == (5, 200, 3, 7)
    assert (event.ip("saddr"), event["sport"]) == CLIENT


def test_a_queue_that_changed_and_a_countdown_that_ran() -> None:
    ticking = [client()], [client()]
    ticking[1][0].expires = 77
    assert told(*ticking)[1] == []
    assert told([child()], [child(rqueue=5)])[1] == ["socket:queues 2"]


def test_many_sockets_cost_little_when_nothing_changes() -> None:
    from time import perf_counter

    many = [
        Sock(i + 1, State.ESTABLISHED, SERVER, (f"127.0.{i >> 8}.{i & 255}", 5000)).message() for i in range(10_000)
    ]
    changes = Changes(BatchBuilder(Source.TABLE, Evidence.SAMPLED))
    assert changes.feed(many, 0) == 10_000
    began = perf_counter()
    assert changes.feed(many, 1) == 0
    assert perf_counter() - began < 0.5
    assert sys.getsizeof(many[0]) < 400


def test_a_notice_gives_an_end_its_time_whether_it_comes_early_or_late() -> None:
    """The kernel sends it by a work queue: before the reading that misses the socket, with it, or after it."""
    stays, ends = client(), client()
    ends.cookie = 77
    for notice_at in ("early", "with it", "late"):
        builder = BatchBuilder(Source.TABLE, Evidence.SAMPLED)
        changes = Changes(builder)
        notices = {notice_at: [(ends.message(), 150 if notice_at != "late" else 250)]}
        changes.feed([stays.message(), ends.message()], 100)
        changes.feed([stays.message(), ends.message()], 160, notices.get("early", []))
        changes.feed([stays.message()], 200, notices.get("with it", []))
        changes.feed([stays.message()], 300, notices.get("late", []))
        timeline = Timeline()
        timeline.append(builder.take())
        ended = [(event.cookie, event.time) for event in timeline.events() if event.name == "socket:destroy"]
        assert ended == [(77, 200 if notice_at == "late" else 150)]
