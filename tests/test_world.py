"""The world after each line of a story, and rewinding to any of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.playbook import CLOSING, EP, HANDSHAKE, LISTENER, SERVER_IP, Book, as_batch, play
from tracer import history, relevant
from tracer.batch import BatchBuilder
from tracer.history import History
from tracer.identity import Identities
from tracer.kinds import KINDS, SYSCALLS, Certainty, Evidence, Side, Source
from tracer.pages import Pages
from tracer.states import State
from tracer.timeline import Timeline
from tracer.world import MOST_ANOMALIES, World, step_taken


def after(book: Book, line: str | None = None, nth: int = 1) -> World:
    """The world just after a line, by folding from the beginning; after all of them without one."""
    world = World()
    for event in book.timeline.events(0, len(book.timeline) if line is None else book.order(line, nth) + 1):
        world.apply(event)
    return world


def path(world: World, sock: int) -> list[str]:
    """The states of a socket, one after the other."""
    return [state.name for _, state in world.sockets[sock].path]


def plain(world: World) -> dict[str, Any]:
    """All that a world says, for comparing; events by their order, since each reading makes new ones."""
    return {
        "sockets": {n: replace(v, snapshot=v.snapshot and v.snapshot.order) for n, v in world.sockets.items()},  # type: ignore[arg-type]
        "connections": dict(world.connections),
        "listeners": world.listeners,
        "epolls": world.epolls,
        "threads": dict(world.threads),
        "fds": dict(world.fds),
        "step": world.step and world.step.order,
        "lost": world.lost,
        "anomalies": world.anomalies,
    }


C, S = 2, 3
"""Numbers of the sockets c and s."""
LIFE = play(HANDSHAKE + CLOSING)


def test_states_of_a_whole_life() -> None:
    world = after(LIFE)
    assert path(world, C) == ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE"]
    assert path(world, S) == ["NEW_SYN_RECV", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"]
    assert path(world, LISTENER) == ["CLOSE", "LISTEN"]
    assert world.anomalies == ()


def test_an_end_is_found_by_connection_and_side_and_knows_since_when() -> None:
    world = after(LIFE, "c FIN_WAIT1 > FIN_WAIT2")
    end = world.end(1, Side.CLIENT)
    assert end is not None
    event = LIFE.event("c FIN_WAIT1 > FIN_WAIT2")
    assert (end.state, end.evidence, end.since, end.order) == (
        State.FIN_WAIT2, Evidence.OBSERVED, event.time, event.order
    )  # fmt: skip
    assert world.end(1, Side.SERVER).state == State.CLOSE_WAIT  # type: ignore[union-attr]
    assert world.end(2, Side.CLIENT) is None
    assert world.connections[1].server == (SERVER_IP, 80)


def test_before_anything_was_seen_nothing_is_known() -> None:
    assert plain(History(LIFE.timeline).at(-1)) == plain(World())


@pytest.mark.parametrize("order", [("c timewait born 60s", "c FIN_WAIT2 > CLOSE"), ("c FIN_WAIT2 > CLOSE", "c timewait born 60s")])  # fmt: skip # noqa: E501
def test_a_time_wait_object_that_takes_over_does_not_close_the_end(order: tuple[str, str]) -> None:
    book = play("c FIN_WAIT1 > FIN_WAIT2\nc receives FIN,ACK\n    " + "\n    ".join(order) + "\nc destroyed")
    world = after(book)
    assert path(world, C) == ["FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]
    assert world.anomalies == ()
    end = world.sockets[C]
    assert end.waits
    assert end.freed
    assert end.deadline == book.event("c timewait born 60s").time + 60_000_000_000


def test_an_orphan_waits_in_fin_wait2_and_its_fin_begins_time_wait_without_a_record() -> None:
    book = play(
        """
        c FIN_WAIT1 > FIN_WAIT2
        c timewait born 10s FIN_WAIT2
        c FIN_WAIT2 > CLOSE
        c receives FIN,ACK
        """
    )
    assert path(after(book, "c FIN_WAIT2 > CLOSE"), C)[-1] == "FIN_WAIT2"
    world = after(book)
    assert path(world, C) == ["FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]
    assert world.sockets[C].evidence == Evidence.INFERRED
    assert after(book.tell("    c timewait rearmed 60s")).sockets[C].evidence == Evidence.OBSERVED
    assert path(after(book.tell("wait 60s\nc timewait expired")), C)[-1] == "CLOSE"


def test_a_request_that_comes_to_nothing_ends_and_one_that_becomes_a_child_does_not() -> None:
    gone = after(play("L CLOSE > LISTEN\ns request born 1/5\ns request timer 1/5\ns request gone 0/5"))
    assert path(gone, S) == ["NEW_SYN_RECV", "CLOSE"]
    assert path(after(play(HANDSHAKE), "s request gone 0/5"), S) == ["NEW_SYN_RECV", "SYN_RECV"]


def test_queues_of_a_listener() -> None:
    def queues(line: str) -> tuple[int, int, int]:
        listener = after(LIFE, line).listeners[LISTENER]
        return listener.syn_queue, listener.accept_queue, listener.limit

    assert queues("s request born 1/5") == (1, 0, 5)
    assert queues("s request gone 0/5") == (0, 0, 5)
    assert queues("L queued 1/5") == (0, 1, 5)
    assert queues("server takes s fd 7 0/5") == (0, 0, 5)
    listener = after(LIFE).listeners[LISTENER]
    assert (listener.most, listener.overflows, listener.evidence) == (1, 0, Evidence.OBSERVED)
    assert after(LIFE).sockets[S].listener == LISTENER
    assert not after(play("L CLOSE > LISTEN\nL LISTEN > CLOSE")).listeners


def test_a_syn_dropped_at_a_full_accept_queue_is_counted_and_one_that_was_taken_after_all_is_not() -> None:
    full = "L CLOSE > LISTEN\nL queued 1/1\nL queued 2/1\n"
    dropped = play(full + "s receives SYN\nwait 1s\ns receives SYN seq=1000")
    assert after(dropped).listeners[LISTENER].overflows == 2
    taken = play(full + "s receives SYN\n    s request born 1/1 ack_backlog=1")
    assert after(taken).listeners[LISTENER].overflows == 0
    again = play("L CLOSE > LISTEN\ns request born 1/1\nL queued 2/1\ns receives SYN")
    assert after(again).listeners[LISTENER].overflows == 0  # the request sock answers it, not the listener
    told = play(full + 2 * "s receives SYN\n    L turns away at the accept queue 2/1\n")
    assert after(told).listeners[LISTENER].overflows == 2  # each once, though seen twice
    told = play("L CLOSE > LISTEN\nL queued 1/1\ns receives SYN\n    L turns away at the SYN queue 1/1")
    assert after(told).listeners[LISTENER].overflows == 1  # the SYN queue was full: only the probe knows
    room = play("L CLOSE > LISTEN\nL queued 1/1\ns receives SYN")
    assert after(room).listeners[LISTENER].overflows == 0  # sk_acceptq_is_full(): more than the limit, not as many


def test_a_descriptor_is_not_the_socket() -> None:
    book = play(HANDSHAKE)
    server = book.pid("server")
    assert after(book).fds == {(server, 7): S}
    book.tell(CLOSING)
    closed = after(book, "server leaves close(7) of s = 0")
    assert closed.fds == {}
    assert closed.sockets[S].fd == -1
    assert not any(entry[0] == 7 for entry in closed.epolls[EP + server].interest), "epoll forgets a closed descriptor"
    assert [entry[0] for entry in closed.epolls[EP + server].interest] == [3]


def test_descriptors_are_copied_by_dup_and_fork_and_end_with_the_process() -> None:
    book = play(
        """
        client leaves socket(5) of c = 5
        client leaves dup(5) of c = 6
        client forks child
        client enters close(5) of c
        client leaves close(5) of c = 0
        client ends
        """
    )
    client, child = book.pid("client"), book.pid("child")
    assert after(book, "client forks child").fds == {
        (client, 5): C, (client, 6): C, (child, 5): C, (child, 6): C
    }  # fmt: skip
    assert after(book).fds == {(child, 5): C, (child, 6): C}
    assert list(after(book).threads) == [child]
    assert after(book).threads[child].comm == "child"


def test_a_close_that_fails_for_a_wrong_number_frees_nothing() -> None:
    book = play("client leaves socket(5) of c = 5\nclient leaves close(5) = -9")
    assert after(book).fds == {(book.pid("client"), 5): C}
    interrupted = play("client leaves socket(5) of c = 5\nclient leaves close(5) = -4")
    assert after(interrupted).fds == {}  # Linux frees it all the same


def test_epoll_interest_ready_list_and_who_waits() -> None:
    book = play(HANDSHAKE)
    ep = EP + book.pid("server")
    asleep = after(book, "server sleeps")
    assert [thread.comm for thread in asleep.waiters(ep)] == ["server"]
    assert asleep.threads[book.pid("server")].call == "epoll_wait(4)"
    assert asleep.threads[book.pid("server")].entered == book.event("server enters epoll_wait(4)").time
    assert after(book, "L ready fd 3 in server").epolls[ep].ready == ((3, 0),)
    woken = after(book, "server epoll gets fd 3 EPOLLIN")
    assert woken.epolls[ep].ready == ((3, 1),)
    assert woken.waiters(ep) == []
    assert woken.threads[book.pid("server")].call == ""
    book.tell("server enters epoll_wait(4)\nserver sleeps")
    assert after(book).epolls[ep].ready == (), "it would not sleep if anything were ready"
    book.tell("server epoll mod fd 7 of s EPOLLOUT")
    assert after(book).epolls[ep].interest == ((3, 1, 3), (7, 4, 7))
    book.tell("server epoll del fd 3 of L")
    assert after(book).epolls[ep].interest == ((7, 4, 7),)


def test_threads_run_sleep_and_are_pushed_off() -> None:
    book = play("server runs\nserver is preempted\nserver runs\nserver sleeps\nserver wakes")
    told = [after(book, line, nth).threads[101].running for line, nth in (
        ("server runs", 1), ("server is preempted", 1), ("server sleeps", 1), ("server wakes", 1)
    )]  # fmt: skip
    assert told == ["running", "runnable", "blocked", "runnable"]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("c CLOSE > ESTABLISHED", "event 0, client of connection 1: CLOSE → ESTABLISHED is not a step of TCP"),
        (
            "s ESTABLISHED > CLOSE_WAIT\ns FIN_WAIT1 > FIN_WAIT2",
            "event 1, server of connection 1: it was in CLOSE_WAIT, yet left FIN_WAIT1",
        ),
        (
            "c ESTABLISHED > LAST_ACK ?",
            "event 0, client of connection 1: ESTABLISHED → LAST_ACK is not a step of TCP",
        ),
    ],
)
def test_an_impossible_step_is_noted_with_event_side_and_state(story: str, expected: str) -> None:
    world = after(play(story))
    assert [anomaly.text for anomaly in world.anomalies] == [expected]
    assert world.sockets[play(story).timeline[0].sock].state != State.UNKNOWN, "what was told is believed all the same"


@pytest.mark.parametrize(
    "story",
    [
        "c SYN_SENT > ESTABLISHED\nc ESTABLISHED > TIME_WAIT ~",  # between two readings of a table anything may pass
        "c UNKNOWN > ESTABLISHED ?",
        f"c ESTABLISHED > CLOSE_WAIT ?\nc CLOSE_WAIT > ESTABLISHED certainty={int(Certainty.CORRECTED)} ?",
        "c ESTABLISHED > ESTABLISHED",
        "s NEW_SYN_RECV > SYN_RECV\ns SYN_RECV > ESTABLISHED",
    ],
)
def test_what_is_not_a_sighting_of_an_impossible_step_is_no_anomaly(story: str) -> None:
    assert after(play(story)).anomalies == ()


def test_anomalies_do_not_grow_without_end() -> None:
    book = play("c CLOSE > ESTABLISHED\nc ESTABLISHED > CLOSE")
    pair = book.timeline.batch(0, 2)
    for _ in range(MOST_ANOMALIES):
        book.timeline.append(pair)
    assert len(after(book).anomalies) == MOST_ANOMALIES


OVERTAKEN = """
    s ESTABLISHED > CLOSE_WAIT ?
    s CLOSE_WAIT > LAST_ACK ?
    wait {wait}
    s ESTABLISHED > CLOSE_WAIT ~
