"""Sockets and connections keep their numbers although everything else is used again."""

from __future__ import annotations

from typing import Any

import pytest

from tracer.batch import BatchBuilder
from tracer.identity import Identities
from tracer.kinds import SYSCALLS, Evidence, Side, Source
from tracer.segments import ACK, FIN, SYN, V4_MAPPED
from tracer.states import State
from tracer.timeline import Event, Timeline

HOME = (0, V4_MAPPED | 0x7F000001)
C, S = (HOME, 40000), (HOME, 8080)


class Story:
    """Events told one after the other, then resolved and read back."""

    def __init__(self, *, cookies: bool) -> None:
        self.cookies = cookies
        self.builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)

    def state(self, who: int, old: State, new: State, local: Any, peer: Any, **head: Any) -> None:
        self.about("socket:state", who, local, peer, old=old, new=new, **head)

    def about(self, kind: str, who: int, local: Any, peer: Any, *, netns: int = 1, addr: int = 0, **own: Any) -> None:
        ends = {"saddr": local[0], "sport": local[1], "daddr": peer[0], "dport": peer[1], "netns": netns}
        head = {"cookie": who if self.cookies else 0, "addr": addr or 0xFFFF0000 + who}
        self.builder.add(kind, len(self.builder), {**ends, **own}, **head)

    def packet(self, kind: str, source: Any, target: Any, flags: int, seq: int, who: int = 0, netns: int = 1) -> None:
        own = {"saddr": source[0], "sport": source[1], "daddr": target[0], "dport": target[1], "netns": netns}
        head = {"cookie": who if self.cookies else 0, "addr": 0xFFFF0000 + who if who else 0}
        self.builder.add(f"packet:{kind}", len(self.builder), {**own, "flags": flags, "seq": seq}, **head)

    def read(self, *, at_once: bool = True) -> list[Event]:
        batch, timeline = self.builder.take(), Timeline()
        who = Identities()
        if at_once:
            who.resolve(batch)
            timeline.append(batch)
        else:  # event by event must be the same as all together
            timeline.append(batch)
            parts = [timeline.batch(i, i + 1) for i in range(len(timeline))]
            timeline = Timeline()
            for part in parts:
                who.resolve(part)
                timeline.append(part)
        return list(timeline.events())


def connect(story: Story, client: Any = C, client_sock: int = 5, server_sock: int = 6, seq: int = 100) -> None:
    """A handshake as the kernel tells it: the client's port is not known at first."""
    story.state(client_sock, State.CLOSE, State.SYN_SENT, (HOME, 0), S)
    story.packet("sent", client, S, SYN, seq, client_sock)
    story.packet("received", client, S, SYN, seq)
    story.about("request:born", server_sock + 1000, S, client, listener=0xFFFF0001) if not story.cookies else (
        story.about("request:born", server_sock, S, client, listener=0xFFFF0001)
    )
    story.packet("sent", S, client, SYN | ACK, 900 + seq, server_sock if story.cookies else 0)
    story.state(client_sock, State.SYN_SENT, State.ESTABLISHED, client, S)
    story.state(server_sock, State.LISTEN, State.SYN_RECV, S, client)
    story.state(server_sock, State.SYN_RECV, State.ESTABLISHED, S, client)


@pytest.fixture(params=[True, False], ids=["cookies", "addresses"])
def story(request: pytest.FixtureRequest) -> Story:
    return Story(cookies=request.param)


@pytest.mark.parametrize("at_once", [True, False])
def test_both_ends_meet_in_one_connection(story: Story, at_once: bool) -> None:
    story.state(1, State.CLOSE, State.LISTEN, S, (HOME, 0))
    connect(story)
    events = story.read(at_once=at_once)
    listener, life = events[0], events[1:]
    assert listener.conn == 0 and listener.sock > 0
    assert {e.conn for e in life} == {1}
    assert {e.sock for e in life if e.side == Side.CLIENT and e.name != "packet:received"} == {life[0].sock}
    server = {e.sock for e in life if e.side == Side.SERVER and not e.name.startswith("packet")}
    assert len(server) == 1 and life[0].sock not in server and listener.sock not in server


def test_packets_belong_to_the_side_that_sent_them(story: Story) -> None:
    connect(story)
    story.packet("sent", S, C, ACK | FIN, 1000)
    story.packet("received", S, C, ACK | FIN, 1000)
    packets = [e for e in story.read() if e.name.startswith("packet")]
    assert [e.side for e in packets] == [Side.CLIENT, Side.CLIENT, Side.SERVER, Side.SERVER, Side.SERVER]


def test_the_same_tuple_again_is_another_connection(story: Story) -> None:
    connect(story)
    story.state(5, State.FIN_WAIT2, State.CLOSE, C, S)
    story.about("timewait:born", 5, C, S, addr=0xEEEE0001, substate=State.TIME_WAIT)
    story.about("timewait:cancelled", 5, C, S, addr=0xEEEE0001, substate=State.TIME_WAIT)
    story.about("socket:destroy", 5, C, S)
    story.about("socket:destroy", 6, S, C)
    first = len(story.builder)
    # The kernel has handed out the very same addresses again.
    connect(story, client_sock=15 if story.cookies else 5, server_sock=16 if story.cookies else 6, seq=7)
    events = story.read()
    assert {e.conn for e in events[:first]} == {1}
    assert {e.conn for e in events[first:]} == {2}
    socks = [{e.sock for e in part if e.name == "socket:state"} for part in (events[:first], events[first:])]
    assert not socks[0] & socks[1]


