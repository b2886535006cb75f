"""Arrivals over loopback told by a mark or in short: written out, each is what one that is told whole would be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kernel.conftest import Play
from tracer.events import NUMBER, RING_HEAD, RING_PAYLOAD
from tracer.kernel import source as source_module
from tracer.kernel.attach import Mode
from tracer.kernel.btf import KernelTypes
from tracer.kernel.loopback import COMING, HELD, RECEIVED, SENT, Loopback, still_coming
from tracer.kernel.probes import Group
from tracer.kernel.program import program_text
from tracer.kernel.source import Filter, KernelSource
from tracer.kinds import STRIDE, Ring

HEAD, SMALL, OBJECT = RING_HEAD.itemsize, STRIDE[Ring.SMALL] - 8, STRIDE[Ring.OBJECT] - 8
Rows = NDArray[np.uint8]


def record(length: int, kind: int, time: int, cpu: int, addr: int = 0, skb: int | None = None, tag: int = 0,
           mark: int = -1) -> Rows:  # fmt: skip
    """A row of so many bytes; of a whole packet with its buffer, and a tag in its header."""
    head = np.zeros(1, RING_HEAD)
    head["fd"] = mark
    head["kind"], head["time"], head["cpu"], head["addr"], head["tid"] = kind, time, cpu, addr, 77
    row = np.zeros((1, length), np.uint8)
    row[:, :HEAD] = head.view(np.uint8)
    if skb is not None:
        payload = np.zeros(1, RING_PAYLOAD[SENT])
        payload["skb"], payload["wire_len"], payload["caplen"] = skb, tag, 40
        payload["raw"] = tag % 251
        row[:, HEAD : HEAD + payload.itemsize] = payload.view(np.uint8)
    return row


def sent(time: int, cpu: int, skb: int, tag: int, mark: int = -1) -> Rows:
    return record(OBJECT, SENT, time, cpu, addr=0x99, skb=skb, tag=tag, mark=mark)


def whole(time: int, cpu: int, skb: int, tag: int) -> Rows:
    return record(OBJECT, RECEIVED, time, cpu, skb=skb, tag=tag)


def short(time: int, cpu: int, skb: int) -> Rows:
    return record(SMALL, RECEIVED, time, cpu, addr=skb)


def call(time: int, cpu: int) -> Rows:
    return record(SMALL, NUMBER["syscall:enter"], time, cpu)


def keys(rows: Rows) -> NDArray[np.uint64]:
    return np.maximum.accumulate(np.ascontiguousarray(rows[:, :8]).view(np.uint64)[:, 0])


def together(rows: list[Rows], length: int) -> Rows:
    return np.concatenate(rows) if rows else np.zeros((0, length), np.uint8)


def written_out(
    loopback: Loopback, small: list[Rows], objects: list[Rows], cutoff: int | None = None
) -> tuple[Rows, Rows]:
    one, other = together(small, SMALL), together(objects, OBJECT)
    last = () if cutoff is None else (0, np.uint64(cutoff))
    left, left_keys, all_objects, all_keys = loopback.write_out(one, keys(one), other, keys(other), *last)
    assert np.all(np.diff(all_keys.astype(np.int64)) >= 0) and len(left) == len(left_keys)
    return left, all_objects


def test_an_arrival_is_whole_and_in_its_place() -> None:
    left, objects = written_out(
        Loopback(),
        [call(5, 0), short(20, 0, 0xA), call(25, 0)],
        [sent(10, 0, 0xA, 7), sent(30, 0, 0xA, 8)],
    )
    assert np.array_equal(left, together([call(5, 0), call(25, 0)], SMALL))
    expected = [sent(10, 0, 0xA, 7), whole(20, 0, 0xA, 7), sent(30, 0, 0xA, 8)]
    assert np.array_equal(objects, together(expected, OBJECT))


def test_a_mark_is_an_arrival_so_much_later() -> None:
    rows = [sent(10, 0, 0xA, 7, mark=12), record(OBJECT, NUMBER["epoll:wait"], 15, 1, mark=4), sent(30, 0, 0xA, 8)]
    _, objects = written_out(Loopback(), [], rows)
    expected = [sent(10, 0, 0xA, 7), rows[1], whole(22, 0, 0xA, 7), rows[2]]
    assert np.array_equal(objects, together(expected, OBJECT))


def test_one_that_is_not_marked_in_time_has_no_arrival() -> None:
    assert np.array_equal(written_out(Loopback(), [], [sent(10, 0, 0xA, 7, mark=COMING)])[1], sent(10, 0, 0xA, 7))


def test_an_arrival_later_than_what_is_handed_out_waits() -> None:
    """Another processor's records are complete up to that moment only."""
    loopback, none = Loopback(), together([], OBJECT)
    rows = together([sent(10, 0, 0xA, 7, mark=12), sent(11, 1, 0xB, 8, mark=40)], OBJECT)
    _, _, objects, when = loopback.write_out(together([], SMALL), keys(none), rows, keys(rows), 0, np.uint64(30))
    first = [sent(10, 0, 0xA, 7), sent(11, 1, 0xB, 8), whole(22, 0, 0xA, 7)]
    assert np.array_equal(objects, together(first, OBJECT)) and when.tolist() == [10, 11, 22] and loopback.waiting
    rows = sent(45, 0, 0xA, 9)
    _, _, objects, when = loopback.write_out(together([], SMALL), keys(none), rows, keys(rows), 22, np.uint64(50))
    assert np.array_equal(objects, together([rows, whole(51, 1, 0xB, 8)], OBJECT)[:1]) and loopback.waiting
    _, _, objects, when = loopback.write_out(together([], SMALL), keys(none), none, keys(none), 45)
    assert np.array_equal(objects, whole(51, 1, 0xB, 8)) and when.tolist() == [51] and not loopback.waiting