"""


@pytest.mark.parametrize(("wait", "state"), [("1ms", State.LAST_ACK), ("1s", State.CLOSE_WAIT)])
def test_a_reading_that_a_packet_has_overtaken_changes_nothing(wait: str, state: State) -> None:
    world = after(play(OVERTAKEN.format(wait=wait)))
    assert world.sockets[S].state == state, "a table that goes on saying so much later is believed"


def test_a_reading_that_is_ahead_of_the_packets_is_believed() -> None:
    world = after(play("s ESTABLISHED > CLOSE_WAIT ?\ns CLOSE_WAIT > LAST_ACK ~"))
    assert (world.sockets[S].state, world.sockets[S].evidence) == (State.LAST_ACK, Evidence.SAMPLED)


def test_states_carry_how_they_are_known() -> None:
    world = after(play("c SYN_SENT > ESTABLISHED ?\ns SYN_RECV > ESTABLISHED ~"))
    assert world.sockets[C].evidence == Evidence.INFERRED
    assert world.sockets[S].evidence == Evidence.SAMPLED


def test_packets_alone_make_a_connection_without_states() -> None:
    world = after(play("c captured SYN\ns captured SYN,ACK\nc captured ACK"))
    assert [connection.conn for connection in world.connections.values()] == [1]
    assert world.connections[1].server == (SERVER_IP, 80)
    assert world.sockets == {}


def test_losses_and_steps_are_remembered() -> None:
    book = play("client step 2: it speaks")
    builder = BatchBuilder(Source.TRACER, Evidence.REPORTED)
    builder.add("trace:lost", 1, {"lost": 3, "total": 7})
    book.timeline.append(builder.take())
    world = World()
    for event in book.timeline.events():
        world.apply(event)
    assert world.lost == 7
    assert world.step is not None
    assert world.step["text"] == "it speaks"


def test_step_taken_names_the_rows_between_two_moments() -> None:
    line = "c ESTABLISHED > FIN_WAIT1"
    before, now = after(LIFE, "client enters shutdown(5, 1) of c"), after(LIFE, line)
    steps = step_taken(before.end(1, Side.CLIENT), now.end(1, Side.CLIENT))
    assert [row.sends for row in steps] == ["FIN"]
    assert step_taken(now.end(1, Side.CLIENT), now.end(1, Side.CLIENT)) == ()


def test_the_playbook_says_of_sockets_and_connections_what_identity_says() -> None:
    batch = as_batch([LIFE])
    Identities().resolve(batch)
    timeline = Timeline()
    timeline.append(batch)
    renamed: dict[int, int] = {}
    for told, found in zip(LIFE.timeline.events(), timeline.events(), strict=True):
        if LIFE.line(told.order) == "client enters connect(5) of c":
            assert found.conn == 0, "the connection begins inside the call"
        else:
            assert (told.conn, told.side) == (found.conn, found.side), LIFE.line(told.order)
        if told.sock:
            assert renamed.setdefault(told.sock, found.sock) == found.sock, LIFE.line(told.order)


# Rewind


def straight(timeline: Timeline) -> list[dict[str, Any]]:
    """The world after every event, each folded from the beginning in one go."""
    world, found = World(), []
    for event in timeline.events():
        world.apply(event)
        found.append(plain(world.copy()))
    return found


@pytest.fixture
def few_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies so close and so few that a short story crosses all their limits."""
    monkeypatch.setattr(history, "SPACING", 3)
    monkeypatch.setattr(history, "COPIES", 4)


