"""sock_diag messages: taken apart here, and the same by pyroute2 and by the kernel's own words."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("sock_diag is Linux's", allow_module_level=True)

from tracer.states import State
from tracer.tables import diag
from tracer.timeline import address


@pytest.fixture
def netlink() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, diag.NETLINK_SOCK_DIAG) as opened:
        yield opened


def rows(netlink: socket.socket, port: int) -> list[diag.Row]:
    """The sockets with that port at either end."""
    return [row for row in map(diag.decode, diag.dump(netlink)) if port in (row.local[1], row.peer[1])]


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_listener_and_both_ends(netlink: socket.socket, family: int, host: str) -> None:
    try:
        listener = socket.create_server((host, 0), family=family, backlog=5)
    except OSError as failure:
        pytest.skip(f"no {host} here: {failure}")
    with listener:
        port = listener.getsockname()[1]
        with socket.create_connection((host, port)) as client:
            client.send(b"abc")
            found = {(row.state, row.local[1] == port): row for row in rows(netlink, port)}
            queue = found[State.LISTEN, True]
            assert (queue.rqueue, queue.wqueue) == (1, 5)
            assert address(*queue.local[0]) == host
            waiting = found[State.ESTABLISHED, True]
            assert waiting.inode == 0  # nobody has accepted it: no file, no descriptor
            assert waiting.rqueue == 3
            mine = found[State.ESTABLISHED, False]
            assert mine.peer == (queue.local[0], port)
            assert mine.cookie == int.from_bytes(
                client.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder
            )  # SO_COOKIE
            values = diag.snapshot(waiting)
            assert (values["rcv_nxt"] - values["copied_seq"]) & 0xFFFFFFFF == 3
            assert values["rcvbuf"] == waiting_rcvbuf(listener)
            assert values["known"] == 1 | 2 | 4 | 16


def waiting_rcvbuf(listener: socket.socket) -> int:
    """The receive buffer's size of the connection at the head of the accept queue."""
    child, _ = listener.accept()
    with child:
        return child.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_numbers_agree_with_tcp_info(netlink: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            child, _ = listener.accept()
            with child:
                client.send(bytes(1000))
                child.recv(400)
                row = next(
                    row for row in rows(netlink, port) if row.local[1] == port and row.state == State.ESTABLISHED
                )
                values = diag.snapshot(row)
                info = child.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
                assert values["mss"] == int.from_bytes(info[16:20], sys.byteorder)
                assert values["rto"] == int.from_bytes(info[8:12], sys.byteorder)
                assert values["snd_cwnd"] == int.from_bytes(info[80:84], sys.byteorder)
                assert values["rcv_nxt"] - values["copied_seq"] == 600 == row.rqueue


def test_pyroute2_reads_the_same(netlink: socket.socket) -> None:
    diag_messages = pytest.importorskip("pyroute2.netlink.diag")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            for message in diag.dump(netlink):
                row = diag.decode(message)
                if port not in (row.local[1], row.peer[1]):
                    continue
                head = (len(message) + 16).to_bytes(4, sys.byteorder) + bytes(12)
                other = diag_messages.inet_diag_msg(head + message)
                other.decode()
                assert row.state == other["idiag_state"]
                assert (row.local[1], row.peer[1]) == (other["idiag_sport"], other["idiag_dport"])
                assert address(*row.local[0]) == other["idiag_src"]
                assert (row.rqueue, row.wqueue) == (other["idiag_rqueue"], other["idiag_wqueue"])
                assert (row.inode, row.uid, row.cookie) == (
                    other["idiag_inode"],
                    other["idiag_uid"],
                    other["idiag_cookie"],
                )
                info = other.get_attr("INET_DIAG_INFO")
                if info and row.state != State.LISTEN:
                    values = diag.snapshot(row)
                    assert values["snd_cwnd"] == info["tcpi_snd_cwnd"]
                    assert values["srtt"] == info["tcpi_rtt"]
                    assert values["snd_wnd"] == info["tcpi_snd_wnd"]


def test_a_refusal_is_an_oserror(netlink: socket.socket) -> None:
    with pytest.raises(OSError, match="sock_diag refused"):
        diag.dump(netlink, families=(99,))
