"""The live half-close: what must be seen, in which order, by whichever of the two ways the probes are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

import pytest

from tests.e2e.conftest import Performance, Synfin, the, world_after, worlds
from tracer.kernel.attach import Mode
from tracer.kinds import Evidence, Side
from tracer.segments import ACK, FIN, SYN
from tracer.states import State
from tracer.timeline import Timeline
from tracer.words import epoll

pytestmark = pytest.mark.kernel

SECOND = 1_000_000_000
CLIENT = ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]
SERVER = ["NEW_SYN_RECV", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"]


@pytest.fixture(scope="module", params=list(Mode), ids=lambda mode: mode.value)
def told(request: pytest.FixtureRequest) -> Iterator[tuple[Performance, Timeline]]:
    """One play, watched to its end in one mode."""
    performance = Performance(request.param)
    try:
        yield performance, performance.finish()
        assert performance.kernel.running_mode is request.param
    finally:
        performance.close()


def states(timeline: Timeline, side: Side) -> list[str]:
    """Every state of one end, in the order seen."""
    end = world_after(timeline).end(1, side)
    assert end is not None
    assert end.evidence is Evidence.OBSERVED
    return [state.name for _, state in end.path]


def test_the_client_walks_from_closed_to_time_wait(told: tuple[Performance, Timeline]) -> None:
    assert states(told[1], Side.CLIENT) == CLIENT


def test_the_server_walks_from_request_sock_to_closed(told: tuple[Performance, Timeline]) -> None:
    assert states(told[1], Side.SERVER) == SERVER
    opened = the(told[1].events(), "socket:state", new=State.LISTEN)
    assert opened.conn == 0 and opened.order < the(told[1].events(), "request:born").order


def test_both_walks_are_one_story(told: tuple[Performance, Timeline]) -> None:
    """The two ends' steps in the one order that a half-close allows."""
    _, timeline = told
    steps = []
    for event in timeline.events():
        if event.name in ("socket:state", "request:born", "timewait:born"):
            state = State(event.get("new", event.get("substate", State.NEW_SYN_RECV)))
            steps.append(f"{event.side.name.lower()} {state.name}")
    assert steps == [
        "none LISTEN",
        "client SYN_SENT",
        "server NEW_SYN_RECV",
        "client ESTABLISHED",
        "server SYN_RECV",
        "server ESTABLISHED",
        "client FIN_WAIT1",
        "server CLOSE_WAIT",
        "client FIN_WAIT2",
        "server LAST_ACK",
        "client TIME_WAIT",
        "client CLOSE",  # the full socket hands over to the TIME_WAIT object
        "server CLOSE",
        "none CLOSE",
    ]


def test_nothing_contradicts_the_rules_and_nothing_is_lost(told: tuple[Performance, Timeline]) -> None:
    performance, timeline = told
    assert world_after(timeline).anomalies == ()
    assert performance.session.losses().lost == 0
    assert {event.evidence for event in timeline.events() if event.name.startswith("socket:")} == {Evidence.OBSERVED}


def test_the_accept_queue_goes_0_1_0_around_accept(told: tuple[Performance, Timeline]) -> None:
    performance, timeline = told
    lengths = [
        next(iter(world.listeners.values())).accept_queue for _, world in worlds(timeline) if len(world.listeners) == 1
    ]
    assert [length for length, _ in groupby(lengths)] == [0, 1, 0]
    queued, taken = the(timeline.events(), "accept:queued"), the(timeline.events(), "accept:taken")
    called = the(timeline.events(), "syscall:enter", call="accept4", pid=performance.pids["server"])
    assert queued.order < called.order < taken.order
    assert (queued["ack_backlog"], taken["ack_backlog"], queued["max_ack_backlog"]) == (1, 0, 8)


def test_the_syn_queue_goes_0_1_0_around_the_handshake(told: tuple[Performance, Timeline]) -> None:
    lengths = [
        next(iter(world.listeners.values())).syn_queue for _, world in worlds(told[1]) if len(world.listeners) == 1
    ]
    assert [length for length, _ in groupby(lengths)] == [0, 1, 0]


def test_the_servers_thread_sleeps_through_the_handshake(told: tuple[Performance, Timeline]) -> None:
    performance, timeline = told
    server = performance.pids["server"]
    syn = the(timeline.events(), "packet:sent", flags=SYN)
    queued = the(timeline.events(), "accept:queued")
    asleep = 0
    for event, world in worlds(timeline):
        if syn.order <= event.order <= queued.order:
            assert not (event.name.startswith(("thread:", "syscall:")) and event.tid == server)
            thread = world.threads[server]
            assert (thread.running, thread.call) == ("blocked", "epoll_wait(4)")
            asleep += 1
    assert asleep > 8  # SYN, request sock, SYN-ACK, ACK, four states, the queue
    runs = the(timeline.events(queued.order), "thread:running", tid=server)
    back = the(timeline.events(runs.order), "epoll:wait", tid=server)
    assert epoll(back["events"][0]) == "EPOLLIN"


def test_the_fin_is_told_by_epoll_as_in_and_rdhup(told: tuple[Performance, Timeline]) -> None:
    performance, timeline = told
    server = performance.pids["server"]
    fin = the(timeline.events(), "packet:received", flags=FIN | ACK, side=Side.CLIENT)
    back = the(timeline.events(fin.order), "epoll:wait", tid=server)
    assert (back["n"], epoll(back["events"][0])) == (1, "EPOLLIN|EPOLLRDHUP")
    read = the(timeline.events(back.order), "syscall:exit", tid=server, call="recvfrom")
    assert read["ret"] == 0


def test_time_wait_tells_the_time_left_as_the_timer_was_armed(told: tuple[Performance, Timeline]) -> None:
    _, timeline = told
    born = the(timeline.events(), "timewait:born")
    assert 59 * SECOND < born["left"] < 61 * SECOND  # TCP_TIMEWAIT_LEN, in jiffies from a jiffy that had begun
    end = world_after(timeline).end(1, Side.CLIENT)
    assert end is not None
    assert end.waits and end.freed
    assert end.deadline == born.time + born["left"]


def test_a_newcomers_command_tells_the_same_story(synfin: Synfin) -> None:
    ran = synfin("run", "half-close", "--json")
    assert ran.code == 0
    assert "Half-close and TIME_WAIT, in a network namespace of its own" in ran.err
    moves = [event for event in ran.events if event["event"] in ("socket:state", "timewait:born")]
    client = [event.get("new", event.get("substate")) for event in moves if event["side"] == "client"]
    server = [event["new"] for event in moves if event["side"] == "server"]
    assert client == [*CLIENT[1:], "CLOSE"]
    assert server == SERVER[1:]
    assert [event["order"] for event in ran.events] == list(range(len(ran.events)))
    assert {event["evidence"] for event in moves} == {"observed"}


def test_plays_side_by_side_do_not_see_each_other(perform: Callable[..., Performance]) -> None:
    first, second = perform(), perform()
    for one, timeline in ((first, first.finish()), (second, second.finish())):
        assert {event["netns"] for event in timeline.events() if "netns" in event} == {one.netns}
        assert {event["actor"] for event in timeline.events() if event.name == "actor:step"} == {"client", "server"}
        assert states(timeline, Side.CLIENT) == CLIENT
