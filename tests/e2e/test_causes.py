"""Why did that happen? From an effect one can follow the causes back, over both ends, to the call that began it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Performance, the
from tracer.causes import chain, effects
from tracer.kernel.attach import Mode
from tracer.kinds import Side
from tracer.segments import ACK, FIN, PSH, SYN
from tracer.timeline import Event, Timeline
from tracer.words import flags

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module", params=list(Mode), ids=lambda mode: mode.value)
def told(request: pytest.FixtureRequest) -> Iterator[tuple[Performance, Timeline]]:
    """One play, watched to its end in one mode."""
    performance = Performance(request.param)
    try:
        yield performance, performance.finish()
    finally:
        performance.close()


def back(timeline: Timeline, event: Event) -> list[str]:
    """An event and what led to it, nearest first, each in a few words."""
    return [words(timeline[order]) for order in (event.order, *(link.order for link in chain(timeline, event.order)))]


def words(event: Event) -> str:
    """Who, what and which."""
    which = ""
    if event.name.startswith("packet:"):
        which = f" {flags(event['flags'])} of the {event.side.name.lower()}"
    elif event.name == "actor:step":
        which = f" {event['step']} of the {event['actor']}"
    return event.name + which + (f" {event.call}" if event.call else "")


def test_the_servers_waking_leads_back_to_the_clients_send(told: tuple[Performance, Timeline]) -> None:
    performance, timeline = told
    data = the(timeline.events(), "packet:received", flags=PSH | ACK, side=Side.CLIENT)
    wakes = the(timeline.events(data.order), "thread:running", tid=performance.pids["server"])
    assert back(timeline, wakes) == [
        "thread:running",
        "thread:woken",
        "epoll:ready",
        "packet:received PSH,ACK of the client",
        "packet:sent PSH,ACK of the client",
        "syscall:enter sendto",
        "actor:step 5 of the client",
    ]
    send = timeline[chain(timeline, wakes.order)[4].order]
    assert send.pid == performance.pids["client"]


def test_time_wait_leads_back_to_the_fin_that_began_it(told: tuple[Performance, Timeline]) -> None:
    performance, timeline = told
    born = the(timeline.events(), "timewait:born")
    assert back(timeline, born) == [
        "timewait:born",
        "packet:received FIN,ACK of the server",
        "packet:sent FIN,ACK of the server",
        "syscall:enter close",
        "actor:step 11 of the server",
    ]
    close = timeline[chain(timeline, born.order)[2].order]
    assert close.pid == performance.pids["server"]


def test_the_accept_queue_leads_back_to_connect(told: tuple[Performance, Timeline]) -> None:
    _, timeline = told
    assert back(timeline, the(timeline.events(), "accept:queued"))[:4] == [
        "accept:queued",
        "packet:received ACK of the client",
        "packet:sent ACK of the client",
        "packet:received SYN,ACK of the server",
    ]
    assert back(timeline, the(timeline.events(), "accept:queued"))[-2:] == [
        "syscall:enter connect",
        "actor:step 3 of the client",
    ]


def test_the_fins_readiness_leads_back_to_shutdown(told: tuple[Performance, Timeline]) -> None:
    performance, timeline = told
    fin = the(timeline.events(), "packet:received", flags=FIN | ACK, side=Side.CLIENT)
    comes_back = the(timeline.events(fin.order), "syscall:exit", tid=performance.pids["server"], call="epoll_wait")
    path = back(timeline, comes_back)
    assert path[:4] == ["syscall:exit epoll_wait", "thread:running", "thread:woken", "epoll:ready"]
    assert path[-2:] == ["syscall:enter shutdown", "actor:step 7 of the client"]


def test_a_syn_has_effects_on_both_sides(told: tuple[Performance, Timeline]) -> None:
    _, timeline = told
    syn = the(timeline.events(), "packet:received", flags=SYN)
    follows = [words(timeline[link.order]) for link in effects(timeline, syn.order)]
    assert follows == ["request:born", "packet:sent SYN,ACK of the server"]
