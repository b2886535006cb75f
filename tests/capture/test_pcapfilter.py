"""pcap-filter expressions: libpcap's own answers, on every link type, whatever the expression."""

from __future__ import annotations

import ctypes.util
import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.capture.craft import enhanced as packet
from tests.capture.craft import ether, interface, ip4, ip6, pcap, section, tcp, udp
from tracer.capture import open_capture
from tracer.capture import pcapfilter as module
from tracer.capture.decoder import Frames
from tracer.capture.pcapfilter import FilterRefused, LibpcapMissing, PcapFilter

SYN = ether(ip4(tcp(flags=2)))
DATA = ether(ip4(tcp(b"x" * 100)))
SIX = ether(ip6(tcp(b"six")), 0x86DD)


@pytest.fixture(scope="module", autouse=True)
def libpcap() -> None:
    """Skips where there is none."""
    try:
        PcapFilter("tcp")
    except LibpcapMissing:
        pytest.skip("needs test: no libpcap")


def frames(data: bytes, expression: str) -> list[int]:
    """Numbers of the frames that pass and are segments; what is left out is not noted."""
    capture = open_capture(io.BytesIO(data))
    capture.watch = PcapFilter(expression).sieve
    found = [frame for block in capture.blocks() for frame in block.segments["frame"].tolist()]
    assert not [note for note in capture.notes if note.kind != "other"]
    return found


@pytest.mark.parametrize(
    ("expression", "passing"),
    [
        ("", [1, 2, 3]),
        ("tcp", [1, 2, 3]),
        ("ip6", [3]),
        ("tcp[tcpflags] & tcp-syn != 0", [1]),
        ("greater 150", [2]),
        ("src host 10.0.0.1 and dst port 80", [1, 2]),
        ("net 192.168.0.0/16", []),
        ("not ip", [3]),
    ],
)
def test_frames_are_chosen_before_they_are_decoded(expression: str, passing: list[int]) -> None:
    assert frames(pcap(SYN, DATA, SIX), expression) == passing


def test_numbers_of_frames_stay_those_of_the_file() -> None:
    assert frames(pcap(ether(ip4(udp(b"", 53), proto=17)), SYN, DATA), "tcp") == [2, 3]


def test_each_link_type_has_a_program_of_its_own() -> None:
    data = section() + interface(1) + interface(101) + packet(DATA) + packet(DATA[14:], number=1)
    assert frames(data, "tcp port 80") == [1, 2]
    assert frames(data, "len == 154") == [1]


def test_what_means_nothing_on_a_link_type_is_refused_when_it_comes() -> None:
    data = section() + interface(101) + packet(DATA[14:])
    with pytest.raises(FilterRefused, match=r"RAW \(101\)"):
        frames(data, "ether proto 0x88cc")


def test_wireless_expressions_are_expressions_too() -> None:
    PcapFilter("type mgt")


def test_a_cut_frame_is_judged_by_what_is_there_and_by_its_length_on_the_wire() -> None:
    capture = open_capture(io.BytesIO(pcap(DATA[:54], wire=len(DATA))))
    capture.watch = PcapFilter("len >= 154 and tcp[13] != 0").sieve
    assert sum(len(block.segments) for block in capture.blocks()) == 1
    capture = open_capture(io.BytesIO(pcap(DATA[:54], wire=len(DATA))))
    capture.watch = PcapFilter("tcp[30] == 0x78").sieve
    assert sum(len(block.segments) for block in capture.blocks()) == 0


# No bare names: libpcap would ask the resolver whether they are hosts.
words = st.sampled_from(["tcp", "port", "80", "and", "not", "(", ")", "[", "]", "&", "13", "\0", "\ud800", "ip6", "<",
                         "net", "10.0.0.0/8", "::1", "len", "vlan", "\n", "(" * 500, "99999999999"])  # fmt: skip


@given(st.lists(words).map(" ".join))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        PcapFilter(text).close()
    except FilterRefused as refused:
        assert str(refused).startswith("-f ")


def test_without_the_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIBRARIES", ())
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(LibpcapMissing, match="needs libpcap, which is not installed"):
        PcapFilter("tcp")


@pytest.mark.corpora
@pytest.mark.needs("tcpdump")
@pytest.mark.parametrize("expression", ["tcp", "tcp port 80 or port 443", "tcp[tcpflags] & (tcp-fin|tcp-rst) != 0"])
def test_it_chooses_what_tcpdump_chooses(corpora: Path, expression: str) -> None:
    compared = 0
    for path in sorted((corpora / "captures" / "tcp").glob("moloch__*.pcap"))[:12]:
        command = ["tcpdump", "-n", "--count", "-r", str(path), f"({expression}) and tcp"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        passed: list[int] = []
        capture = open_capture(path)

        def watch(octets: NDArray[np.uint8], frames: Frames, passed: list[int] = passed) -> None:
            PcapFilter(f"({expression}) and tcp").sieve(octets, frames)
            passed.append(int((frames.outcome == 0).sum()))

        capture.watch = watch
        for _ in capture.blocks():
            pass
        assert f"{sum(passed)} packet" in told.stdout, path.name
        compared += sum(passed)
    assert compared > 10