def test_what_is_to_be_marked_is_left_for_a_while() -> None:
    now = 10 * HELD
    rows = [
        (sent(now - 5, 0, 1, 1), False),
        (sent(now - HELD + 1, 0, 1, 1, mark=COMING), True),
        (sent(now - HELD, 0, 1, 1, mark=COMING), False),
        (sent(now - 50, 0, 1, 1, mark=51), False),
        (record(OBJECT, NUMBER["epoll:wait"], now - 1, 0, mark=COMING), False),
    ]
    assert still_coming(together([row for row, _ in rows], OBJECT), now).tolist() == [held for _, held in rows]


@pytest.mark.parametrize("other", [sent(11, 1, 0xA, 9), sent(11, 0, 0xB, 9), sent(30, 0, 0xA, 9)])
def test_neither_another_processors_nor_another_buffer_nor_a_later_one_is_meant(other: Rows) -> None:
    _, objects = written_out(Loopback(), [short(20, 0, 0xA)], [sent(10, 0, 0xA, 7), other])
    assert any(np.array_equal(row, whole(20, 0, 0xA, 7)[0]) for row in objects)


def test_what_left_was_drained_earlier() -> None:
    loopback = Loopback()
    written_out(loopback, [], [sent(10, 0, 0xA, 7), sent(11, 1, 0xB, 8)])
    written_out(loopback, [call(12, 0)], [sent(12, 1, 0xC, 9)])
    _, objects = written_out(loopback, [short(20, 0, 0xA), short(21, 1, 0xC)], [])
    assert np.array_equal(objects, together([whole(20, 0, 0xA, 7), whole(21, 1, 0xC, 9)], OBJECT))


def test_one_that_refers_to_nothing_is_left_out_and_counted() -> None:
    loopback = Loopback()
    left, objects = written_out(loopback, [short(20, 0, 0xA), call(21, 0)], [sent(30, 0, 0xA, 7)])
    assert (len(left), len(objects), loopback.unmatched) == (1, 1, 1)


def test_an_arrival_is_not_made_late_by_small_records_and_comes_before_what_follows_it() -> None:
    """Held up between its place and the clock, a processor makes what is behind it late: a call here, an object."""
    late = written_out(Loopback(), [call(900, 1), short(20, 0, 0xA)], [sent(10, 0, 0xA, 7), sent(30, 0, 0xB, 8)])[1]
    assert np.array_equal(late, together([sent(10, 0, 0xA, 7), whole(20, 0, 0xA, 7), sent(30, 0, 0xB, 8)], OBJECT))
    objects = [sent(500, 1, 0xC, 5), sent(10, 0, 0xA, 7), sent(30, 0, 0xB, 8)]
    _, late = written_out(Loopback(), [short(20, 0, 0xA)], objects)
    assert np.array_equal(late, together([*objects[:2], whole(20, 0, 0xA, 7), objects[2]], OBJECT))


def test_an_arrival_does_not_come_before_what_was_handed_out() -> None:
    loopback = Loopback()
    written_out(loopback, [], [sent(10, 0, 0xA, 7)])
    row = short(20, 0, 0xA)
    _, _, objects, when = loopback.write_out(row, keys(row), together([], OBJECT), keys(together([], OBJECT)), 25)
    assert when.tolist() == [25] and np.array_equal(objects, whole(20, 0, 0xA, 7))


