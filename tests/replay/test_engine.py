"""One source of rules, two ways to run it, any division into batches: always the same answer."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.replay.transcript import HANDSHAKE, segments
from tracer.machine_code import MachineCode
from tracer.replay import ANALYSIS, FINDING, FINDINGS, Replay, engine, plain
from tracer.replay.analysis import REUSED_PORTS
from tracer.replay.compiled import CompiledTables
from tracer.replay.lifetimes import LINGER
from tracer.replay.reuse import note_closed
from tracer.segments import ACK, FIN, PSH, RST, SEGMENT, SYN, V4_MAPPED

TEMPLATES = (
    HANDSHAKE + "> PA 1:1 100\n< A 1:101\n< PA 1:101 1400\n> A 101:1401\n> FA 101:1401\n< FA 1401:102\n> A 102:1402",
    HANDSHAKE + "> PA 1:1 10\n< RA 1:11",
    "> S 0\n< RA 0:1",
    HANDSHAKE + "> A 1:1 1000\n< A 1:1001 w0\n> A 1001:1 1\n< A 1:1001 w0\n< A 1:1001 w900",
)


def traffic(count: int, seed: int = 1) -> NDArray[Any]:
    """Segments no two hosts would send: connections interleaved, bytes lost, repeated, out of order, nonsense."""
    rng = random.Random(seed)
    rows = np.zeros(count, SEGMENT)
    talks: list[dict[str, Any]] = []
    time = 10**18
    for i in range(count):
        if len(talks) < 40 or rng.random() < 0.02:
            ends = [(V4_MAPPED | rng.randrange(1, 6), rng.randrange(1, 6)) for _ in range(2)]
            talks.append({"ends": ends, "next": [rng.randrange(1 << 32) for _ in range(2)]})
        talk = rng.choice(talks[-60:])
        side = rng.randrange(2)
        time += rng.choice((0, 1_000, 100_000, 5_000_000, -50_000))
        length = rng.choice((0, 0, 1, 1, 100, 1448))
        kind = rng.random()
        flags = ACK if kind < 0.9 else rng.choice((SYN, SYN | ACK, FIN | ACK, RST, RST | ACK, SYN | FIN, 0))
        jump = rng.choice((0,) * 14 + (-1, -100, -1448, 100, 1448, 1 << 31))
        row = rows[i]
        row["time"], row["frame"], row["family"], row["caplen"] = time, i + 1, 4, 54 + length
        (row["src_lo"], row["sport"]), (row["dst_lo"], row["dport"]) = talk["ends"][side], talk["ends"][1 - side]
        row["seq"] = (talk["next"][side] + jump) % (1 << 32)
        row["ack"] = (talk["next"][1 - side] + rng.choice((0,) * 12 + (-100, -1448, 1448))) % (1 << 32)
        row["flags"] = flags | (PSH if rng.random() < 0.2 else 0)
        row["length"] = length
        row["window"] = rng.choice((0, 1000, 1000, 1000, 65535))
        row["wscale"] = rng.choice((-1, 0, 7)) if flags & SYN else -1
        if rng.random() < 0.1:
            row["n_sack"] = rng.randrange(1, 5)
            row["sack_left"] = [(int(row["ack"]) + 1000 * k) % (1 << 32) for k in range(4)]
            row["sack_right"] = [(int(row["ack"]) + 1000 * k + 300) % (1 << 32) for k in range(4)]
        if rng.random() < 0.9:
            talk["next"][side] = (talk["next"][side] + length + bool(flags & (SYN | FIN))) % (1 << 32)
    return rows


def everything(rows: NDArray[Any], batch: int, **how: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Analysis, and all connections by stream number."""
    replay = Replay(**how)
    analysis = [replay.feed(rows[i : i + batch]) for i in range(0, len(rows), batch)]
    connections = np.concatenate((replay.finished(), replay.connections()))
    assert len(connections) == replay.streams
    return np.concatenate(analysis), np.sort(connections, order="stream")


def test_batches_change_nothing() -> None:
    rows = traffic(3000)
    whole = everything(rows, len(rows), compiled=False)
    for batch in (1, 7, 1000):
        divided = everything(rows, batch, compiled=False)
        assert (divided[0] == whole[0]).all()
        assert (divided[1] == whole[1]).all()


@pytest.mark.parametrize("seed", range(3))
def test_compiled_says_what_plain_says(seed: int) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    rows = traffic(20_000, seed)
    plain = everything(rows, 5000, compiled=False)
    fast = everything(rows, 5000, compiled=True)
    for name in ANALYSIS.names or ():
        assert plain[0][name].tolist() == fast[0][name].tolist(), name
    for name in plain[1].dtype.names or ():
        assert plain[1][name].tolist() == fast[1][name].tolist(), name
    rare = FINDING["fast_retransmission"].bit | FINDING["zero_window_probe_ack"].bit
    assert np.bitwise_or.reduce(plain[0]["findings"]) | rare == (1 << len(FINDINGS)) - 1, "all others occur"


