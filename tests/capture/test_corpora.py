"""Real captures against tshark: the same segments, field by field; and malformed files, which must do no harm."""

from __future__ import annotations

import csv
import gzip
import io
import ipaddress
import lzma
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from tests.capture.craft import FORMS, values
from tracer.capture import CaptureError, open_capture
from tracer.capture.decoder import Form
from tracer.segments import SEGMENT

pytestmark = pytest.mark.corpora

IPCOMP: Final = "IPComp: what is inside is deflated"
SFLOW: Final = "sFlow: headers sampled elsewhere are quoted, not sent"
ARCNET: Final = "link type ARCNET_LINUX is not decoded"
HEADER: Final = "the TCP header claims less than 20 bytes or more than the packet has: no host would take it"

ACCEPTED: Final[dict[str, dict[int, str]]] = {
    "libpcap__filter__AH-IPcomp-IPv4.pcap": dict.fromkeys((3, 4, 5, 7), IPCOMP),
    "libpcap__filter__arcnet-rfc1201-arp-icmp-http.pcap": dict.fromkeys((13, 14, 15), ARCNET),
    "tcpdump__arcnet-rfc1201-arp-icmp-http.pcap": dict.fromkeys(range(13, 27), ARCNET),
    "tcpdump__bgp-aigp.pcap": {1: "link type JUNIPER_ETHER is not decoded"},
    "pcpp__tcp-reassembly.pcap": {66: SFLOW},
    "suriver__filestore-5408__input.pcap": dict.fromkeys((87, 116), SFLOW),
    "suriver__bug-76__input.pcap": {46: HEADER},
    "suriver__drop-protocol-change__input.pcap": {7: HEADER},
    "suriver__transform-base64-7296__input.pcap": dict.fromkeys((11, 59), HEADER),
    "tcpdump__tcp_header_heapoverflow.pcap": {1: "46 bytes captured: the TCP header is not there"},
}
"""Segments of tshark's that are not ours: file, frame, why."""

_FUZZ: Final = "pcpp__Fuzzers__RegressionTests__regression_samples__clusterfuzz-testcase-minimized-FuzzTarget-"
UNLIKE: Final[dict[str, str]] = {
    "pcpp__pcapng-example.pcapng": "time",  # before 1970, which tshark prints as an unsigned number
    f"{_FUZZ}5755755617189888.pcap": "length",  # tshark stops lengths at 2^31
    # more than a second of microseconds, of which tshark keeps 32 bits after it has made them nanoseconds
    f"{_FUZZ}5700358767902720.pcap": "time",
    "tcpdump__timestamp_invalid_micro.pcap": "time",
}
"""The column not compared in a file."""


def rows_of(path: Path, form: Form | None = None) -> Any:
    """All rows of a capture."""
    with open_capture(path, form) as capture:
        return np.concatenate([np.empty(0, SEGMENT), *(block.segments for block in capture.blocks())])


def number(text: str, absent: int = 0) -> int:
    """The first of tshark's comma-joined numbers."""
    return int(text.split(",")[0], 0) if text else absent


def address(text: str) -> int:
    """An address as one number, IPv4 mapped into IPv6."""
    parsed = ipaddress.ip_address(text)
    return int(parsed) if parsed.version == 6 else 0xFFFF << 32 | int(parsed)


def nanoseconds(text: str) -> int | None:
    """tshark's frame.time_epoch; None for one printed as negative, which pcap's unsigned seconds never are."""
    whole, _, fraction = text.partition(".")
    return None if whole.startswith("-") else int(whole) * 10**9 + int(fraction or 0)


def truth(path: Path) -> Iterator[dict[str, Any]]:
    """tshark's segments, in our terms; TCP quoted in ICMP errors is dropped."""
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            layers = row["frame.protocols"].split(":")
            above = layers[: layers.index("tcp")]
            if "icmp" in above or "icmpv6" in above:
                continue
            last = "ip" if [name for name in above if name in ("ip", "ipv6")][-1] == "ip" else "ipv6"
            which = above.count(last) - 1  # payloads may quote headers too: behind the segment's own
            yield {
                "frame": int(row["frame.number"]),
                "time": nanoseconds(row["frame.time_epoch"]),
                "caplen": int(row["frame.cap_len"]),
                "src": address(row[f"{last}.src"].split(",")[which]),
                "dst": address(row[f"{last}.dst"].split(",")[which]),
                "sport": number(row["tcp.srcport"]),
                "dport": number(row["tcp.dstport"]),
                "seq": number(row["tcp.seq_raw"]),
                "ack": number(row["tcp.ack_raw"]),
                "flags": number(row["tcp.flags"]) & 0x1FF,
                "length": number(row["tcp.len"]),
                "window": number(row["tcp.window_size_value"]),
                "header": number(row["tcp.hdr_len"]),
                "mss": number(row["tcp.options.mss_val"]),
                "wscale": number(row["tcp.options.wscale.shift"], -1),
                "sack_permitted": int(bool(row["tcp.options.sack_perm"])),
                "tsval": number(row["tcp.options.timestamp.tsval"]),
                "tsecr": number(row["tcp.options.timestamp.tsecr"]),
                "sack_left": [int(edge) for edge in row["tcp.options.sack_le"].split(",") if edge],
                "sack_right": [int(edge) for edge in row["tcp.options.sack_re"].split(",") if edge],
            }


