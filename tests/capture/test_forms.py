"""Plain Python, numpy columns and numba give the same rows, and numba comes only where it pays and works."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture.craft import (
    FORMS,
    block,
    enhanced,
    ether,
    interface,
    ip4,
    ip6,
    notes,
    obsolete,
    pcap,
    read,
    read_all,
    record,
    section,
    simple,
    tcp,
    udp,
    values,
)  # fmt: skip
from tracer.capture import CaptureError, open_capture
from tracer.capture.decoder import Form
from tracer.capture.layers import locate
from tracer.capture.linktypes import DECODED
from tracer.capture.outcomes import OUTCOMES
from tracer.machine_code import MachineCode

FRAME = ether(ip4(tcp(b"hello")))
STAMP = bytes.fromhex("0101080a") + struct.pack(">II", 7, 8)
FRAMES = [
    FRAME,
    ether(ip4(tcp(b"", STAMP))),
    ether(ip4(tcp(b"", bytes.fromhex("020405b4") + STAMP))),
    ether(ip6(tcp(b"six", STAMP)), 0x86DD),
    ether(b"\0\x05\x08\0" + ip4(tcp(b"tagged")), 0x8100),
    ether(ip4(udp(b"\x08" + bytes(7) + FRAME, 4789), 17)),
    ether(ip4(udp(b"\x34\xff\0\0\0\0\0\1\0\0\0\x85\1\0\0\0" + ip4(tcp(b"x")), 2152), 17)),
    ether(ip4(b"\x20\0\x65\x58" + bytes(4) + FRAME, 47)),
    ether(ip4(tcp(bytes(40))[:24], fragment=0x2000)),
    ether(ip4(tcp(bytes(40))[24:], fragment=3)),
    ether(ip6(b"\x06\0" + bytes(6) + tcp(b"ext"), 0), 0x86DD),
    ether(bytes(30), 0x0806),
]
SEEDS = [
    pcap(*FRAMES),
    pcap(*FRAMES, order=">", magic=0xA1B23C4D),
    pcap(*[frame[14:] for frame in FRAMES], link=101),
    pcap(*[bytes(14) + frame[12:] for frame in FRAMES], link=113),
    section() + interface() + b"".join(map(enhanced, FRAMES)),
    section(">") + interface(order=">") + b"".join(enhanced(frame, order=">") for frame in FRAMES),
    section() + interface() + simple(FRAME) + obsolete(FRAME) + block(9, b"A=b\n") + section() + interface(101),
]


def story(data: bytes, form: Form) -> Any:
    """All that reading ``data`` tells."""
    try:
        rows, journals, capture = read_all(data, form, 4096)
    except CaptureError as error:
        return str(error)
    return values(rows), journals, notes(capture), capture.packets, capture.sections, capture.interfaces


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_the_three_forms_agree(seed: bytes) -> None:
    one, *others = (story(seed, form) for form in FORMS)
    assert all(other == one for other in others)
    assert len(read(seed)[0]) >= 2


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_cut_at_every_byte(seed: bytes) -> None:
    whole = story(seed, "columns")
    for cut in range(1, len(seed)):
        told = story(seed[:cut], "columns")
        assert told == story(seed[:cut], FORMS[-1])
        if not isinstance(told, str):
            kept = len(told[0]["frame"])
            assert told[0]["frame"] == whole[0]["frame"][:kept]
            assert told[3] <= whole[3]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A capture with some octets changed, taken out or put in, and perhaps cut."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        where = draw(st.integers(0, len(data) - 1))
        new = draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\x10", b"\x10\0\0\0"]),
            )
        )
        gone = draw(st.integers(0, 4))
        data[where : where + gone] = new
        if not data:
            break
    return bytes(data[: draw(st.integers(1, max(len(data), 1)))] if draw(st.booleans()) else data)


@settings(max_examples=150, deadline=None)
@given(damaged())
def test_damage_never_crashes_and_the_forms_agree(data: bytes) -> None:
    if data:
        one, *others = (story(data, form) for form in FORMS)
        assert all(other == one for other in others)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=120), st.sampled_from(FRAMES)),
    st.integers(0, 120),
    st.lists(st.tuples(st.integers(0, 119), st.integers(0, 255)), max_size=4),
    st.sampled_from(sorted(DECODED)),
    st.integers(0, 2000),
)
def test_no_header_is_read_beyond_the_captured_bytes(
    frame: bytes, cut: int, changes: list[tuple[int, int]], link: int, beyond: int
) -> None:
    data = bytearray(frame[:cut])
    for where, octet in changes:
        if where < len(data):
            data[where] = octet
    # a bytes object of just the captured octets: an index beyond them would raise
    outcome, ip, segment, stop = locate(bytes(data), 0, len(data), len(data) + beyond, link)
    assert outcome in OUTCOMES or outcome in (0, 4)
    if outcome == 0:
        assert 0 <= ip < segment and segment + 20 <= len(data) and segment + 20 <= stop <= len(data) + beyond


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing compiled is there, and numba is not."""
    monkeypatch.setattr(MachineCode, "load", lambda self: None)
    monkeypatch.setattr(MachineCode, "compile", lambda self: None)
    monkeypatch.setattr(MachineCode, "aside", lambda self: None)


def test_without_numba_large_captures_are_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch)
    monkeypatch.setattr("tracer.capture.reader.COMPILE_FROM", 10)
    rows, capture = read(pcap(*[FRAME] * 20_000))
    assert len(rows) == 20_000 and capture.form == "columns"
    with pytest.raises(CaptureError, match="numba is not installed"):
        open_capture(io.BytesIO(pcap()), "compiled")


def test_small_captures_do_not_import_numba() -> None:
    code = (
        "import sys\nfrom tracer.capture import open_capture\n"
        "n = sum(len(b.segments) for b in open_capture('-').blocks())\nprint(n, 'numba' in sys.modules)"
    )
    data = pcap(*[FRAME] * 30_000)
    run = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=60, check=True)
    assert run.stdout.decode().split() == ["30000", "False"]


def test_the_first_block_of_a_large_capture_does_not_wait_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr("tracer.capture.reader.COMPILE_FROM", 10_000)
    capture = open_capture(io.BytesIO(pcap() + record(FRAME) * 40_000))
    blocks = capture.blocks()
    first = next(blocks)
    assert capture.form == "columns"
    rest = [len(each.segments) for each in blocks]
    assert capture.form == "compiled" and len(first.segments) + sum(rest) == 40_000
