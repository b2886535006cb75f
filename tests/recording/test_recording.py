"""A recording holds exactly what was seen, opens in Wireshark's tools, and survives being cut off."""

from __future__ import annotations

import functools
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP

from tracer.batch import BatchBuilder, merge
from tracer.events import HEAD, NUMBER
from tracer.headers import decode
from tracer.kinds import KINDS, MAX_HEADER_BYTES, TYPES, Evidence, Source
from tracer.recording.fields import from_journal, to_journal
from tracer.recording.reader import RecordingReader, is_recording
from tracer.recording.writer import Recorder, RecordingError
from tracer.session import Session
from tracer.timeline import Timeline

SECOND = 1_000_000_000


def packet(kind: str, tcp: TCP, *, skb: int, back: bool = False) -> tuple[str, dict[str, Any]]:
    ip = IP(src="127.0.0.1", dst="127.0.0.1", id=skb)
    raw = bytes(ip / tcp)
    return kind, {
        "raw": np.frombuffer(raw.ljust(MAX_HEADER_BYTES, b"\0")[:MAX_HEADER_BYTES], np.uint8),
        "caplen": min(len(raw), MAX_HEADER_BYTES), "wire_len": len(raw), "skb": 0xFFFF888000000000 + skb, "netns": 5,
    }  # fmt: skip


def a_short_life(most: int = 99) -> Timeline:
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    there = {"sport": 40000, "dport": 80}
    back = {"sport": 80, "dport": 40000}
    events: list[tuple[str, dict[str, Any]]] = [
        ("trace:note", {"text": "begin\nwith a second line and \x1b[31mcolour, größer"}),
        ("syscall:enter", {"call": 4, "args": [3, 2**63 + 1, 16, 0]}),
        packet("packet:sent", TCP(**there, flags="S", seq=100, options=[("MSS", 1460)]), skb=1),
        packet("packet:received", TCP(**there, flags="S", seq=100, options=[("MSS", 1460)]), skb=1),
        ("request:born", {"sport": 80, "dport": 40000, "saddr": [0, 1], "daddr": [0, 2], "qlen": 1}),
        packet("packet:sent", TCP(**back, flags="SA", seq=500, ack=101), skb=2),
        packet("packet:received", TCP(**back, flags="SA", seq=500, ack=101), skb=2),
        ("socket:state", {"sport": 40000, "dport": 80, "old": 2, "new": 1, "srtt": 44, "rmem": -1}),
        packet("packet:received", TCP(sport=9, dport=10, flags="R", seq=9), skb=3),
        ("thread:woken", {"comm": b"bad\x07\xff name", "other": 7, "by": 12345}),
        ("epoll:wait", {"ep": 2**64 - 1, "n": 1, "data": [7, 0, 0, 0, 0, 0, 0, 0], "events": [0x2001] + [0] * 7}),
    ]
    for i, (kind, own) in enumerate(events[:most]):
        head = {"pid": 100 + i, "tid": 200 + i, "cpu": i % 2, "ctx": i * 10, "probe_time": 77 + i, "cookie": i % 3}
        builder.add(kind, 1_700_000_000 * SECOND + i * 1001, own, **head)
    batch = builder.take()
    for name in ("packet:sent", "packet:received"):
        decode(batch.tables[NUMBER[name]])
    session = Session([Once(batch)])
    session.pump(final=True)
    return session.timeline


class Once:
    """A source that has one batch."""

    def __init__(self, *batches: Any) -> None:
        self.batches = list(batches)

    def drain(self) -> Any:
        return self.batches.pop(0) if self.batches else merge([])

    def losses(self) -> Any:
        from tracer.session import Losses

        return Losses()

    def stop(self) -> None:
        pass


def everything(timeline: Timeline) -> list[tuple[Any, ...]]:
    names = [name for name in HEAD.names or () if name not in ("row", "kind")]
    return [(e.name, *(getattr(e, name) for name in names), e.fields()) for e in timeline.events()]


def recorded(timeline: Timeline, path: Path, meta: dict[str, Any] | None = None) -> Path:
    recorder = Recorder(str(path), meta)
    recorder.write(timeline, 0, len(timeline))
    recorder.close(len(timeline), 3)
    assert recorder.failure is None
    return path


def replayed(data: bytes) -> tuple[Timeline, RecordingReader]:
    reader = RecordingReader(io.BytesIO(data))
    session = Session([Once(*reader.batches())])
    while session.pump(final=True):
        pass
    return session.timeline, reader


def test_a_recording_replays_exactly(tmp_path: Path) -> None:
    live = a_short_life()
    data = recorded(live, tmp_path / "run.pcapng", {"version": "x", "probes": [1]}).read_bytes()
    assert is_recording(data[:4096])
    again, reader = replayed(data)
    assert everything(again) == everything(live)
    assert reader.meta == {"version": "x", "probes": [1]}
    assert reader.notes == []