def test_rewinding_is_folding_from_the_beginning(few_copies: None) -> None:
    expected = straight(LIFE.timeline)
    rewind = History(LIFE.timeline)
    for order in [*range(len(expected)), *reversed(range(len(expected))), 3, 40, 7, 41, 0]:
        assert plain(rewind.at(order)) == expected[order], LIFE.line(order)


def test_the_history_of_a_connection_knows_all_that_touches_it(few_copies: None) -> None:
    expected, rewind = straight(LIFE.timeline), History(LIFE.timeline, 1)
    for order in range(len(expected)):
        assert plain(rewind.at(order)) == expected[order], LIFE.line(order)


def test_a_connections_history_leaves_out_other_connections_but_not_their_place_in_the_queues() -> None:
    book = play(
        HANDSHAKE
        + """
        s2 receives SYN
            s2 request born 1/5
        s2 receives ACK
            s2 LISTEN > SYN_RECV
            s2 request gone 0/5
            L queued 6/5
        s3 receives SYN
        another enters connect(9) of c2
        """
        + CLOSING
    )
    expected, rewind = straight(book.timeline), History(book.timeline, 1)
    for order in range(len(expected)):
        world = plain(rewind.at(order))
        for part in ("listeners", "epolls", "fds"):
            assert world[part] == expected[order][part], (part, book.line(order))
        for sock in (LISTENER, C, S):
            assert world["sockets"].get(sock) == expected[order]["sockets"].get(sock), book.line(order)
    last = rewind.at(len(expected) - 1)
    assert last.listeners[LISTENER].overflows == 1
    assert book.pid("another") not in last.threads


