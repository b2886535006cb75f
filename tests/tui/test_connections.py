"""The list of connections that is kept while events come."""

from __future__ import annotations

from tests.tui.stories import START, C, Story, V, half_close, three
from tracer.history import History
from tracer.kinds import Evidence, Side
from tracer.segments import ACK, FIN
from tracer.states import State
from tracer.timeline import Timeline
from tui.connections import Connections


def test_both_ends_are_named_whoever_is_seen_first() -> None:
    story = Story()
    story.call(0, 1, V, "recvfrom", 7)
    story.state(1, 1, V, State.LISTEN, State.SYN_RECV)
    connections = Connections(story.onto())
    connections.refresh()
    assert connections[1].ends() == "127.0.0.1:40001 → 127.0.0.1:8080"
    assert connections[1].ends(short=True) == ":40001→:8080"


def test_a_name_may_come_later_than_the_connection() -> None:
    story = Story()
    story.call(0, 1, C, "connect", 7)
    timeline = story.onto()
    connections = Connections(timeline)
    connections.refresh()
    assert connections[1].ends() == ""
    story.state(1, 1, C, State.CLOSE, State.SYN_SENT)
    story.onto(timeline)
    assert connections.refresh()
    assert connections[1].client == ("127.0.0.1", 40001)
    assert not connections.refresh(), "nothing more has come"


def test_time_wait_outlives_the_socket_and_ends_when_its_time_is_over() -> None:
    story = Story()
    half_close(story, 1)
    timeline = story.onto()
    connections = Connections(timeline)
    connections.refresh()
    client = connections[1].lives[Side.CLIENT]
    assert [state.name for state in client.states] == [
        "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT",
    ]  # fmt: skip
    story.time_wait(62300, 1, C, "timewait:expired")
    story.onto(timeline)
    connections.refresh()
    assert client.states[-1] is State.CLOSE


def test_an_orphan_comes_to_time_wait_by_the_fin_that_arrives() -> None:
    """Its small object goes on by itself, and no probe is told."""
    story = Story()
    s = State
    for at, old, new in ((0, s.CLOSE, s.ESTABLISHED), (1, s.ESTABLISHED, s.FIN_WAIT1), (2, s.FIN_WAIT1, s.FIN_WAIT2)):
        story.state(at, 1, C, old, new)
    story.packet(2.5, 1, V, FIN | ACK, 1)  # no orphan yet: the socket tells for itself
    story.time_wait(3, 1, C, substate=s.FIN_WAIT2)
    story.state(3.1, 1, C, s.FIN_WAIT2, s.CLOSE)
    story.packet(4, 1, C, FIN | ACK, 1)  # its own, again
    story.packet(5, 1, V, ACK, 1)
    timeline = story.onto()
    connections = Connections(timeline)
    connections.refresh()
    client = connections[1].lives[Side.CLIENT]
    assert client.states == [s.ESTABLISHED, s.FIN_WAIT1, s.FIN_WAIT2]
    story.packet(6, 1, V, FIN | ACK, 1)
    story.packet(7, 1, V, FIN | ACK, 1)
    story.onto(timeline)
    connections.refresh()
    assert client.states[3:] == [s.TIME_WAIT]
    assert client.evidence[-1] is Evidence.INFERRED
    end = History(timeline).at(len(timeline) - 1).end(1, Side.CLIENT)
    assert end is not None and end.state is State.TIME_WAIT, "as the exact fold has it"
    story.time_wait(60_000, 1, C, "timewait:expired")
    story.onto(timeline)
    connections.refresh()
    assert client.states[4:] == [s.CLOSE]


def test_a_connection_is_alive_until_both_ends_have_closed() -> None:
    story, timeline, s = Story(), Timeline(), State
    connections = Connections(timeline)
    story.state(0, 0, V, s.CLOSE, s.LISTEN)
    story.state(1, 1, C, s.SYN_SENT, s.ESTABLISHED)
    story.state(1, 1, V, s.SYN_RECV, s.ESTABLISHED)
    alive = []
    for ms, side, new in ((2, V, s.CLOSE_WAIT), (3, V, s.CLOSE), (4, C, s.FIN_WAIT2)):
        story.state(ms, 1, side, s.ESTABLISHED, new)
        story.onto(timeline)
        connections.refresh()
        alive.append(connections.alive)
    story.time_wait(5, 1, C)
    story.state(5.1, 1, C, s.FIN_WAIT2, s.CLOSE)
    story.onto(timeline)
    connections.refresh()
    assert [*alive, connections.alive] == [True] * 4, "the full socket is freed, TIME_WAIT goes on"
    story.time_wait(65_000, 1, C, "timewait:expired")
    story.onto(timeline)
    connections.refresh()
    assert not connections.alive, "a listener alone is nothing that goes on"


def test_resets_are_seen_in_packets() -> None:
    connections = Connections(three())
    connections.refresh()
    assert len(connections) == 3
    assert connections[1].resets == []
    assert connections[3].resets[0] - START == 4_800_050_000


def test_reading_in_small_bites_gives_the_same() -> None:
    timeline = three()
    whole, bites = Connections(timeline), Connections(timeline)
    whole.refresh()
    while bites.refresh(limit=7):
        pass
    assert [bites[n] for n in bites.numbers] == [whole[n] for n in whole.numbers]


def test_an_empty_timeline_has_no_connection() -> None:
    connections = Connections(Timeline())
    assert not connections.refresh()
    assert connections.numbers == []