def test_cut_at_every_byte_it_opens_up_to_the_last_whole_block(tmp_path: Path) -> None:
    live = a_short_life(5)
    data = recorded(live, tmp_path / "run.pcapng").read_bytes()
    whole, previous = everything(live), 0
    for end in range(len(data)):
        again, reader = replayed(data[:end])
        got = everything(again)
        assert got == whole[: len(got)]
        assert len(got) >= previous
        previous = len(got)
        assert len(reader.notes) <= 1
    assert previous == len(whole)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_never_raises(data: st.DataObject) -> None:
    recording = bytearray(as_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        recording[data.draw(st.integers(0, len(recording) - 1))] = data.draw(st.integers(0, 255))
    _, reader = replayed(bytes(recording))
    assert all(isinstance(note, str) for note in reader.notes)


@functools.cache
def as_bytes() -> bytes:
    """The recording of the short life, through a pipe."""
    return through_a_pipe(a_short_life())


def through_a_pipe(timeline: Timeline) -> bytes:
    read, write = os.pipe()
    recorder = Recorder(f"/dev/fd/{write}")
    recorder.write(timeline, 0, len(timeline))
    recorder.close()
    os.close(write)
    assert recorder.failure is None
    with os.fdopen(read, "rb") as pipe:
        return pipe.read()


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True), st.text(max_size=20), max_size=6))
def test_any_text_survives_the_journal_format(fields: dict[str, str]) -> None:
    assert from_journal(to_journal(iter(fields.items()))) == fields


@given(st.data())
def test_any_event_survives(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([kind for kind in KINDS if kind.lane.name != "WIRE"]))
    own: dict[str, Any] = {}
    for field in kind.fields:
        dtype = np.dtype(TYPES[field.type].numpy)
        if TYPES[field.type].shown == "text":
            own[field.name] = b"name" if field.type in ("comm", "reason", "word") else data.draw(st.text(max_size=10))
        else:
            bounds = np.iinfo(dtype)
            one = st.integers(int(bounds.min), int(bounds.max))
            shape = TYPES[field.type].shape
            own[field.name] = data.draw(st.lists(one, min_size=shape[0], max_size=shape[0]) if shape else one)
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    builder.add(kind.name, 5, own)
    timeline = Timeline()
    timeline.append(builder.take())
    again = list(RecordingReader(io.BytesIO(through_a_pipe(timeline))).batches())
    copy = Timeline()
    copy.append(again[0])
    assert copy[0].fields() == timeline[0].fields()


def tshark(path: Path, *more: str) -> list[str]:
    done = subprocess.run(["tshark", "-n", "-r", str(path), *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.needs("tshark", "capinfos")
def test_wiresharks_tools_read_it_in_strict_order(tmp_path: Path) -> None:
    path = recorded(a_short_life(), tmp_path / "run.pcapng")
    info = subprocess.run(["capinfos", "-o", "-c", str(path)], capture_output=True, text=True, check=True).stdout
    assert "Strict time order:   True" in info
    rows = tshark(path)
    assert len(rows) == len(a_short_life())
    assert any("connect" in row for row in rows), "our own events are listed between the packets"
    # Two SYNs and a stranger's RST: each segment once, so nothing looks like a retransmission.
    assert len(tshark(path, "-Y", "tcp")) == 3
    assert not tshark(path, "-Y", "tcp.analysis.flags")


def test_a_file_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"cannot write the recording .*No such file or directory"):
        Recorder(str(tmp_path / "nowhere" / "run.pcapng"))


def test_a_full_disk_keeps_what_is_whole(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for the full disk: write(2) fails half way in both."""
    code = (
        "import resource, signal, sys; sys.path[:0] = [sys.argv[2]]\n"
        "from tests.recording.test_recording import Recorder, a_short_life\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "r = Recorder(sys.argv[1]); t = a_short_life()\n"
        "[r.write(t, i, i + 1) for i in range(len(t))]; r.close(); print(r.written, r.failure)\n"
    )
    path, root = tmp_path / "run.pcapng", Path(__file__).parents[2]
    command = [sys.executable, "-c", code, str(path), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, said = done.stdout.split(" ", 1)
    assert "recording to" in said and "stopped: File too large" in said
    again, reader = replayed(path.read_bytes())
    assert len(again) == int(count) > 0
    assert reader.notes == []


def test_a_reader_that_goes_away_ends_the_recording_not_the_trace() -> None:
    read, write = os.pipe()
    recorder = Recorder(f"/dev/fd/{write}")
    os.close(read)
    timeline = a_short_life()
    recorder.write(timeline, 0, 3)
    recorder.write(timeline, 3, 6)
    recorder.close()
    os.close(write)
    assert recorder.failure and "Broken pipe" in recorder.failure
