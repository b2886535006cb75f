"""The bulk writer writes the very bytes that the plain one writes, whatever the events, and opens the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracer.batch import Batch, BatchBuilder, merge
from tracer.events import HEAD, NUMBER, PAYLOAD
from tracer.headers import decode
from tracer.kinds import KINDS, MAX_HEADER_BYTES, TYPES, Evidence, Source
from tracer.recording import compiled, writer
from tracer.recording.bulk import Bulk
from tracer.recording.digits import put_endpoint
from tracer.recording.phrases import phrase
from tracer.recording.writer import Recorder
from tracer.timeline import endpoint

pytest.importorskip("numba", reason="bulk writing is compiled")
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def bulk() -> Bulk:
    code = compiled.CODE.compile()
    assert code is not None
    return Bulk(code)


def _number(random: np.random.Generator, dtype: np.dtype[Any]) -> int:
    """Small ones, edges, anything: what words and widths depend on."""
    bounds = np.iinfo(dtype)
    low, high = int(bounds.min), int(bounds.max)
    which = random.integers(0, 10)
    if which < 6:
        return int(random.integers(0, min(high, 12) + 1))
    if which < 8:
        edges = (0, low, high, max(low, -1), max(low, -11), high // 2 + 1, min(high, 10240))
        return edges[int(random.integers(0, len(edges)))]
    return int.from_bytes(random.bytes(8)) % (high - low + 1) + low


def _text(random: np.random.Generator, size: int) -> bytes:
    some = (b"", b"nginx: worker", b"a" * size, b"TCP_OLD_DATA", b"NETFILTER_DROP", b"\x1b[2J", "größer".encode())
    some += (b"\xff", b"in\0side")
    return some[int(random.integers(0, len(some)))][:size]


def _header(random: np.random.Generator) -> tuple[bytes, int]:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6

    tcp = TCP(sport=int(random.integers(1, 9)), dport=int(random.integers(1, 9)), seq=int(random.integers(0, 3)),
              flags=int(random.integers(0, 32)), options=[("MSS", 1460)] if random.integers(0, 2) else [])  # fmt: skip
    raw = bytes((IPv6() if random.integers(0, 2) else IP(id=int(random.integers(0, 2)))) / tcp)
    return raw, len(raw)


def events(seed: int, count: int) -> Batch:
    random = np.random.default_rng(seed)
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    for i in range(count):
        kind = KINDS[int(random.integers(0, len(KINDS)))]
        own: dict[str, Any] = {}
        for field in kind.fields:
            form = TYPES[field.type]
            if field.type == "text":
                own[field.name] = str(random.choice(["", "a step", "zwei\nZeilen"]))
            elif form.shown == "text":
                own[field.name] = _text(random, int(form.numpy[1:]))
            elif form.shape:
                own[field.name] = [_number(random, np.dtype(form.numpy)) for _ in range(form.shape[0])]
            else:
                own[field.name] = _number(random, np.dtype(form.numpy))
        if kind.name[:7] == "packet:":
            raw, own["caplen"] = _header(random)
            own["caplen"] *= bool(random.integers(0, 9))
            own["raw"] = np.frombuffer(raw.ljust(MAX_HEADER_BYTES, b"\0"), np.uint8)
            own["skb"] = int(random.integers(0, 3))
        names = ("ctx", "addr", "cookie", "pid", "tid", "cpu", "probe_time")
        head = {name: _number(random, HEAD[name]) for name in names}
        head["fd"] = int(random.choice([-1, 0, 7, -9, 2**31 - 1]))
        builder.add(kind.name, 1_700_000_000 * SECOND + int(random.integers(0, 5_000_000)) + i * 1000, own, **head)
    batch = builder.take()
    for name in ("packet:sent", "packet:received", "packet:captured"):
        if NUMBER[name] in batch.tables:
            decode(batch.tables[NUMBER[name]])
    return merge([batch])


def _written(path: Path, batches: list[Batch], bulk: Bulk | None, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr(writer.Recorder, "_bulk", lambda self, events: bulk)
    recorder = Recorder(str(path))
    for batch in batches:
        recorder.write_batch(batch)
    assert recorder.failure is None and recorder.written == sum(map(len, batches))
    recorder.close(1, 2)
    return path.read_bytes()


def _blocks(data: bytes) -> list[bytes]:
    found = []
    while data:
        length = int.from_bytes(data[4:8], "little")
        found.append(data[:length])
        data = data[length:]
    return found


def test_both_writers_write_the_same(tmp_path: Path, bulk: Bulk, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [events(seed, 700) for seed in range(4)]
    assert {kind for batch in batches for kind in batch.tables} == set(PAYLOAD)
    plain = _blocks(_written(tmp_path / "plain.pcapng", batches, None, monkeypatch))
    fast = _blocks(_written(tmp_path / "fast.pcapng", batches, bulk, monkeypatch))
    for one, other in zip(plain, fast, strict=True):
        assert one == other


def test_pieces_and_a_full_store_of_phrases_change_nothing(
    tmp_path: Path, bulk: Bulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [events(9, 500)]
    plain = _written(tmp_path / "plain.pcapng", batches, None, monkeypatch)
    monkeypatch.setattr(bulk, "_out", np.zeros(9000, np.uint8))
    pieces = _written(tmp_path / "pieces.pcapng", batches, bulk, monkeypatch)
    assert pieces == plain
    monkeypatch.setattr("tracer.recording.bulk.MOST_PHRASES", 256)
    monkeypatch.setattr("tracer.recording.bulk.EVENTS", 64)
    small = Bulk(bulk.loops)
    again = _written(tmp_path / "again.pcapng", [*batches, events(10, 900)], small, monkeypatch)
    assert again.startswith(plain[: len(plain) - 60])


def test_a_line_is_learned_once_for_all_that_read_alike() -> None:
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    builder.add("socket:queues", 1, {"state": 1, "sport": 80, "dport": 9, "rcv_nxt": 105, "copied_seq": 100})
    batch = builder.take()
    made, decided = phrase(batch.heads[0], batch.tables[NUMBER["socket:queues"]][0], batch.strings)
    assert made.texts == (b"", b": receive queue 5 B, send queue 0 B") and made.holes == ("ends",)
    assert decided == {"state", "rcv_nxt-copied_seq", "write_seq-snd_una"}


def test_an_end_reads_as_everywhere_else() -> None:
    """Every pattern of zeros in an IPv6 address, and IPv4."""
    out = np.zeros(64, np.uint8)
    groups = [[0xF00D * (pattern >> i & 1) + i * (pattern >> i & 1) for i in range(8)] for pattern in range(256)]
    numbers = [int.from_bytes(b"".join(group.to_bytes(2) for group in one)) for one in groups]
    for number in [*numbers, *(0xFFFF << 32 | address for address in (0, 0x7F000001, 0xFFFFFFFF))]:
        high, low = divmod(number, 1 << 64)
        for port in (0, 9, 65535):
            end = put_endpoint(out, 0, np.uint64(high), np.uint64(low), np.uint64(port))
            assert bytes(out[:end]).decode() == endpoint((high, low), port)
