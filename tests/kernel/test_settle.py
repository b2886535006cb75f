"""Timers in pairs: what came off the wheel, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tracer.events import NUMBER, RING_HEAD, RING_PAYLOAD
from tracer.kernel.settle import FIRED_PATIENCE, PATIENCE, settle
from tracer.kinds import STRIDE, Ring

NAMES = {number: name for name, number in NUMBER.items()}
US = 1000
LATER = 2 * FIRED_PATIENCE


def row(time: int, kind: str, addr: int = 1, dport: int = 7, **fields: Any) -> np.ndarray[Any, Any]:
    number = NUMBER[kind]
    head = np.zeros(1, RING_HEAD)
    head["time"], head["kind"], head["addr"] = time, number, addr
    payload = np.zeros(1, RING_PAYLOAD[number])
    for name, value in ({"dport": dport} | fields).items():
        if name in (payload.dtype.names or ()):
            payload[name] = value
    body = np.zeros((1, STRIDE[Ring.OBJECT] - 8), np.uint8)
    body[:, : RING_HEAD.itemsize] = head.view(np.uint8)
    body[:, RING_HEAD.itemsize : RING_HEAD.itemsize + payload.itemsize] = payload.view(np.uint8)
    return body


def read(now: int, *rows: np.ndarray[Any, Any]) -> tuple[list[tuple[int, str]], int | None]:
    """What the rows mean: (time in us, kind), and since when something is open."""
    settled = settle(np.concatenate(rows), now)
    heads = np.ascontiguousarray(settled.body[:, : RING_HEAD.itemsize]).view(RING_HEAD)[:, 0]
    assert np.all(np.diff(settled.origin) >= 0)
    return [(int(head["time"]) // US, NAMES[int(head["kind"])]) for head in heads], settled.open_since


CASES = {
    "fired": (
        [row(1 * US, "timewait:cancelled"), row(2 * US, "timewait:expired")],
        [(2, "timewait:expired")],
    ),
    "set anew": (
        [row(1 * US, "timewait:cancelled"), row(2 * US, "timewait:born")],
        [(2, "timewait:rearmed")],
    ),
    "ended early": ([row(1 * US, "timewait:cancelled")], [(1, "timewait:cancelled")]),
    "born": ([row(1 * US, "timewait:born")], [(1, "timewait:born")]),
    "ended early, and the address used again at once by another": (
        [row(1 * US, "timewait:cancelled", dport=7), row(2 * US, "timewait:born", dport=8)],
        [(1, "timewait:cancelled"), (2, "timewait:born")],
    ),
    "ended early, and the same pair again much later": (
        [row(1 * US, "timewait:cancelled"), row(2 * PATIENCE, "timewait:born")],
        [(1, "timewait:cancelled"), (2 * PATIENCE // US, "timewait:born")],
    ),
    "request done": (
        [row(1 * US, "request:born"), row(9 * US, "request:gone")],
        [(1, "request:born"), (9, "request:gone")],
    ),
    "SYN-ACK repeated": (
        [row(1 * US, "request:gone"), row(2 * US, "request:timer"), row(3 * US, "request:born", timeouts=1)],
        [(2, "request:timer")],
    ),
    "SYN-ACK repeated, while the processor was away": (
        [row(1 * US, "request:gone"), row(2 * US, "request:timer"), row(5 * PATIENCE, "request:born", timeouts=1)],
        [(2, "request:timer")],
    ),
    "given up": (
        [row(1 * US, "request:gone"), row(2 * US, "request:timer", qlen=1)],
        [(2, "request:timer"), (2, "request:gone")],
    ),
    "SYN repeated by the client": (
        [row(1 * US, "request:gone"), row(2 * US, "request:born")],
        [],
    ),
    "packets between are left alone": (
        [row(1 * US, "timewait:cancelled"), row(2 * US, "packet:sent"), row(3 * US, "timewait:expired")],
        [(2, "packet:sent"), (3, "timewait:expired")],
    ),
    "two at once": (
        [
            row(1 * US, "timewait:cancelled", addr=1),
            row(2 * US, "timewait:cancelled", addr=2),
            row(3 * US, "timewait:expired", addr=1),
        ],
        [(2, "timewait:cancelled"), (3, "timewait:expired")],
    ),
}


@pytest.mark.parametrize(("rows", "meaning"), CASES.values(), ids=CASES)
def test_pairs(rows: list[np.ndarray[Any, Any]], meaning: list[tuple[int, str]]) -> None:
    assert read(LATER, *rows) == (meaning, None)


def test_a_fresh_row_stays_open_until_its_successor_cannot_come() -> None:
    cancelled = row(5 * US, "timewait:cancelled")
    assert read(6 * US, cancelled)[1] == 5 * US
    assert read(5 * US + PATIENCE, cancelled)[1] is None
    assert read(6 * US, cancelled, row(6 * US, "timewait:expired"))[1] is None


def test_whether_a_request_is_given_up_is_waited_for_longer() -> None:
    fired = row(5 * US, "request:timer")
    assert read(5 * US + PATIENCE, fired) == ([(5, "request:timer")], 5 * US)
    assert read(5 * US + FIRED_PATIENCE, fired) == ([(5, "request:timer"), (5, "request:gone")], None)


def test_a_request_given_up_leaves_the_queue_one_shorter() -> None:
    settled = settle(row(1, "request:timer", qlen=3), LATER)
    at = RING_HEAD.itemsize
    layout = RING_PAYLOAD[NUMBER["request:gone"]]
    lengths = np.ascontiguousarray(settled.body[:, at : at + layout.itemsize]).view(layout)["qlen"][:, 0].tolist()
    assert lengths == [3, 2]