def test_a_timewait_object_is_the_socket_it_took_over_from(story: Story) -> None:
    connect(story)
    story.about("timewait:born", 5, C, S, addr=0xEEEE0001, substate=State.TIME_WAIT)
    events = story.read()
    assert events[-1].sock == events[0].sock and events[-1].side == Side.CLIENT


def test_a_retransmitted_syn_is_no_new_connection(story: Story) -> None:
    connect(story)
    story.packet("sent", C, S, SYN, 100, 5)
    assert story.read()[-1].conn == 1


def test_packets_alone_make_connections_by_initial_sequence_number() -> None:
    story = Story(cookies=True)
    for seq in (100, 100, 200):
        story.packet("captured", C, S, SYN, seq, netns=0)
    story.packet("captured", S, C, SYN | ACK, 1, netns=0)
    story.packet("captured", S, (HOME, 50000), SYN | ACK, 1, netns=0)
    story.packet("captured", (HOME, 50000), S, ACK, 2, netns=0)
    events = story.read()
    assert [e.conn for e in events] == [1, 1, 2, 2, 3, 3]
    assert [e.side for e in events][-2:] == [Side.SERVER, Side.CLIENT]


def test_the_same_tuple_in_two_namespaces_is_two_connections() -> None:
    story = Story(cookies=True)
    for netns, client, server in ((1, 5, 6), (2, 7, 8)):
        story.state(client, State.CLOSE, State.SYN_SENT, C, S, netns=netns)
        story.about("request:born", server, S, C, netns=netns)
    assert [e.conn for e in story.read()] == [1, 1, 2, 2]


def test_ends_in_two_namespaces_joined_by_a_wire_are_one_connection() -> None:
    story = Story(cookies=True)
    story.state(5, State.CLOSE, State.SYN_SENT, C, S, netns=1)
    story.packet("sent", C, S, SYN, 1, 5, netns=1)
    story.packet("received", C, S, SYN, 1, netns=2)
    story.about("request:born", 6, S, C, netns=2)
    assert {e.conn for e in story.read()} == {1}


def test_simultaneous_open_is_one_connection(story: Story) -> None:
    story.state(5, State.CLOSE, State.SYN_SENT, C, S)
    story.state(6, State.CLOSE, State.SYN_SENT, S, C)
    story.packet("sent", C, S, SYN, 1, 5)
    story.packet("sent", S, C, SYN, 2, 6)
    events = story.read()
    assert {e.conn for e in events} == {1}
    assert events[0].sock != events[1].sock


def test_other_sockets_calls_follow_their_socket(story: Story) -> None:
    connect(story)
    story.builder.add("syscall:enter", 99, cookie=5 if story.cookies else 0, addr=0xFFFF0005, fd=3)
    story.builder.add("syscall:enter", 99, fd=-1)
    events = story.read()
    assert (events[-2].conn, events[-2].side) == (1, Side.CLIENT)
    assert (events[-1].conn, events[-1].sock) == (0, 0)


@pytest.mark.parametrize("cookies", [True, False])
def test_the_return_of_close_does_not_keep_a_freed_address(cookies: bool) -> None:
    """A socket may be freed inside of close(): the call's return is still its own, the next socket() there is not."""
    story = Story(cookies=cookies)
    connect(story)
    address = 0xFFFF0005
    story.state(5, State.ESTABLISHED, State.CLOSE, C, S)
    story.about("socket:destroy", 5, C, S)
    for call in ("close", "socket"):  # nobody has asked for the new one's cookie yet
        cookie = 5 if cookies and call == "close" else 0
        story.builder.add(
            "syscall:exit", len(story.builder), {"call": SYSCALLS.index(call)}, addr=address, cookie=cookie, fd=3
        )
    story.state(7, State.CLOSE, State.SYN_SENT, (HOME, 0), S, addr=address)
    told = story.read()
    destroyed, closed, made, again = told[-4:]
    assert closed.sock == destroyed.sock != 0
    assert made.sock == again.sock != closed.sock


@pytest.mark.parametrize("first", ["client", "server"])
def test_an_end_with_the_port_of_a_listener_that_is_gone_is_the_servers(first: str) -> None:
    """As a reading of the socket table meets a pair in the middle of its life, in the table's order."""
    story = Story(cookies=True)
    story.state(1, State.UNKNOWN, State.LISTEN, S, (HOME, 0))
    story.state(1, State.LISTEN, State.CLOSE, S, (HOME, 0))
    ends = [(5, C, S), (6, S, C)]
    for who, local, peer in ends if first == "client" else reversed(ends):
        story.state(who, State.UNKNOWN, State.ESTABLISHED, local, peer)
    sides = {event["sport"]: event.side for event in story.read()[2:]}
    assert sides == {C[1]: Side.CLIENT, S[1]: Side.SERVER}


def test_a_child_with_a_cookie_of_its_own_is_of_its_requests_connection() -> None:
    """A reading of the tables that meets a request sock just after its child was made gives it a cookie too late."""
    story = Story(cookies=True)
    story.packet("captured", C, S, SYN, 100)
    story.about("request:born", 6, S, C)
    story.state(7, State.LISTEN, State.ESTABLISHED, S, C)
    story.about("request:gone", 6, S, C)
    story.packet("captured", C, S, ACK, 101)
    assert {event.conn for event in story.read()} == {1}


def test_a_request_on_the_tuple_of_another_request_is_another_connection() -> None:
    story = Story(cookies=True)
    story.about("request:born", 6, S, C)
    story.about("request:gone", 6, S, C)
    story.about("request:born", 7, S, C)
    story.state(7, State.LISTEN, State.ESTABLISHED, S, C)
    assert [event.conn for event in story.read()] == [1, 1, 2, 2]