def test_queue_lengths_are_exact_however_little_is_read_of_what_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relevant, "BEFORE", 2)
    earlier = "".join(f"s{n} receives SYN\n    s{n} request born {n - 1}/99\nL queued {n}/99\n" for n in range(2, 9))
    book = play("L CLOSE > LISTEN\n" + earlier + "s receives SYN\n    s request born 8/99\n")
    order = book.order("s request born 8/99")
    assert after(book).listeners[LISTENER].syn_queue == 8
    seen = History(book.timeline, 1).at(order)
    assert (seen.listeners[LISTENER].syn_queue, seen.listeners[LISTENER].limit) == (8, 99)
    folded = [n for n in seen.connections if n != 1]
    assert len(folded) <= 2


def test_a_growing_timeline_is_read_on_and_a_process_that_joins_in_late_is_read_from_the_start() -> None:
    whole = play(HANDSHAKE + CLOSING)
    growing = Timeline()
    everything, one = History(growing), History(growing, 1)
    expected = straight(whole.timeline)
    for order in range(len(whole.timeline)):
        growing.append(whole.timeline.batch(order, order + 1))
        assert plain(everything.at(order)) == expected[order]
        one.at(order)
    assert plain(one.at(len(growing) - 1)) == expected[-1]
    assert plain(one.at(10)) == expected[10]


