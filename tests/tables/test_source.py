"""The table sampled live: a connection's life on loopback, as a plain user may see it."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("sock_diag is Linux's", allow_module_level=True)

from tracer.states import State
from tracer.tables import diag, owners
from tracer.tables.source import TableSource
from tracer.timeline import Event, Timeline


def netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, diag.NETLINK_SOCK_DIAG)


def watch(source: TableSource, timeline: Timeline, wanted: Callable[[Event], bool], seconds: float = 5.0) -> Event:
    """Drain until an event of that kind has come; fails after so many seconds."""
    at = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        timeline.append(source.drain())
        for event in timeline.events(at):
            at = event.order + 1
            if wanted(event):
                return event
        time.sleep(0.002)
    pytest.fail(f"not seen in {seconds} s; seen: {list(timeline.events())}")


def state(event: Event, new: State) -> bool:
    return "new" in event and event["new"] == new


def test_a_connection_is_sampled_from_listen_to_time_wait() -> None:
    timeline = Timeline()
    with socket.create_server(("127.0.0.1", 0), backlog=3) as listener:
        port = listener.getsockname()[1]
        source = TableSource(netlink(), ports=[port], pids=[os.getpid()])
        try:
            seed = watch(source, timeline, lambda e: state(e, State.LISTEN))
            assert (seed.pid, seed.fd, seed["max_ack_backlog"]) == (os.getpid(), listener.fileno(), 3)
            client = socket.create_connection(("127.0.0.1", port))
            queued = watch(source, timeline, lambda e: e.name == "accept:queued")
            assert (queued.cookie, queued["ack_backlog"]) == (seed.cookie, 1)
            child, _ = listener.accept()
            watch(source, timeline, lambda e: e.name == "accept:taken" and e["child_fd"] == child.fileno())
            client.shutdown(socket.SHUT_WR)
            closing = watch(source, timeline, lambda e: state(e, State.CLOSE_WAIT))
            assert closing["sport"] == port
            child.close()
            waiting = watch(source, timeline, lambda e: e.name == "timewait:born")
            assert waiting["dport"] == port
            assert 59 < waiting["left"] / 1e9 <= 60
            client.close()
        finally:
            source.stop()
    assert source.losses().written == len(timeline)
    assert source.losses().lost == 0


def test_the_last_reading_is_made_at_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        source = TableSource(netlink(), ports=[listener.getsockname()[1]])
        source.drain()
        listener.close()
        source.stop()
        timeline = Timeline()
        timeline.append(source.drain())
    assert [event.name for event in timeline.events()] == ["socket:state", "socket:destroy"]


def test_a_dead_netlink_socket_is_a_failure_that_is_kept() -> None:
    opened = netlink()
    source = TableSource(opened)
    os.close(opened.detach())
    deadline = time.monotonic() + 5
    while source.failure is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.failure is not None
    source.stop()


def test_owners_are_found_by_inode() -> None:
    with socket.socket() as mine:
        inode = os.fstat(mine.fileno()).st_ino
        assert owners.find(inode, [2**22 + 1, os.getpid()]) == (os.getpid(), mine.fileno())
        assert owners.find(inode, []) is None


@pytest.mark.slow
def test_time_wait_lasts_its_minute() -> None:
    """TCP_TIMEWAIT_LEN is 60 s; the timer wheel fires up to an eighth of a level later."""
    timeline = Timeline()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        source = TableSource(netlink(), ports=[port])
        client = socket.create_connection(("127.0.0.1", port))
        child, _ = listener.accept()
        client.close()
        child.close()
    try:
        born = watch(source, timeline, lambda e: e.name == "timewait:born")
        expired = watch(source, timeline, lambda e: e.name == "timewait:expired", 70)
    finally:
        source.stop()
    assert expired.cookie == born.cookie
    assert 59.9 < (expired.time - born.time) / 1e9 < 64
