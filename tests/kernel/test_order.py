"""The compiled loop weaves the same batches from the rings' rows as numpy does, and decodes headers alike."""

from __future__ import annotations

import numpy as np
import pytest

from tests.recording.test_bulk import _header as header
from tracer.events import NUMBER, PACKETS, PAYLOAD, RING_HEAD, RING_PAYLOAD
from tracer.headers import decode
from tracer.kernel.order import Order
from tracer.kernel.weave import CODE
from tracer.kinds import KINDS, MAX_HEADER_BYTES, STRIDE, Ring
from tracer.machine_code import Background

pytest.importorskip("numba", reason="the loop is compiled")


def rows(random: np.random.Generator, ring: Ring, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows as probes write them, and their times, some of which are those of other rings' rows too."""
    body = random.integers(0, 256, (count, STRIDE[ring] - 8), np.uint8)
    heads = np.zeros(count, RING_HEAD)
    numbers = [NUMBER[kind.name] for kind in KINDS if kind.ring == ring]
    heads["kind"] = random.choice(numbers, count)
    heads["time"] = np.sort(random.integers(10**12, 10**12 + 300, count).astype(np.uint64))
    heads["cookie"], heads["tid"] = np.arange(count), random.integers(0, 99, count)
    body[:, : RING_HEAD.itemsize] = heads.view(np.uint8).reshape(count, RING_HEAD.itemsize)
    for i in np.flatnonzero(np.isin(heads["kind"], list(PACKETS))).tolist():
        dtype = RING_PAYLOAD[int(heads["kind"][i])]
        row = np.zeros((), dtype)
        raw, row["caplen"] = header(random)
        row["wire_len"], row["raw"] = 1500, np.frombuffer(raw.ljust(MAX_HEADER_BYTES, b"\0"), np.uint8)
        body[i, RING_HEAD.itemsize : RING_HEAD.itemsize + dtype.itemsize] = np.frombuffer(row.tobytes(), np.uint8)
    return body, heads["time"]


def test_both_ways_give_the_same() -> None:
    random = np.random.default_rng(4)
    assert CODE.compile() is not None
    plain, fast = Order(), Order()
    fast.background = Background(CODE)
    plain.background = Background.__new__(Background)
    plain.background.functions = None
    for counts in ((600, 500, 400), (700, 0, 5), (0, 800, 0), (0, 0, 600)):
        made = [
            rows(random, ring, count)
            for ring, count in zip((Ring.SMALL, Ring.OBJECT, Ring.SOCKET), counts, strict=True)
        ]
        parts, keys = [body for body, _ in made], [times for _, times in made]
        one, two = plain.batch(parts, keys, 5), fast.batch(parts, keys, 5)
        assert one.heads.tobytes() == two.heads.tobytes()
        assert one.tables.keys() == two.tables.keys() and len(one) == sum(counts)
        for kind, table in one.tables.items():
            for name in table.dtype.names or ():
                assert np.array_equal(table[name], two.tables[kind][name]), name


def test_damaged_headers_are_decoded_alike() -> None:
    functions = CODE.compile()
    assert functions is not None
    random = np.random.default_rng(5)
    table = np.zeros(20_000, PAYLOAD[NUMBER["packet:sent"]])
    table["raw"] = random.integers(0, 256, table["raw"].shape)
    table["raw"][:, 0] = random.choice([0x45, 0x46, 0x4F, 0x60, 0x44, 0x10], len(table))
    table["raw"][:, 6] = table["raw"][:, 9] = random.choice([6, 6, 6, 17], len(table))
    table["raw"][::2, 40:44] = 1, 1, 8, 10
    table["raw"][1::2, 40:42] = 5, 18
    table["raw"][::2, 32], table["raw"][1::2, 32] = 0x80, 0xB0
    table["caplen"] = random.integers(0, MAX_HEADER_BYTES + 1, len(table))
    table["wire_len"] = random.integers(0, 2000, len(table))
    again = table.copy()
    good = decode(table)
    functions["decode_rows"](again.view(np.uint8), 0, len(again))
    assert 0 < good.sum() < len(table) and table["n_sack"].any() and table["has_ts"].any()
    for name in table.dtype.names or ():
        assert np.array_equal(again[name], table[name]), name
