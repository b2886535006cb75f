"""What each pane shows of a moment, and where panes are."""

from __future__ import annotations

import pytest

from tests.recorded import recorded
from tests.tui.stories import Story, half_close, three
from tracer.kinds import Side
from tracer.states import STATES, State, Trigger, between
from tracer.timeline import Event, Timeline
from tui import pane_facts
from tui.ascii import ascii_text
from tui.moment import Moment, question
from tui.panes import NAMES, PANES, arrange
from tui.problems import Problems, find
from tui.screens.trace import TraceScreen
from tui.thread_lanes import CELLS, lane
from tui.watch import Watch
from tui.widgets.pane import Pane
from tui.widgets.resources import Item, life_bar
from tui.widgets.states import PLACES, PLAN, TRIGGERS, WAYS, Peer, Peers, States, box, diagram

C, V = Side.CLIENT, Side.SERVER


class Looking:
    """A moment of a timeline, as panes ask about it."""

    def __init__(self, timeline: Timeline, order: int, conn: int = 1, shown: int | None = None) -> None:
        self.timeline = timeline
        self.problems = Problems(timeline)
        self.problems.refresh()
        watch = Watch(timeline, riding=False)
        watch.refresh(0.0, more=False)
        watch.focus_on(conn)
        if shown is not None:
            watch.seek(watch.track.place_of(shown) + 1)
        if len(timeline):
            watch.point(order)
        self.facts = Moment(timeline).look(question(watch))

    def dissect(self, event: Event) -> tuple[()]:
        return ()

    def output(self) -> None:
        return None

    def covers(self) -> str:
        return ""

    def ledger(self, conn: int) -> pane_facts.Ledger:
        made = pane_facts.Ledger(self.timeline, conn)
        made.refresh()
        return made

    def text(self, name: str, width: int = 76) -> str:
        row = next(row for row in PANES if row.name == name)
        pane: Pane = row.widget()
        lines = pane.lines(row.tell(self.facts, self), width)
        assert all(line.cell_length <= width for line in lines)
        return "\n".join(line.plain for line in lines)


def order_of(timeline: Timeline, words: str) -> int:
    from tracer.words import message

    return next(event.order for event in timeline.events() if words in message(event))


# The state diagram


def test_every_state_of_the_rfc_has_a_place_and_every_line_is_a_way_of_the_table() -> None:
    placed = {state for _, _, state in PLACES}
    assert placed == {state for state in State if state not in (State.UNKNOWN, State.NEW_SYN_RECV)}
    for state, following in WAYS:
        passive = {State.SYN_RECV, State.NEW_SYN_RECV} if state is State.SYN_RECV else {state}
        assert any(between(one, following) for one in passive), (state, following)


def test_no_box_covers_a_line_or_another_box() -> None:
    taken: dict[tuple[int, int], str] = {}
    for row, column, state in PLACES:
        name = f"{STATES[state].code} {STATES[state].label}"
        for at in range(column, column + len(name)):
            assert (row, at) not in taken, f"{name} lies on {taken[row, at]}"
            taken[row, at] = name
            assert PLAN[row][at : at + 1] in ("", " "), f"{name} covers a line"


def test_every_trigger_has_words() -> None:
    assert set(TRIGGERS) == set(Trigger)


def test_where_both_are_and_have_been_is_told_without_colour() -> None:
    text = Looking(recorded(), order_of(recorded(), "shutdown(3, SHUT_WR)")).text("states")
    assert "F1 FIN_WAIT1◆" in text and "CW CLOSE_WAIT◇" in text
    assert "SS SYN_SENTc" in text and "ES ESTABLISHEDcs" in text and "SR SYN_RECVs" in text
    assert "TW TIME_WAIT" in text and "TW TIME_WAITc" not in text, "what lies ahead is not told"
    assert "the ACK of our FIN → FIN_WAIT2" in text, "but what may come by the table is"


