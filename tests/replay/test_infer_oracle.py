"""Inference against a real kernel: every run of corpora/kernel_oracle, state by state."""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from pathlib import Path

import pytest

from tests.replay.infer_oracle import REASONS, Result, closes, compare, reasons, runs, table
from tracer.segments import ACK, FIN, RST, SYN

SO_ATTACH_FILTER = 26
"""asm-generic/socket.h"""
DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.fixture(scope="module")
def results(corpora: Path) -> list[Result]:
    folder = corpora / "kernel_oracle"
    return [result for run in runs(folder) for result in compare(folder, run)]


@pytest.mark.corpora
def test_the_states_are_the_kernels(results: list[Result]) -> None:
    assert len({result.run for result in results}) > 150
    for result in results:
        if not reasons(result.run):
            assert result.same, f"{result.run}: kernel {result.kernel}, inferred {result.ours}"
        elif not result.same:
            assert result.without_queued_close, f"{result.run}: kernel {result.kernel}, inferred {result.ours}"


@pytest.mark.corpora
def test_the_states_are_there_when_the_kernel_is_in_them(results: list[Result]) -> None:
    for result in results:
        if not reasons(result.run) + reasons(result.run, late=True):
            assert not result.late, f"{result.run}: {result.late}"


@pytest.mark.corpora
def test_no_exception_has_outlived_its_reason(results: list[Result]) -> None:
    differ = {result.run.rsplit(".", 1)[0] for result in results if not result.same}
    late = {result.run.rsplit(".", 1)[0] for result in results if result.late}
    assert differ == {name for reason in REASONS for name in reason.differ}
    assert late >= {name for reason in REASONS for name in reason.late}


@pytest.mark.corpora
def test_where_states_differ_the_wire_holds_nothing_of_the_call(results: list[Result]) -> None:
    """What an end sent before it closed cannot tell of it; after it, the end sends nothing, or queued data only."""
    different = [result for result in results if not result.same]
    assert {flags & (SYN | FIN | RST) for result in different for flags, _ in result.after} <= {0}
    silent = [result for result in different if not result.after]
    assert len(silent) >= len(different) - 2
    assert all(0 <= result.reset < 0.0001 for result in silent), "the harness's RST, seconds after the call"
    assert closes(results) in (DOCS / "inference.md").read_text(encoding="utf-8")


def stuck(close: bool) -> tuple[str, list[tuple[str, int]]]:
    """A socket whose peer does not read and whose queue is full is closed, or not: its state as the kernel has it, and
    who sends what in the half second after that, until the peer resets: (client or server, flags)."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as wire, socket.socket() as listener:
        wire.bind(("lo", 0x0800))
        wire.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        ports = client.getsockname()[1], server.getsockname()[1]
        only(wire, ports[0])
        client.setblocking(False)
        try:
            while True:
                client.send(bytes(65536))
        except BlockingIOError:
            time.sleep(0.1)  # so that what is under way has come
        segments(wire, ports)
        if close:
            client.close()
        time.sleep(0.5)
        with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123
            rows = [line.split() for line in table]
        (state,) = [row[3] for row in rows if [one[-4:] for one in row[1:3]] == [f"{port:04X}" for port in ports]]
        server.close()  # with unread data: RST
        time.sleep(0.05)
        found = segments(wire, ports)
        client.close()
        return state, found


def only(wire: socket.socket, port: int) -> None:
    """Have the kernel keep what else passes the loopback from a socket of packets, whose queue others would fill."""
    load_header, load, same, give = 0xB1, 0x48, 0x15, 0x06  # ldxb 4*([0]&0xf), ldh [x + k], jeq, ret: linux/filter.h
    program = (
        (load_header, 0, 0, 0), (load, 0, 0, 0), (same, 2, 0, port), (load, 0, 0, 2), (same, 0, 1, port),
        (give, 0, 0, 65535), (give, 0, 0, 0),
    )  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    wire.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))


def segments(wire: socket.socket, ports: tuple[int, int]) -> list[tuple[str, int]]:
    """(who, flags) of what was sent between the two ports."""
    found: list[tuple[str, int]] = []
    while True:
        try:
            packet, address = wire.recvfrom(65536)
        except BlockingIOError:
            return found
        head = (packet[0] & 15) * 4
        if packet[9] != socket.IPPROTO_TCP or address[2] == socket.PACKET_OUTGOING:
            continue
        one = struct.unpack_from(">HH", packet, head)
        if set(one) == set(ports):
            found.append(("C" if one == ports else "S", packet[head + 13] & (SYN | FIN | RST | ACK)))


@pytest.mark.kernel
def test_a_closed_socket_with_a_full_queue_sends_what_an_open_one_does() -> None:
    """So nobody can tell the two from packets: FIN_WAIT1 there, ESTABLISHED here."""
    (open_state, by_open), (closed_state, by_closed) = stuck(close=False), stuck(close=True)
    assert (open_state, closed_state) == ("01", "04"), "TCP_ESTABLISHED and TCP_FIN_WAIT1 of net/tcp_states.h"
    assert by_open[-1] == by_closed[-1] == ("S", RST | ACK)
    assert set(by_open) == set(by_closed) == {("C", ACK), ("S", ACK), ("S", RST | ACK)}, "probes, answers, the end"


def test_the_page_lists_the_exceptions() -> None:
    assert table() in (DOCS / "inference.md").read_text(encoding="utf-8")