def test_however_a_stream_is_cut_up_it_is_the_same() -> None:
    """Four processors, buffers used again and again, some arrivals whole: all that a trace may bring, in portions."""
    random = np.random.default_rng(11)
    plain: list[Rows] = []
    stream: list[Rows] = []
    waiting: dict[int, tuple[int, int, int]] = {}
    for i in range(2000):
        time, cpu = 1000 + 10 * i, int(random.integers(4))
        if cpu in waiting and random.random() < 0.6:
            skb, tag, at = waiting.pop(cpu)
            plain.append(whole(time, cpu, skb, tag))
            how = random.random()
            if how < 0.4:
                stream[at] = sent(1000 + 10 * tag, cpu, skb, tag, mark=time - 1000 - 10 * tag)
            else:
                stream.append(short(time, cpu, skb) if how < 0.9 else plain[-1])
        else:
            skb, tag = int(random.integers(1, 6)) << 8, i
            waiting[cpu] = skb, tag, len(stream)
            plain.append(sent(time, cpu, skb, tag))
            stream.append(plain[-1])
    assert sum(row.shape[1] == SMALL for row in stream) > 300
    for size in (1, 7, 500, len(stream)):
        loopback, found = Loopback(), []
        for begin in range(0, len(stream), size):
            portion = stream[begin : begin + size]
            small = [row for row in portion if row.shape[1] == SMALL]
            last = int(keys(portion[-1])[0]) if begin + size < len(stream) else None
            left, objects = written_out(loopback, small, [row for row in portion if row.shape[1] == OBJECT], last)
            assert not len(left)
            found.append(objects)
        assert np.array_equal(np.concatenate(found), np.concatenate(plain)) and loopback.unmatched == 0


TALK = """
import socket, threading
listener = socket.create_server(({host!r}, 0), family={family})
client = socket.create_connection(listener.getsockname()[:2]); server, _ = listener.accept()
def drain(end):
    while end.recv(1 << 16): pass
reader = threading.Thread(target=drain, args=(server,)); reader.start()
client.sendall(b"x" * 3_000_000); client.shutdown(socket.SHUT_WR); reader.join()
for _ in range(200):
    server.send(b"a"); client.recv(9)
server.close(); client.close()
"""


@pytest.mark.kernel
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("family", "host"), [("socket.AF_INET", "127.0.0.1"), ("socket.AF_INET6", "::1")])
def test_on_the_running_kernel_an_arrival_is_what_left(run: Play, mode: Mode, family: str, host: str) -> None:
    """Echoes and a bulk of large segments, many on their way at once: each arrival has the bytes of one that left, in
    the same buffer, before it; and most are told in short."""
    source = KernelSource(frozenset({Group.STATES, Group.PACKETS}), mode=mode)
    source.start(Filter(parents=frozenset({os.getpid()})))
    seen = run(source, TALK.format(family=family, host=host))
    told_short = source.tallies()[Ring.SMALL].written - len(seen.of("process:fork", "process:exit"))
    same = ("netns", "ifindex", "wire_len", "caplen", "raw", "seq", "ack", "length", "sport", "dport", "flags")
    left: dict[int, list[tuple[object, ...]]] = {}
    arrivals = 0
    for row in seen.of("packet:sent", "packet:received"):
        bytes_of_it = tuple(str(row[name]) for name in same)
        if row["name"] == "packet:sent":
            left.setdefault(row["skb"], []).append(bytes_of_it)
        else:
            arrivals += 1
            assert bytes_of_it in left[row["skb"]], "nothing like it has left before"
            assert (row["own_addr"], row["cookie"], row["sock"], row["fd"]) == (0, 0, 0, -1)
            left[row["skb"]].remove(bytes_of_it)
    assert not any(left.values()), "all that left over loopback has come in"
    assert arrivals > 300
    assert arrivals / 4 < told_short < arrivals


@pytest.mark.kernel
def test_a_mark_that_comes_too_late_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a processor is taken away for long just before it makes a mark: here some are counted and never made."""

    def forgetful(types: KernelTypes, mode: Mode, pages: dict[Ring, int], *, casts: bool = True) -> str:
        text = program_text(types, mode, pages, casts=casts)
        assert text.count("    left->fd = after;\n") == 1
        return text.replace("    left->fd = after;\n", "    if (after & 1)\n        left->fd = after;\n")

    monkeypatch.setattr(source_module, "program_text", forgetful)
    source = KernelSource(frozenset({Group.STATES, Group.PACKETS}))
    source.start(Filter(parents=frozenset({os.getpid()})))
    own, parts = source.own_rings, []
    with subprocess.Popen([sys.executable, "-c", TALK.format(family="socket.AF_INET", host="127.0.0.1")]) as play:
        while play.poll() is None:
            parts.append(source.drain())
            assert source.losses().lost == 0  # not known before the end
    source.stop()
    parts.append(source.drain())
    if not own:
        pytest.skip("arrivals have records of their own here")
    told = Counter(kind for part in parts for kind in part.heads["kind"].tolist())
    lost = source.losses().lost
    assert lost > 100 and told[SENT] == told[RECEIVED] + lost