def test_a_guess_bears_its_mark_on_the_diagram() -> None:
    peers = Peers((Peer(C, State.FIN_WAIT2, "?", ((0, 0, State.FIN_WAIT2),)),))
    assert "F2 FIN_WAIT2◆?" in "\n".join(line.plain for line in diagram(peers))
    both = Peers((*peers.ends, Peer(V, State.FIN_WAIT2, "~", ())))
    assert box(State.FIN_WAIT2, both).plain == "F2 FIN_WAIT2◆?◇~"
    assert box(State.SYN_RECV, Peers((Peer(V, State.NEW_SYN_RECV, "", ()),))).plain == "SR SYN_RECV◇"


@pytest.mark.parametrize("width", [34, 50, 76, 120])
def test_the_diagram_fits_every_pane(width: int) -> None:
    text = Looking(recorded(), 150).text("states", width)
    assert "F2 FIN_WAIT2◆" in text
    assert States().lines(Peers(), width)[-1].plain


# The other panes


def test_queues_epoll_and_descriptors_of_the_moment() -> None:
    timeline = recorded()
    text = Looking(timeline, order_of(timeline, "is readable: receive queue 5 B")).text("queue-table")
    assert "listener :8080" in text and "accept queue" in text and "0 of 8  most 1" in text
    assert "server of #1  ESTABLISHED" in text
    assert "not read yet  5 B" in text
    assert "fd 5    wants EPOLLIN|EPOLLRDHUP   ● ready" in text
    assert "fd 5    socket 3  server of #1 ESTABLISHED" in text
    waiting = Looking(timeline, order_of(timeline, "TIME_WAIT object takes over")).text("queue-table")
    assert "a TIME_WAIT object stands for the socket" in waiting


def test_programs_tell_who_sleeps_on_what() -> None:
    timeline = recorded()
    told = order_of(timeline, "EPOLL_CTL_ADD fd 5")
    asleep = next(event for event in timeline.events(told) if event.name == "thread:blocked" and event["was"]
                  and event.pid == timeline[told].pid)  # fmt: skip
    text = Looking(timeline, asleep.order).text("programs")
    assert "server 2841  ‖ asleep" in text
    assert "in epoll_wait(4)" in text and "parked on epoll 4, which watches fd 3, 5" in text
    assert "process 2841  server of #1" in text


@pytest.mark.parametrize("width", [38, 57, 78])
def test_the_resources_tell_all_of_a_life_at_any_width(width: int) -> None:
    timeline = recorded()
    looking = Looking(timeline, order_of(timeline, "shutdown(3, SHUT_WR)"))
    text = " ".join(looking.text("resources", width).split())
    assert "fd 3, pid 2842 ├" in text and "→ socket:destroy 108 ms" in text
    assert "…" not in text


def test_resources_at_the_cursor_are_ahead_here_or_gone() -> None:
    timeline = recorded()
    text = Looking(timeline, order_of(timeline, "shutdown(3, SHUT_WR)")).text("resources")
    assert "● fd 3, pid 2842" in text and "○ request sock" in text and "· TIME_WAIT object" in text
    assert "socket() 1.84 ms → close() 108 ms" in text
    early = order_of(timeline, "accept(3) = 5")
    text = Looking(timeline, early, shown=early).text("resources")
    assert "TIME_WAIT" not in text and "still there" in text, "what lies ahead of the playhead is not told"
    assert "takes kernel probes" in Looking(Timeline(), 0).text("resources")


@pytest.mark.parametrize(
    ("born", "freed", "shown"),
    [(1, 2, "├━━━━━━━━┤"), (-1, 2, "━━━━━━━━━┤"), (1, -1, "├━━━━━━━━━"), (-1, -1, "━━━━━━━━━━")],
)
def test_a_life_that_is_open_at_an_end_is_drawn_open(born: int, freed: int, shown: str) -> None:
    item = Item(C, "socket", "socket 1", born, freed, 0, 0, 0.0, 1.0, "", "", None, 0, "here")
    assert life_bar(item, 10) == shown


