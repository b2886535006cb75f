"""Real captures: every column as tshark has it, every connection as Zeek has it, exceptions named."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import corpus_report
from tracer.capture import open_capture
from tracer.replay import Replay

pytestmark = pytest.mark.corpora


def test_all_but_one_packet_in_a_thousand_agree_with_tshark(corpora: Path) -> None:
    report = corpus_report.Report()
    for capture, truth in corpus_report.captures([]):
        corpus_report.compare(capture, truth, report)
    assert report.packets > 180_000
    assert {name: share for name, share in report.shares().items() if share < corpus_report.ENOUGH} == {}
    found = {(row.file, row.column, row.frame) for row in report.differences}
    assert found == corpus_report.REASONS.keys(), "each has its reason, and no reason outlives its difference"


def test_the_page_lists_all_differences() -> None:
    page = corpus_report.PAGE.read_text(encoding="utf-8")
    assert corpus_report.markdown(corpus_report.TSHARK_DIFFERENCES) in page
    assert corpus_report.markdown(corpus_report.ZEEK_DIFFERENCES) in page


def test_no_packet_of_the_bench_capture_differs(corpora: Path) -> None:
    report = corpus_report.Report()
    corpus_report.compare_bench(report, limit=60_000, compiled=False)
    assert report.packets >= 60_000
    assert report.differences == []


@pytest.mark.slow
def test_no_packet_of_the_whole_bench_capture_differs(corpora: Path) -> None:
    report = corpus_report.Report()
    corpus_report.compare_bench(report, compiled=True)
    assert report.packets == 930_897
    assert report.differences == []


def _address(high: Any, low: Any) -> str:
    address = ipaddress.IPv6Address(int(high) << 64 | int(low))
    return str(address.ipv4_mapped or address)


def _connections(path: Path) -> dict[frozenset[tuple[str, int]], list[tuple[str, str]]]:
    replay = Replay(compiled=False)
    with open_capture(path) as capture:
        for block in capture.blocks():
            replay.feed(block.segments)
    found: dict[frozenset[tuple[str, int]], list[tuple[str, str]]] = defaultdict(list)
    for row in np.sort(np.concatenate((replay.finished(), replay.connections())), order="stream"):
        src = (_address(row["src_hi"], row["src_lo"]), int(row["sport"]))
        dst = (_address(row["dst_hi"], row["dst_lo"]), int(row["dport"]))
        found[frozenset((src, dst))].append((row["conn_state"].decode(), row["history"].decode()))
    return found


def test_connections_are_zeeks(corpora: Path) -> None:
    rows = list(enumerate(corpus_report.table(corpora / "truth/zeek_conn.tsv"), 2))
    listed = {
        (row["file"], number): (row["zeek"], row["here"])
        for row in corpus_report.table(corpus_report.ZEEK_DIFFERENCES)
        for number in corpus_report.numbers(row["row"])
    }
    clear = [(number, row) for number, row in rows if row["ambiguous"] == "-"]
    different = {}
    for name in sorted({row["file"] for _, row in clear}):
        (path,) = (corpora / "captures").glob(f"*/{name}")
        found = _connections(path)
        used: Counter[tuple[Any, ...]] = Counter()
        for number, row in ((number, row) for number, row in clear if row["file"] == name):
            ends = frozenset(((row["id.orig_h"], int(row["id.orig_p"])), (row["id.resp_h"], int(row["id.resp_p"]))))
            log = (row["log"], row["btest"], row["zeek_cmd"], ends)
            ours = [" ".join(one) for one in found[ends][used[log] : used[log] + 1]]
            used[log] += 1
            zeeks = f"{row['conn_state']} {row['history']}"
            if ours != [zeeks]:
                different[name, number] = zeeks, ours[0] if ours else "-"
    assert different == listed
    elsewhere = [name for name, _ in different if name != "zeek__llc.pcap"]
    assert len([number for number, row in clear if row["file"] != "zeek__llc.pcap"]) == 204
    assert len(elsewhere) <= 26