def ours(rows: Any) -> Iterator[dict[str, Any]]:
    """Our segments in the same terms."""
    columns = values(rows)
    for row in (dict(zip(columns, items, strict=True)) for items in zip(*columns.values(), strict=True)):
        row["src"] = row["src_hi"] << 64 | row["src_lo"]
        row["dst"] = row["dst_hi"] << 64 | row["dst_lo"]
        row["sack_left"] = row["sack_left"][: row["n_sack"]]
        row["sack_right"] = row["sack_right"][: row["n_sack"]]
        yield row


def differences(capture: Path, truth_file: Path) -> list[str]:
    """What is not the same, in words."""
    accepted = ACCEPTED.get(capture.name, {})
    unlike = UNLIKE.get(capture.name)
    expected = {row["frame"]: row for row in truth(truth_file) if row["frame"] not in accepted}
    got = {row["frame"]: row for row in ours(rows_of(capture))}
    found = [f"{capture.name}: frame {frame} missing" for frame in sorted(expected.keys() - got.keys())]
    found += [f"{capture.name}: frame {frame} extra" for frame in sorted(got.keys() - expected.keys())]
    for frame in sorted(expected.keys() & got.keys()):
        for name, value in expected[frame].items():
            if value is not None and got[frame][name] != value and name != unlike:
                found.append(f"{capture.name}: frame {frame} {name} {got[frame][name]}, tshark {value}")
    return found


def test_segments_are_tsharks(corpora: Path) -> None:
    found: list[str] = []
    compared = 0
    for truth_file in sorted((corpora / "truth/tshark").glob("*.tsv.gz")):
        name = truth_file.name.removesuffix(".tsv.gz")
        (capture,) = (corpora / "captures").glob(f"*/{name}")
        found += differences(capture, truth_file)
        compared += 1
    assert compared >= 290
    assert not found


def test_segments_of_the_kernel_oracle_are_tsharks(corpora: Path) -> None:
    captures = sorted((corpora / "kernel_oracle/pcap").glob("*.pcap"))
    assert len(captures) >= 160
    folder = corpora / "kernel_oracle/tshark"
    assert not [word for path in captures for word in differences(path, folder / f"{path.stem}.tsv.gz")]


def told(path: Path, form: Form) -> Any:
    """All that reading a file tells."""
    try:
        capture = open_capture(path, form)
    except CaptureError as error:
        return str(error)
    with capture:
        blocks = list(capture.blocks())
    rows = np.concatenate([np.empty(0, SEGMENT), *(block.segments for block in blocks)])
    return values(rows), list(capture.notes), capture.packets


def test_malformed_files_do_no_harm_and_every_form_agrees(corpora: Path) -> None:
    files = sorted((corpora / "captures/fuzz").iterdir()) + sorted((corpora / "captures/pcapng-format").iterdir())
    assert len(files) >= 200
    for path in files:
        one, *others = (told(path, form) for form in FORMS)
        assert all(other == one for other in others), path.name


def test_truncated_anywhere_the_rest_is_kept(corpora: Path) -> None:
    files = [path for path in sorted((corpora / "captures/tcp").iterdir()) if path.stat().st_size < 1500][:8]
    assert len(files) == 8
    for path in files:
        data = path.read_bytes()
        for cut in range(1, len(data)):
            try:
                capture = open_capture(io.BytesIO(data[:cut]))
            except CaptureError as error:
                assert "\n" not in str(error)
                continue
            list(capture.blocks())
            assert len(capture.notes.of("ended")) <= 1


def test_memory_does_not_grow_with_the_file(corpora: Path) -> None:
    with lzma.open(corpora / "bench/mixed-931k.pcap.xz") as file:
        head = file.read(24)
        records = file.read(8 << 20)

    class Endless:
        """The same records again and again."""

        def __init__(self) -> None:
            self.left = 6
            self.rest = head

        def read(self, size: int = -1) -> bytes:
            if not self.rest and self.left:
                self.rest, self.left = records, self.left - 1
            data, self.rest = self.rest[:size], self.rest[size:]
            return data

    tracemalloc.start()
    packets = sum(len(block.segments) for block in open_capture(Endless(), "columns").blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert packets > 50_000
    assert peak < 40 << 20


@pytest.mark.slow
def test_the_bench_capture_gives_every_packet_in_every_form(corpora: Path) -> None:
    path = corpora / "bench/mixed-931k.pcap.xz"
    compiled, columns = rows_of(path, FORMS[-1]), rows_of(path, "columns")
    assert len(compiled) == 930_897
    assert all((compiled[name] == columns[name]).all() for name in SEGMENT.names or ())