def trouble() -> Timeline:
    """Lost events and a CLOSE_WAIT that lasts."""
    story = Story()
    half_close(story, 1)
    story.state(3000, 2, V, State.ESTABLISHED, State.CLOSE_WAIT)
    story.builder.add("trace:lost", 1_700_000_000_000_000_000 + 4_000_000_000, {"lost": 7, "total": 7})
    story.state(60_000, 2, V, State.CLOSE_WAIT, State.LAST_ACK)
    return story.onto()


def test_lints_say_what_it_means_and_what_to_do_at_the_cursor() -> None:
    timeline = trouble()
    problems = find(timeline)
    assert [problem.name for problem in problems] == ["close-wait", "events-lost"]
    looking = Looking(timeline, problems[0].order, conn=2)
    text = looking.text("lints")
    assert "▸! warn  close-wait #2" in text and " ! warn  events-lost" in text
    assert "many of these are a leak" in " ".join(text.split())
    assert "trace less" not in text, "advice stands at the cursor only"
    early = Looking(timeline, 0, conn=1, shown=3)
    assert "Nothing wrong was found so far" in early.text("lints")


def test_problems_are_found_anew_when_events_have_come() -> None:
    timeline = three()
    problems = Problems(timeline)
    problems.refresh()
    assert not problems.stale and problems.near(-1, 1) is None
    story = Story()
    story.builder.add("trace:anomaly", 1_700_000_000_000_000_000 + 9_000_000_000, {"text": "odd \x1b[2J"})
    story.onto(timeline)
    assert problems.stale
    problems.refresh()
    found = problems.near(-1, 1)
    assert found is not None and found.words == "odd ·[2J" and found.severity == "error"


@pytest.mark.parametrize("name", NAMES)
def test_every_pane_has_something_to_say_of_nothing(name: str) -> None:
    assert Looking(Timeline(), 0).text(name).strip()
    assert Looking(Timeline(), 0).text(name, 34).strip()


# Where they are


@pytest.mark.parametrize(
    ("size", "asked", "shown", "over"),
    [
        ((80, 24), "", (), False),
        ((80, 24), "states", ("states",), True),
        ((119, 60), "lints", ("lints",), True),
        ((120, 23), "lints", ("lints",), True),
        ((120, 30), "", ("inspector",), False),
        ((120, 30), "resources", ("resources",), False),
        ((160, 48), "", ("inspector", "states"), False),
        ((160, 48), "inspector", ("inspector",), False),
        ((160, 48), "programs", ("inspector", "programs"), False),
    ],
)
def test_panes_stand_beside_the_ladder_where_there_is_room(
    size: tuple[int, int], asked: str, shown: tuple[str, ...], over: bool
) -> None:
    where = arrange(*size, asked, True)
    assert (where.shown, where.over) == (shown, over)
    assert arrange(*size, asked, False).shown == (shown if over else ())


def test_the_table_of_panes_and_the_keys_are_one() -> None:
    bound = {binding.action for binding in TraceScreen.BINDINGS if binding.action.startswith("pane(")}
    assert bound == {f"pane('{name}')" for name in NAMES}


def test_a_lane_shows_when_a_thread_ran_and_slept() -> None:
    story = Story()
    for ms, kind, was in ((1, "blocked", 1), (2, "woken", 0), (3, "running", 0), (4, "blocked", 0), (5, "running", 0)):
        fields = {"comm": b"x", "was": was}
        story.builder.add(f"thread:{kind}", 1_700_000_000_000_000_000 + ms * 1_000_000, fields, pid=9, tid=9)
    timeline = story.onto()
    assert lane(timeline, 9, 0, 5, 9, 5) == "░▒█▒█", "preempted is runnable, not asleep"
    assert lane(timeline, 9, 0, 5, 2, 10) == "░░▒▒┃█▒▒██"
    assert lane(timeline, 9, 0, 3, 9, 3) == "░▒█", "what lies ahead is not told"
    assert lane(timeline, 8, 0, 5, 9, 5) == "     "
    assert lane(timeline, 9, 3, 3, 3, 5) == ""
    assert len({ascii_text(cell) for cell in CELLS.values()}) == len(CELLS)