def test_an_answer_may_be_kept() -> None:
    rewind = History(LIFE.timeline)
    kept = rewind.at(20)
    before = plain(kept)
    rewind.at(len(LIFE.timeline) - 1)
    rewind.at(10)
    assert plain(kept) == before


def test_a_busy_process_counts_only_near_the_connection() -> None:
    book = play(HANDSHAKE)
    noise = play("server runs\nserver is preempted").timeline.batch(0, 2)
    for _ in range(3 * relevant.NEAR // 2):
        book.timeline.append(noise)
    book.timeline.append(play("c timewait expired").timeline.batch(0, 1))
    orders = relevant.Relevant(book.timeline, 1).orders()
    own = len(play(HANDSHAKE).timeline)
    assert own + relevant.NEAR <= len(orders) <= own + relevant.NEAR + 1
    assert orders[-1] == len(book.timeline) - 1
    assert np.all(np.diff(orders) > 0)


# Anything at all

SMALL: dict[str, st.SearchStrategy[int]] = {
    "sock": st.integers(0, 4),
    "conn": st.integers(0, 2),
    "side": st.integers(0, 2),
    "pid": st.integers(0, 3),
    "tid": st.integers(0, 3),
    "fd": st.integers(-1, 4),
    "addr": st.integers(0, 4),
    "ctx": st.integers(0, 3),
    "cpu": st.integers(0, 1),
    "evidence": st.integers(1, 5),
}
OWN: dict[str, st.SearchStrategy[Any]] = {
    "state": st.integers(0, 13),
    "flags": st.integers(0, 31),
    "call": st.integers(0, len(SYSCALLS)),
    "port": st.integers(0, 2),
}


@st.composite
def anything(draw: st.DrawFn) -> Timeline:
    """Events of any kind in any order: nonsense, but of a size at which things meet."""
    builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
    for at in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(KINDS))
        own: dict[str, Any] = {}
        for field in kind.fields:
            if field.type == "state":
                own[field.name] = draw(OWN["state"])
            elif field.name in ("sport", "dport"):
                own[field.name] = draw(OWN["port"])
            elif field.name in ("flags", "call"):
                own[field.name] = draw(OWN[field.name])
            elif field.name in ("listener", "child", "ep", "qlen", "ack_backlog", "max_ack_backlog", "known", "op", "n",
                                "child_pid", "ret", "was", "total", "certainty"):  # fmt: skip
                own[field.name] = draw(st.integers(0, 3))
        head = {name: draw(values) for name, values in SMALL.items()}
        builder.add(kind.name, 1000 + at, own, probe_time=1 + at % 3, **head)
    timeline = Timeline()
    timeline.append(builder.take())
    return timeline


