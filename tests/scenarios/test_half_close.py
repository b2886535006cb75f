"""The half-close scenario as a transcript: which calls each actor makes, in which order, and what it is handed."""

from __future__ import annotations

import pytest

from scenarios.namespaces import Kind
from scenarios.play import Report

from .conftest import Perform

SERVER = [
    "socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK) = 3",
    "bind(3, 127.0.0.1:PORT) = 0",
    "listen(3, 8) = 0",
    "epoll_create1(EPOLL_CLOEXEC) = 4",
    "epoll_ctl(4, EPOLL_CTL_ADD, 3, EPOLLIN) = 0",
    "epoll_wait(4, 64, -1) = 1 fd 3 EPOLLIN",
    "accept4(3, NULL, NULL, SOCK_NONBLOCK) = 5",
    "epoll_ctl(4, EPOLL_CTL_ADD, 5, EPOLLIN|EPOLLRDHUP) = 0",
    "epoll_wait(4, 64, -1) = 1 fd 5 EPOLLIN",
    'recv(5, 4096) = 5 "hello"',
    'send(5, "hello", 5) = 5',
    "epoll_wait(4, 64, -1) = 1 fd 5 EPOLLIN|EPOLLRDHUP",
    "recv(5, 4096) = 0 end of file",
    'send(5, "farewell", 8) = 8',
    "close(5) = 0",
    "close(3) = 0",
    "close(4) = 0",
]
CLIENT = [
    "socket(AF_INET, SOCK_STREAM) = 3",
    "connect(3, 127.0.0.1:PORT) = 0",
    'send(3, "hello", 5) = 5',
    'recv(3, 4096) = 5 "hello"',
    "shutdown(3, SHUT_WR) = 0",
    'recv(3, 4096) = 8 "farewell"',
    "recv(3, 4096) = 0 end of file",
    "close(3) = 0",
]


def calls_of(actor: str, reports: list[Report], port: int) -> list[str]:
    """An actor's calls as lines, with the play's port named PORT."""
    return [r.text.replace(f":{port}", ":PORT") for r in reports if r.actor == actor and r.kind == "call"]


@pytest.mark.parametrize("kind", ["namespace", "user-namespace", "host"])
def test_both_sides_make_just_the_calls_of_the_story(perform: Perform, kind: Kind) -> None:
    play = perform("half-close", (kind,))
    assert play.wait(20)
    assert (play.state, play.failure) == ("finished", "")
    ground = play.stage.ground
    assert ground is not None
    assert calls_of("server", play.reports, ground.port) == SERVER
    assert calls_of("client", play.reports, ground.port) == CLIENT
    assert [r.actor for r in play.reports if r.kind == "leave"] == ["client", "server"]


def test_the_server_sleeps_through_the_handshake(perform: Perform) -> None:
    play = perform("half-close")
    assert play.wait(20)
    wait = next(
        r for r in play.reports if r.actor == "server" and r.kind == "call" and r.call and r.call.name == "epoll_wait"
    )
    connect = next(r for r in play.reports if r.call and r.call.name == "connect")
    assert wait.call
    assert connect.call
    assert wait.call.enter_ns < connect.call.enter_ns < wait.call.exit_ns
    assert not [
        r
        for r in play.reports
        if r.actor == "server" and wait.call.enter_ns < r.time < connect.call.enter_ns and r.kind == "call"
    ]


def test_a_peer_who_finished_is_readable_before_it_is_read(perform: Perform) -> None:
    play = perform("half-close")
    assert play.wait(20)
    texts = [r.text for r in play.reports if r.kind == "call"]
    assert texts.index("epoll_wait(4, 64, -1) = 1 fd 5 EPOLLIN|EPOLLRDHUP") < texts.index(
        "recv(5, 4096) = 0 end of file"
    )
