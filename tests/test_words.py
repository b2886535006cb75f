"""Events in words: one harmless line each."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.playbook import CLOSING, HANDSHAKE, play
from tracer.batch import BatchBuilder
from tracer.kinds import KINDS, SYSCALLS, Evidence, Source
from tracer.segments import ACK, SYN
from tracer.states import State, Trigger, on
from tracer.timeline import Event, Timeline
from tracer.words import bits, clean, duration, epoll, flags, message, result, size, why


def event(kind: str, own: dict[str, object] | None = None, **head: object) -> Event:
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    builder.add(kind, 1, own, **head)
    timeline = Timeline()
    timeline.append(builder.take())
    return timeline[0]


def entered(call: str, *args: int, fd: int = -1) -> str:
    own = {"call": SYSCALLS.index(call), "args": [*args, 0, 0, 0, 0][:4]}
    return message(event("syscall:enter", own, fd=fd))


def left(call: str, ret: int, fd: int = -1, arg1: int = 0) -> str:
    return message(event("syscall:exit", {"call": SYSCALLS.index(call), "ret": ret, "arg1": arg1}, fd=fd))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (entered("socket", 2, 1 | 0o4000, 0), "socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0)"),
        (entered("shutdown", 5, 1), "shutdown(5, SHUT_WR)"),
        (entered("setsockopt", 5, 6, 1, 1), "setsockopt(5, IPPROTO_TCP, TCP_NODELAY, 1)"),
        (entered("setsockopt", 5, 1, 8, 4096), "setsockopt(5, SOL_SOCKET, SO_RCVBUF, 4096)"),
        (entered("setsockopt", 5, 1, 13, 1 | 7 << 32), "setsockopt(5, SOL_SOCKET, SO_LINGER, {onoff=1, linger=7})"),
        (entered("setsockopt", 5, 6, 13, 0x1B636967), "setsockopt(5, IPPROTO_TCP, TCP_CONGESTION, gic·)"),
        (entered("setsockopt", 5, 6, 999, 1 << 40), "setsockopt(5, IPPROTO_TCP, 999, …)"),
        (entered("fcntl", 5, 4, 0o4002), "fcntl(5, F_SETFL, O_RDWR|O_NONBLOCK)"),
        (entered("ioctl", 5, 0x5421, 0x7F00, 1), "ioctl(5, FIONBIO, 1)"),
        (entered("getsockopt", 5, 1, 4), "getsockopt(5, SOL_SOCKET, SO_ERROR)"),
        (entered("sendto", 5, 0x7F00, 512, 0x4000), "send(5, 512, MSG_NOSIGNAL)"),
        (entered("epoll_ctl", 4, 1, 7), "epoll_ctl(4, EPOLL_CTL_ADD, 7)"),
        (entered("epoll_create1", 0o2000000), "epoll_create1(EPOLL_CLOEXEC)"),
        (entered("accept4", 3, 0, 0, 0o4000), "accept(3, SOCK_NONBLOCK)"),
        (entered("recvfrom", 0, 0, 0, fd=5), "recv(5)"),  # reported by an actor: without arguments
        (left("shutdown", 0, 5, 1), "shutdown(5, SHUT_WR) = 0"),
        (left("connect", 0, 5), "connect(5) = 0"),
        (left("connect", -errno.EINPROGRESS, 5), "connect(5) = EINPROGRESS"),
        (left("accept4", 7, 3), "accept(3) = 7"),
        (left("recvfrom", -errno.EAGAIN, 7), "recv(7) = EAGAIN"),
        (left("socket", 5, 5), "socket() = 5"),
        (left("read", -99_999, 5), "read(5) = -99999"),  # no errno: MAX_ERRNO is 4095
    ],
)
def test_calls_read_as_strace_writes_them(line: str, expected: str) -> None:
    assert line == expected


def test_masks_and_flags_go_by_their_names_and_what_has_none_stays_a_number() -> None:
    assert flags(SYN | ACK) == "SYN,ACK"
    assert flags(0) == "none"
    assert epoll(0x2001) == "EPOLLIN|EPOLLRDHUP"
    assert epoll(1 << 31 | 1) == "EPOLLIN|EPOLLET"
    assert bits(0x41, {1: "ONE"}) == "ONE|0x40"
    assert result(-errno.ECONNREFUSED) == "ECONNREFUSED"


@pytest.mark.parametrize(
    ("ns", "text"),
    [(999, "999 ns"), (41_200, "41.2 µs"), (139_000, "139 µs"), (2_300_000_000, "2.30 s"), (61_800_000_000, "61.8 s")],
)
def test_durations_have_three_digits(ns: int, text: str) -> None:
    assert duration(ns) == text


def test_sizes() -> None:
    assert [size(n) for n in (0, 512, 65536, 1 << 20)] == ["0 B", "512 B", "64 KiB", "1 MiB"]


def test_a_life_in_words() -> None:
    book = play(HANDSHAKE + CLOSING)
    told = {line: message(one) for line, one in zip(book.lines, book.timeline.events(), strict=True)}
    for line, words in {
        "c CLOSE > SYN_SENT": "CLOSED → SYN_SENT 10.0.0.1:40001 → 10.0.0.2:80",
        "s request born 1/5": "request sock enters the SYN queue: 10.0.0.2:80 → 10.0.0.1:40001, SYN queue 1/5",
        "s receives SYN": "received 40001 → 80 [SYN] Seq=1000 Win=65535 Len=0",
        "L queued 1/5": "a connection enters the accept queue 1/5",
        "server wakes": "server (101) is woken by thread 102",
        "server epoll gets fd 3 EPOLLIN": "epoll_wait(4) = 1: fd 3 EPOLLIN",
        "server takes s fd 7 0/5": "accept() took fd 7: accept queue 0/5",
        "c timewait born 60s": "TIME_WAIT object takes over 10.0.0.1:40001 → 10.0.0.2:80, 60.0 s left",
    }.items():
        assert told[line] == words


def test_epoll_wait_tells_apart_nothing_an_error_and_more_than_fits() -> None:
    book = play("server epoll gets")
    assert message(book.timeline[0]) == "epoll_wait(4) = 0: nothing (timeout)"
    failed = event("epoll:wait", {"epfd": 4, "n": -errno.EINTR})
    assert message(failed) == "epoll_wait(4) = EINTR"
    many = event("epoll:wait", {"epfd": 4, "n": 20, "data": list(range(8)), "events": [1] * 8})
    assert message(many).endswith("fd 7 EPOLLIN and 12 more")


def test_why_names_the_section() -> None:
    step = on(State.ESTABLISHED, Trigger.CLOSE)
    assert step is not None
    assert "our FIN leaves" in why(step)
    assert why(step).endswith("(RFC 9293 §3.6, §3.10.4)")


HOSTILE = "\x1b]0;owned\x07\u202e\x9b31m\r\n[bold]\u2066\u200b\ud800"


def test_what_came_from_outside_cannot_command_a_terminal() -> None:
    assert clean(HOSTILE) == "·]0;owned···31m··[bold]···"
    assert clean("grün ☺") == "grün ☺"
    told = message(event("actor:report", {"actor": "a\x1b[2J", "text": HOSTILE}))
    assert told == "a·[2J: ·]0;owned···31m··[bold]···"
    comm = message(event("thread:running", {"comm": b"\x1b[2Jevil\xff"}, tid=7))
    assert comm == "·[2Jevil\N{REPLACEMENT CHARACTER} (7) runs"


@given(st.text())
def test_cleaning_leaves_one_line_of_the_same_length(text: str) -> None:
    shown = clean(text)
    assert len(shown) == len(text)
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in shown)
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_every_kind_has_words_even_when_nothing_is_filled_in(kind: str) -> None:
    words = message(event(kind))
    assert isinstance(words, str)
    assert len(words.splitlines()) <= 1