def test_the_compiled_loop_takes_over_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    rows = traffic(20_000)
    Replay(compiled=True).feed(rows[:1])  # so that it is there
    monkeypatch.setattr(engine, "WORTH", 12_000)
    replay = Replay()
    analysis = [replay.feed(rows[i : i + 1000]) for i in range(0, len(rows), 1000)]
    assert replay.notice == ""
    connections = np.sort(np.concatenate((replay.finished(), replay.connections())), order="stream")
    plain = everything(rows, 5000, compiled=False)
    assert (np.concatenate(analysis) == plain[0]).all()
    assert (connections == plain[1]).all()


def test_small_captures_never_import_numba() -> None:
    program = (
        "import sys, numpy as np; from tracer.replay import Replay; from tracer.segments import SEGMENT;"
        "Replay().feed(np.zeros(1000, SEGMENT)); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_numba_it_goes_on_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MachineCode, "load", lambda self: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(engine, "WORTH", 100)
    replay = Replay()
    assert len(replay.feed(traffic(300))) == 300
    assert "pip install numba" in replay.notice


def test_rows_of_any_kind_are_analysed() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    rows = traffic(2000)
    whole = everything(rows, 2000, compiled=True)
    rows.flags.writeable = False
    again = everything(np.repeat(rows, 2)[::2], 2000, compiled=True), everything(rows, 2000, compiled=True)
    assert all((one[0] == whole[0]).all() for one in again)


def short_connections(count: int, first: int) -> NDArray[Any]:
    """Whole connections one after the other, each on its own addresses."""
    one = segments(TEMPLATES[0])
    rows = np.tile(one, count)
    number = np.repeat(np.arange(first, first + count, dtype=np.uint64), len(one))
    for low in ("src_lo", "dst_lo"):
        rows[low] += number << np.uint64(8)
    rows["time"] += (number * 1_000_000).astype(np.int64)
    return rows


@pytest.mark.parametrize("compiled", [False, True])
def test_connections_that_are_over_give_up_their_rows(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled:
        pytest.importorskip("numba", reason="numba is not installed")
    count = LINGER + 2000 if compiled else 200
    if not compiled:
        monkeypatch.setattr("tracer.replay.lifetimes.LINGER", 100)
    replay = Replay(compiled=compiled)
    for first in range(0, count, 1000):
        replay.feed(short_connections(min(1000, count - first), first))
    gone, kept = replay.finished(), replay.connections()
    assert len(kept) == (LINGER if compiled else 100)
    assert gone["stream"].tolist() == list(range(count - len(kept))), "the one silent for the longest goes first"
    assert set(gone["conn_state"].tolist()) == {b"SF"}
    assert set(gone["packets"][:, 0].tolist()) == {6}


@pytest.mark.parametrize("compiled", [False, True])
def test_ports_of_a_connection_that_was_given_up_are_known_to_be_reused(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiled:
        pytest.importorskip("numba", reason="numba is not installed")
    else:
        monkeypatch.setattr("tracer.replay.lifetimes.LINGER", 100)
    count = (LINGER if compiled else 100) + 1000
    rows = short_connections(count, 0)
    length = len(rows) // count
    again, same = rows[: 900 * length].copy(), rows[: 900 * length : length]
    for column in ("seq", "ack"):
        again[column] += 77_777
    six = short_connections(900, 0)
    for end in ("src", "dst"):
        six[f"{end}_hi"] = 0xFE80 << 48  # other endpoints, although the lower halves are the same
    replay = Replay(compiled=compiled)
    replay.feed(rows)
    assert len(replay.finished()) == 1000
    assert not (replay.feed(six[::length])["findings"] & REUSED_PORTS).any()
    assert not (replay.feed(same)["findings"] & REUSED_PORTS).any(), "a SYN of the same number is the same SYN"
    replay = Replay(compiled=compiled)
    replay.feed(rows)
    flags = replay.feed(again)["findings"] & REUSED_PORTS
    known = np.count_nonzero(flags[::length])
    assert np.count_nonzero(flags) == known, "only SYNs"
    assert known > 890, "of 900; two that fall into one place are rare"
    rows = np.concatenate((replay.finished(), replay.connections()))
    assert np.count_nonzero(rows["reused"]) == known


def test_what_is_remembered_of_the_closed_goes_over_to_the_compiled_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    first, second = {"src_hi": 2**64 - 1, "src_lo": 2**63, "sport": 65535}, {"dst_hi": 7, "dst_lo": 0, "dport": 1}
    ended = plain.tables()
    for number in range(50):
        note_closed(ended, **(first | second | {"src_lo": 2**63 + number}), base_seq=2**32 - 1)
    fast = CompiledTables(ended)
    rows = np.zeros(51, SEGMENT)
    for name, value in (first | second).items():
        rows[name] = value
    rows["src_lo"] = 2**63 + np.arange(51, dtype=np.uint64)
    rows["flags"], rows["family"] = SYN, 6
    assert [n for n, found in enumerate(fast.run(rows)["findings"]) if found & REUSED_PORTS] == list(range(50))


@pytest.mark.slow
def test_memory_stays_flat_over_a_million_connections() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    replay = Replay(compiled=True)

    def resident() -> int:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * 4096

    sizes = []
    for first in range(0, 1_000_000, 5000):
        replay.feed(short_connections(5000, first))
        replay.finished()
        sizes.append(resident())
    assert replay.streams == 1_000_000
    assert max(sizes[100:]) - min(sizes[20:100]) < 20 << 20, "bytes; the first 100,000 connections fill the tables"
