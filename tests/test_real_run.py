"""World and causes of a real run: the half-close scenario, as recorded in captures and as this kernel plays it now."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tracer.causes import cause, chain, step
from tracer.history import History
from tracer.identity import Identities
from tracer.kinds import SYSCALLS, Evidence, Lane, Side
from tracer.recording.source import RecordingSource
from tracer.states import Trigger
from tracer.timeline import Event, Timeline
from tracer.world import World

ROOT = Path(__file__).parent.parent
RECORDED = ROOT / "captures" / "half-close.pcapng"


def read(path: Path) -> Timeline:
    timeline, who = Timeline(), Identities()
    source = RecordingSource(path.open("rb"))
    while not source.finished:
        batch = source.drain()
        if len(batch):
            who.resolve(batch)
            timeline.append(batch)
    source.stop()
    return timeline


@pytest.fixture(scope="module", params=["recorded", pytest.param("live", marks=pytest.mark.kernel)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    """The events of one half-close."""
    if request.param == "recorded":
        return read(RECORDED)
    path = tmp_path_factory.mktemp("run") / "half-close.pcapng"
    command = [sys.executable, "-m", "tui.cli", "run", "half-close", "--text", "-w", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return read(path)


def fold(timeline: Timeline) -> World:
    world = World()
    for event in timeline.events():
        world.apply(event)
    return world


def first(timeline: Timeline, kind: str, after: int = -1, **wanted: object) -> Event:
    """The first event of a kind after an order, with these fields or attributes."""
    for event in timeline.events(after + 1):
        if event.name == kind and all(
            (event[name] if name in event else getattr(event, name)) == value for name, value in wanted.items()
        ):
            return event
    raise AssertionError(f"no {kind} with {wanted} after {after}")


def test_both_ends_take_the_way_of_the_rfc(run: Timeline) -> None:
    world = fold(run)
    assert world.anomalies == ()
    paths = {side: [state.name for _, state in world.end(1, side).path] for side in (Side.CLIENT, Side.SERVER)}  # type: ignore[union-attr]
    assert paths[Side.CLIENT][:6] == ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]
    assert paths[Side.SERVER] == ["NEW_SYN_RECV", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"]
    assert all(world.end(1, side).evidence == Evidence.OBSERVED for side in paths)  # type: ignore[union-attr]


def test_nothing_is_left_of_fds_epoll_and_listener(run: Timeline) -> None:
    world = fold(run)
    actors = {event.pid for event in run.events() if event.name == "actor:step"}
    assert [key for key in world.fds if key[0] in actors] == []
    assert [view for view in world.epolls.values() if view.pid in actors] == []
    assert world.listeners == {}


def test_the_accept_queue_fills_while_the_server_sleeps(run: Timeline) -> None:
    queued = first(run, "accept:queued")
    world = History(run, 1).at(queued.order)
    (listener,) = world.listeners.values()
    assert (listener.syn_queue, listener.accept_queue) == (0, 1)
    server = first(run, "actor:step", actor="server").pid
    assert world.threads[server].running == "blocked"
    (watching,) = (view for view in world.epolls.values() if view.pid == server)
    assert [thread.tid for thread in world.waiters(watching.ep)] == [server]


def test_a_waking_server_leads_back_to_the_clients_send(run: Timeline) -> None:
    send = first(run, "syscall:enter", side=Side.CLIENT, call=SYSCALLS.index("sendto"))
    woken = first(run, "thread:woken", send.order, pid=first(run, "actor:step", actor="server").pid)
    runs = first(run, "thread:running", woken.order, tid=woken.tid)
    assert [run[link.order].name for link in chain(run, runs.order)] == [
        "thread:woken",
        "epoll:ready",
        "packet:received",
        "packet:sent",
        "syscall:enter",
        "actor:step",
    ]
    assert chain(run, runs.order)[4].order == send.order


def test_time_wait_leads_back_to_the_servers_close(run: Timeline) -> None:
    born = first(run, "timewait:born")
    names = [run[link.order].name for link in chain(run, born.order)]
    assert names == ["packet:received", "packet:sent", "syscall:enter", "actor:step"]
    links = chain(run, born.order)
    assert run[links[0].order]["flags"] & 1, "a FIN"
    assert (run[links[2].order].call, run[links[2].order].side) == ("close", Side.SERVER)
    taken = step(run, born.order)
    assert taken is not None
    assert taken.trigger == Trigger.RCV_FIN


def test_what_the_stack_does_always_has_a_cause(run: Timeline) -> None:
    lanes = {Lane.SOCKET, Lane.QUEUE, Lane.TIMER, Lane.WIRE, Lane.EPOLL}
    # A socket's timer is where a chain begins: that it was armed is not on the timeline.
    asked = [event for event in run.events() if event.kind.lane in lanes and event.name != "socket:timer"]
    without = Counter(event.name for event in asked if cause(run, event.order) is None)
    assert not without
    steps = [event for event in asked if event.name == "socket:state"]
    assert all(step(run, event.order) is not None for event in steps)


def test_a_cause_is_never_after_its_effect(run: Timeline) -> None:
    for event in run.events():
        link = cause(run, event.order)
        assert link is None or link.order < event.order


def test_time_wait_ends_when_its_timer_said(run: Timeline) -> None:
    born = first(run, "timewait:born")
    world = History(run, 1).at(born.order)
    client = world.end(1, Side.CLIENT)
    assert client is not None
    assert 59e9 < client.deadline - born.time < 61e9
    ended = [event for event in run.events() if event.name == "timewait:expired"]
    for event in ended:  # a live run does not wait for it; the recording did
        assert -0.1e9 < event.time - client.deadline < 5e9  # the timer wheel rounds up
        assert cause(run, event.order).order == born.order  # type: ignore[union-attr]


def test_rewind_agrees_with_the_fold(run: Timeline) -> None:
    world, rewind = World(), History(run, 1)
    for event in run.events():
        world.apply(event)
        if event.conn == 1:
            seen = rewind.at(event.order)
            for side in (Side.CLIENT, Side.SERVER):
                ends = [where.end(1, side) for where in (seen, world)]
                told, expected = [end and (end.state, end.path, end.pid, end.fd) for end in ends]
                assert told == expected
            assert seen.listeners == world.listeners
