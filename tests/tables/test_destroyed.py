"""The kernel's notices of freed sockets: what came and went between two readings is known to have been."""

from __future__ import annotations

import socket
import struct
import sys
import time

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("sock_diag is Linux's", allow_module_level=True)

from tracer.export.text import line
from tracer.states import State
from tracer.tables import diag, source
from tracer.tables.destroyed import Destroyed
from tracer.tables.source import TableSource
from tracer.timeline import Timeline

MANY = 40


def netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, diag.NETLINK_SOCK_DIAG)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connections_shorter_than_a_reading_are_told_of(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(source, "FAST", 3600.0)  # no reading in between
    monkeypatch.setattr(source, "SLOW", 3600.0)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=MANY) as listener:
        port = listener.getsockname()[1]
        table = TableSource(netlink(), ports=[port], destroyed=Destroyed(netlink()))
        while not table.read_until:  # the one reading there is comes first
            time.sleep(0.001)
        before = time.time_ns()
        for _ in range(MANY):
            client = socket.create_connection((host, port))
            child, _ = listener.accept()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            child.close()
        time.sleep(0.2)
        table.stop()
        after = time.time_ns()
        timeline = Timeline()
        timeline.append(table.drain())
    ended = [event for event in timeline.events() if event.name == "socket:destroy"]
    # The clients' have forgotten their ports (tcp_disconnect()); one that the first reading met is told of as well.
    ours = [event for event in ended if event["sport"] == port]
    assert len({event.cookie for event in ours}) == MANY and len(ended) <= MANY + 2
    assert all(event.ip("saddr") == host for event in ended)
    assert all(before < event.time < after for event in ended)
    changes = [event for event in timeline.events() if event.name == "socket:state" and event["new"] == State.CLOSE]
    assert State.UNKNOWN in {event["old"] for event in changes}


def test_an_end_has_its_own_time_not_the_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a socket that leaves a TIME_WAIT object is not said to be closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        child, _ = listener.accept()
        table = TableSource(netlink(), ports=[port], destroyed=Destroyed(netlink()))
        client.close()
        child.close()
        closed = time.time_ns()
        time.sleep(0.3)
        table.stop()
        timeline = Timeline()
        timeline.append(table.drain())
    events = list(timeline.events())
    freed, *more = [event for event in events if event.name == "socket:destroy" and event["dport"]]
    assert not more, "\n".join(f"{event.cookie} {line(event, 0)}" for event in events)
    assert freed["sport"] == port and abs(freed.time - closed) < 0.25e9
    assert [event["dport"] for event in events if event.name == "timewait:born"] == [port]