@settings(max_examples=150, deadline=None)
@given(anything(), st.lists(st.integers(-1, 30), min_size=1, max_size=6))
def test_no_event_is_too_strange_and_rewinding_agrees_with_folding(timeline: Timeline, orders: list[int]) -> None:
    expected = [plain(World()), *straight(timeline)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "SPACING", 2)
        patch.setattr(history, "COPIES", 3)
        rewind, ends = History(timeline), History(timeline, 1)
        for order in orders:
            assert plain(rewind.at(order)) == expected[min(order + 1, len(timeline))]
            ends.at(order)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["set", "del", "copy", "switch"]), st.integers(0, 300)), max_size=60))
def test_pages_behave_as_a_dict_and_copies_do_not_meet(doings: list[tuple[str, int]]) -> None:
    pages: list[Pages[int, int]] = [Pages(3)]
    dicts: list[dict[int, int]] = [{}]
    here = 0
    for at, (what, key) in enumerate(doings):
        if what == "set":
            pages[here][key], dicts[here][key] = at, at
        elif what == "del":
            assert pages[here].pop(key, None) == dicts[here].pop(key, None)
        elif what == "copy":
            pages.append(pages[here].copy())
            dicts.append(dicts[here].copy())
        else:
            here = key % len(pages)
        for paged, mirror in zip(pages, dicts, strict=True):
            assert paged == mirror
            assert len(paged) == len(mirror)
            assert paged.get(key) == mirror.get(key)
            assert (key in paged) == (key in mirror)
