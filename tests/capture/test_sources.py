"""Files, pipes and compressed streams, and what is said of those that are no captures."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.capture.craft import enhanced, ether, interface, ip4, notes, pcap, read, section, tcp, values
from tracer.capture import Capture, CaptureError, open_capture

FRAME = ether(ip4(tcp(b"hello")))
PLAIN = pcap(*[FRAME] * 200)


def zstd(data: bytes) -> bytes:
    """``data`` packed with zstd."""
    packed: bytes = pytest.importorskip("zstandard").ZstdCompressor().compress(data)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstd,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_compression_is_known_by_content(packer: str, tmp_path: Path) -> None:
    path = tmp_path / "named-for-nothing.pcap"
    path.write_bytes(PACKERS[packer](PLAIN))
    with open_capture(path) as capture:
        blocks = list(capture.blocks())
        assert capture.compression == packer
        assert sum(len(block.segments) for block in blocks) == 200
        assert blocks[-1].done == blocks[-1].total == path.stat().st_size
        row = blocks[-1].segments[-1]
        assert capture.frame_bytes(int(row["offset"]), int(row["caplen"])) == FRAME
        assert not notes(capture)


@pytest.mark.parametrize("packer", PACKERS)
def test_members_that_follow_each_other_are_one_stream(packer: str) -> None:
    pack = PACKERS[packer]
    rows, _ = read(pack(PLAIN[:100]) + pack(PLAIN[100:]))
    assert values(rows) == values(read(PLAIN)[0])


@pytest.mark.parametrize("packer", ["gzip", "xz", "bzip2"])
def test_a_cut_compressed_stream_keeps_what_came_out(packer: str) -> None:
    noisy = pcap(*[ether(ip4(tcp(os.urandom(1400)))) for _ in range(1000)])
    packed = PACKERS[packer](noisy)
    rows, capture = read(packed[: len(packed) * 3 // 4])
    assert 0 < len(rows) < 1000
    assert f"the compressed stream is damaged: {packer}: it ends before its end-of-stream marker" in notes(capture)[-1]


def test_damage_in_the_middle_of_a_compressed_stream_keeps_what_was_before() -> None:
    noisy = pcap(*[ether(ip4(tcp(os.urandom(1400)))) for _ in range(1000)])
    packed = bytearray(gzip.compress(noisy))
    packed[len(packed) // 2 : len(packed) // 2 + 5000] = bytes(5000)
    rows, capture = read(bytes(packed))
    assert 480 < len(rows) < 1000, "up to the damage, or to the checksum if it went unnoticed"
    assert capture.notes.of("ended")


def test_a_wrong_checksum_is_told() -> None:
    packed = bytearray(gzip.compress(PLAIN))
    packed[-8] ^= 0xFF  # the checksum
    rows, capture = read(bytes(packed))
    assert len(rows) in (199, 200) and "incorrect data check" in notes(capture)[-1]


def test_what_follows_a_compressed_stream_is_told() -> None:
    rows, capture = read(gzip.compress(PLAIN) + b"and then some")
    assert len(rows) == 200
    assert "gzip: something else follows its end" in notes(capture)[-1]


def test_without_zstandard_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name == "zstandard":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(CaptureError, match="install the Python package zstandard, or unpack it first"):
        open_capture(io.BytesIO(b"\x28\xb5\x2f\xfd" + bytes(40)))


def test_a_bomb_costs_no_memory() -> None:
    bomb = gzip.compress(pcap() + bytes(6 << 20), compresslevel=1)
    capture = open_capture(io.BytesIO(bomb), "columns")
    most = max(block.segments.nbytes for block in capture.blocks())
    assert most == 0 and len(capture._window.buf) < 5 << 20, "the buffer"
    assert capture.packets == (6 << 20) // 16


def test_pcapng_under_a_pcap_name(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcap"
    path.write_bytes(section() + interface() + enhanced(FRAME))
    assert open_capture(str(path)).format == "pcapng"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x7fELF" + bytes(60), "it looks like an ELF program"),
        (b"snoop\0\0\0" + bytes(60), "it looks like a Solaris snoop capture"),
        (b"PK\x03\x04" + bytes(60), "a ZIP archive"),
        (b"hello, this is no capture\n", "it looks like text"),
        (b'{"a": 1}', "it looks like JSON text"),
        (b"\x01\x02\x1b]0;evil\x07", "unknown data (first bytes 01 02 1b 5d 30 3b 65 76)"),
        (
            gzip.compress(b"words\n" * 9, mtime=0),
            "gzip-compressed, is not a pcap or pcapng capture: it looks like text",
        ),
        (gzip.compress(b"", mtime=0), "holds no bytes"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "no byte-order magic"),
    ],
)
def test_what_is_no_capture_is_called_by_its_name(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(CaptureError) as error:
        open_capture(path)
    assert words in str(error.value) and "\n" not in str(error.value) and "\x1b" not in str(error.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="there is no such file"):
        open_capture(tmp_path / "absent.pcap")
    with pytest.raises(CaptureError, match="it is a directory"):
        open_capture(tmp_path)
    with pytest.raises(CaptureError, match="is not a file name"):
        open_capture("a\0b")


def test_a_pipe_gives_each_packet_as_it_comes() -> None:
    reading, writing = os.pipe()
    received: list[int] = []
    with os.fdopen(writing, "wb", buffering=0) as out, open(reading, "rb", buffering=0) as into:  # noqa: PTH123
        out.write(PLAIN[:24])
        capture = open_capture(into)
        blocks = capture.blocks()
        record = PLAIN[24 : 24 + 16 + len(FRAME)]
        for _ in range(3):
            out.write(record)
            received.append(len(next(blocks).segments))
        out.write(record[:20])
        out.close()
        assert list(blocks) == []
        assert received == [1, 1, 1]
        assert "the file ends inside a packet record (20 bytes of it are there)" in notes(capture)[-1]
        with pytest.raises(CaptureError, match="cannot be read twice"):
            capture.frame_bytes(40, 10)


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_by_a_dash(packed: bool) -> None:
    code = (
        "from tracer.capture import open_capture\n"
        "c = open_capture('-')\n"
        "print(sum(len(b.segments) for b in c.blocks()), c.name, c.compression)"
    )
    data = gzip.compress(PLAIN) if packed else PLAIN
    run = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=60, check=True)
    assert run.stdout.decode().strip() == f"200 standard input {'gzip' if packed else None}"


def test_a_large_pipe_is_read_whole() -> None:
    reading, writing = os.pipe()
    count = 20_000

    def write() -> None:
        with os.fdopen(writing, "wb") as out:
            out.write(pcap(*[FRAME] * count))

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb", buffering=0) as into:
        capture = open_capture(into)
        frames = [block.segments["frame"] for block in capture.blocks()]
    thread.join()
    assert [int(number) for part in frames for number in part] == list(range(1, count + 1))


@pytest.mark.parametrize("data", [PLAIN, section() + interface(101) + interface() + enhanced(FRAME, number=1)])
def test_a_frame_again(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(data)
    capture = open_capture(path)
    row = next(iter(capture.blocks())).segments[-1]
    frame = capture.frame(int(row["offset"]), int(row["caplen"]))
    assert (frame.data, frame.link_type) == (FRAME, 1)
    path.write_bytes(data[:30])
    with pytest.raises(CaptureError, match="has become shorter"):
        capture.frame(int(row["offset"]), int(row["caplen"]))
    path.unlink()
    with pytest.raises(CaptureError, match="there is no such file"):
        capture.frame(int(row["offset"]), int(row["caplen"]))


def test_reading_may_be_left_and_taken_up_again() -> None:
    capture: Capture = open_capture(io.BytesIO(pcap(*[FRAME] * 40_000)))
    first = next(capture.blocks())
    rest = [block.segments for block in capture.blocks()]
    assert first.packets == len(first.segments)
    assert rest[0]["frame"][0] == first.packets + 1
    assert len(first.segments) + sum(map(len, rest)) == 40_000
    assert list(capture.blocks()) == []
