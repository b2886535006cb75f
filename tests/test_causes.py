"""Which event led to which: chains of causes as transcripts, and silence where the evidence says nothing."""

from __future__ import annotations

import time

import pytest

from tests.playbook import CLOSING, HANDSHAKE, Book, play
from tests.tui.stories import Story
from tracer.causes import cause, chain, effects, step
from tracer.events import NUMBER
from tracer.kinds import Side
from tracer.lookback import REACH
from tracer.replay.analysis import RETRANSMISSION
from tracer.segments import ACK, PSH
from tracer.states import Trigger
from tracer.timeline import Timeline


def led_to(book: Book, line: str, nth: int = 1) -> str | None:
    """The line of the cause."""
    link = cause(book.timeline, book.order(line, nth))
    return book.line(link.order) if link else None


def rule(book: Book, line: str, nth: int = 1) -> str | None:
    link = cause(book.timeline, book.order(line, nth))
    return link.rule if link else None


def back_from(book: Book, line: str, nth: int = 1) -> list[str]:
    """The chain of causes, nearest first."""
    return [book.line(link.order) for link in chain(book.timeline, book.order(line, nth))]


DATA = """
server enters epoll_wait(4)
server sleeps
client step 3: say hello
client enters sendto(5) of c
c sends PSH,ACK 5 bytes
s receives PSH,ACK 5 bytes
    s readable
    s ready fd 7 in server
    server wakes
client leaves sendto(5) of c = 5
server runs
server leaves epoll_wait(4) = 1
server epoll gets fd 7 EPOLLIN
"""


def test_from_a_thread_that_wakes_back_to_the_peers_send() -> None:
    book = play(DATA)
    assert back_from(book, "server epoll gets fd 7 EPOLLIN") == [
        "server leaves epoll_wait(4) = 1",
        "server runs",
        "server wakes",
        "s ready fd 7 in server",
        "s receives PSH,ACK 5 bytes",
        "c sends PSH,ACK 5 bytes",
        "client enters sendto(5) of c",
        "client step 3: say hello",
    ]


def test_effects_are_causes_read_the_other_way() -> None:
    book = play(HANDSHAKE + CLOSING)
    told = {order: [link.order for link in effects(book.timeline, order)] for order in range(len(book.timeline))}
    for order in range(len(book.timeline)):
        link = cause(book.timeline, order)
        causes = [before for before, after in told.items() if order in after]
        assert causes == ([link.order] if link else [])
    received = [book.line(order) for order in told[book.order("s receives ACK")]]
    assert received == ["s LISTEN > SYN_RECV", "s request gone 0/5", "s SYN_RECV > ESTABLISHED", "L queued 1/5",
                        "L ready fd 3 in server"]  # fmt: skip


def test_the_listeners_thread_wakes_by_the_ack_of_the_handshake() -> None:
    assert back_from(play(HANDSHAKE), "server runs") == [
        "server wakes",
        "L ready fd 3 in server",
        "s receives ACK",
        "c sends ACK",
        "c receives SYN,ACK",
        "s sends SYN,ACK",
        "s receives SYN",
        "c sends SYN",
        "client enters connect(5) of c",
    ]


def test_time_wait_leads_back_to_the_fin_and_its_end_to_its_beginning() -> None:
    book = play(HANDSHAKE + CLOSING)
    assert back_from(book, "c timewait expired") == [
        "c timewait born 60s",
        "c receives FIN,ACK",
        "s sends FIN,ACK",
        "server enters close(7) of s",
    ]


def test_a_timer_armed_again_counts_from_then() -> None:
    book = play(
        """
        c receives FIN,ACK
            c timewait born 60s
        wait 1s
        c receives FIN,ACK seq=2000
            c timewait rearmed 60s
        wait 60s
        c timewait expired
        """
    )
    assert led_to(book, "c timewait expired") == "c timewait rearmed 60s"
    assert led_to(book, "c timewait rearmed 60s") == "c receives FIN,ACK seq=2000"


def test_time_wait_from_the_backlog_leads_back_to_the_fin_all_the_same() -> None:
    book = play(
        """
        client enters recvfrom(5) of c
        c receives FIN,ACK
        c FIN_WAIT2 > CLOSE
        c timewait born 60s
        """
    )
    assert led_to(book, "c timewait born 60s") == "c receives FIN,ACK"
    assert rule(book, "c timewait born 60s") == "segment"


def test_an_orphan_in_fin_wait2_is_there_because_of_close() -> None:
    book = play("client enters close(5) of c\nc FIN_WAIT2 > CLOSE\nc timewait born 10s FIN_WAIT2")
    assert led_to(book, "c timewait born 10s FIN_WAIT2") == "client enters close(5) of c"


def test_a_state_from_the_backlog_follows_from_the_segment_not_from_the_call() -> None:
    book = play(HANDSHAKE)
    assert led_to(book, "c SYN_SENT > ESTABLISHED") == "c receives SYN,ACK"
    assert rule(book, "c SYN_SENT > ESTABLISHED") == "segment"
    assert led_to(book, "c CLOSE > SYN_SENT") == "client enters connect(5) of c"


def test_a_segment_from_before_the_call_is_not_its_doing() -> None:
    book = play(
        """
        c receives ACK
        client enters close(5) of c
        c ESTABLISHED > FIN_WAIT1
        """
    )
    assert led_to(book, "c ESTABLISHED > FIN_WAIT1") == "client enters close(5) of c"


def test_a_blocking_call_returns_because_its_thread_runs_again() -> None:
    book = play(
        """
        server enters recvfrom(7) of s
        server sleeps
        s receives PSH,ACK 3 bytes
            s readable
            server wakes
        server runs
        server is preempted
        server runs
        server leaves recvfrom(7) of s = 3
        s queues
        server enters recvfrom(7) of s
        server leaves recvfrom(7) of s = -11
        """
    )
    assert led_to(book, "server leaves recvfrom(7) of s = 3") == "server runs"
    assert book.order("server runs") == cause(book.timeline, book.order("server leaves recvfrom(7) of s = 3")).order  # type: ignore[union-attr]
    assert led_to(book, "s queues") == "server leaves recvfrom(7) of s = 3"
    assert led_to(book, "server leaves recvfrom(7) of s = -11") == "server enters recvfrom(7) of s"
    assert rule(book, "server leaves recvfrom(7) of s = -11") == "call"


def test_readiness_that_was_there_before_anyone_waited() -> None:
    book = play(
        """
        s receives PSH,ACK 3 bytes
            s ready fd 7 in server
        server enters epoll_wait(4)
        server leaves epoll_wait(4) = 1
        server epoll gets fd 7 EPOLLIN
        """
    )
    assert back_from(book, "server epoll gets fd 7 EPOLLIN") == ["s ready fd 7 in server", "s receives PSH,ACK 3 bytes"]


def test_a_delayed_ack_answers_the_segment_that_it_held_back() -> None:
    book = play("s receives PSH,ACK 3 bytes\n    s readable\nwait 40ms\ns sends ACK")
    assert (led_to(book, "s sends ACK"), rule(book, "s sends ACK")) == ("s receives PSH,ACK 3 bytes", "timer")


def test_a_segment_sent_again_follows_from_the_first_try() -> None:
    book = play("client enters sendto(5) of c\nc sends PSH,ACK 3 bytes\nclient leaves sendto(5) of c = 3")
    book.tell("wait 200ms\nc sends PSH,ACK seq=1000 length=3")
    assert back_from(book, "c sends PSH,ACK seq=1000 length=3") == [
        "c sends PSH,ACK 3 bytes",
        "client enters sendto(5) of c",
    ]


def test_a_syn_ack_sent_again_follows_from_its_timer() -> None:
    book = play(
        """
        s receives SYN
            s request born 1/5
            s sends SYN,ACK
        wait 1s
        s request timer 1/5
        s sends SYN,ACK seq=2000
        wait 2s
        s request timer 1/5
        s request gone 0/5
        """
    )
    first = ["s request timer 1/5", "s request born 1/5", "s receives SYN"]
    assert back_from(book, "s sends SYN,ACK seq=2000") == first
    assert back_from(book, "s request gone 0/5") == first


def test_what_a_dead_process_left_open_is_closed_by_its_end() -> None:
    book = play("client ends\nc ESTABLISHED > FIN_WAIT1\nc sends FIN,ACK")
    assert (led_to(book, "c ESTABLISHED > FIN_WAIT1"), rule(book, "c sends FIN,ACK")) == ("client ends", "exit")


def test_a_timer_that_borrows_a_threads_time_does_not_make_its_call_the_cause() -> None:
    book = play("client enters epoll_wait(4)\nc sends ACK\nclient enters sendto(9) of c2\nc SYN_SENT > CLOSE")
    assert led_to(book, "c sends ACK") is None
    assert led_to(book, "c SYN_SENT > CLOSE") == "c sends ACK"  # given up, not sendto()'s doing
    assert rule(book, "c SYN_SENT > CLOSE") == "timer"


def test_closing_a_listener_ends_those_who_wait_at_it() -> None:
    book = play("server enters close(3) of L\ns request gone 0/5\ns2 ESTABLISHED > CLOSE\ns2 sends RST,ACK")
    for line in book.lines[1:]:
        assert led_to(book, line) == "server enters close(3) of L"


def test_calls_of_an_actor_follow_from_the_step_it_was_told() -> None:
    book = play(
        """
        server step 1: listen
        client step 2: connect
        server enters listen(3, 5) of L
        server enters accept4(3) of L
        client enters connect(5) of c
        other enters connect(5) of c2
        """
    )
    assert led_to(book, "server enters listen(3, 5) of L") == "server step 1: listen"
    assert led_to(book, "server enters accept4(3) of L") == "server step 1: listen"
    assert led_to(book, "client enters connect(5) of c") == "client step 2: connect"
    assert led_to(book, "other enters connect(5) of c2") is None


@pytest.mark.parametrize(
    "story",
    [
        "c receives SYN,ACK",  # its sender is on another machine
        "server runs",  # why it had stopped was not seen
        "server wakes",
        "c ESTABLISHED > CLOSE_WAIT",
        "c receives FIN,ACK\nc ESTABLISHED > CLOSE_WAIT ~",  # a reading of a table, not a step
        "c sends PSH,ACK 3 bytes",
        "c timewait expired",
        "client is preempted",
        "s readable ctx=12345",  # the packet of that context was lost
    ],
)
def test_no_link_where_the_evidence_does_not_say(story: str) -> None:
    book = play(story)
    assert cause(book.timeline, len(book.timeline) - 1) is None


def test_in_a_capture_an_acknowledgement_follows_from_what_it_acknowledges() -> None:
    book = play(
        """
        c captured SYN
        s captured SYN,ACK
        c captured ACK
        c captured PSH,ACK 10 bytes
        s captured ACK
        s captured PSH,ACK 5 bytes
        c ESTABLISHED > CLOSE_WAIT ?
        """
    )
    assert led_to(book, "s captured SYN,ACK") == "c captured SYN"
    assert led_to(book, "c captured ACK") == "s captured SYN,ACK"
    assert led_to(book, "s captured ACK") == "c captured PSH,ACK 10 bytes"
    assert led_to(book, "s captured PSH,ACK 5 bytes") is None  # the program's own time
    assert led_to(book, "c ESTABLISHED > CLOSE_WAIT ?") == "s captured PSH,ACK 5 bytes"


@pytest.mark.parametrize(
    ("story", "trigger"),
    [
        ("client enters close(5) of c\nc ESTABLISHED > CLOSE", Trigger.ABORT),
        ("c receives RST\n    c ESTABLISHED > CLOSE", Trigger.RCV_RST),
        ("c sends PSH,ACK 3 bytes\nc ESTABLISHED > CLOSE", Trigger.TIMEOUT),
        ("c receives FIN,ACK\n    c FIN_WAIT2 > CLOSE", Trigger.HANDOVER),
        ("c receives RST\n    c FIN_WAIT2 > CLOSE", Trigger.RCV_RST),
        ("s receives ACK\n    s SYN_RECV > CLOSE", Trigger.ACCEPT_QUEUE_FULL),
        ("c FIN_WAIT2 > CLOSE\nc receives FIN,ACK\n    c timewait born 60s", Trigger.RCV_FIN),
        ("c receives ACK\n    c CLOSING > CLOSE\n    c timewait born 60s", Trigger.RCV_ACK_OF_FIN),
        ("c timewait born 60s\nc timewait expired", Trigger.TIMEWAIT_TIMEOUT),
        ("client enters connect(9) of c2\nc timewait cancelled", Trigger.CONNECT),
        ("c receives SYN\n    c timewait cancelled", Trigger.RCV_SYN),
        ("s receives SYN\n    s request born 1/5", Trigger.RCV_SYN),
        ("s request timer 1/5\ns request gone 0/5", Trigger.TIMEOUT),
        ("s receives RST\n    s request gone 0/5", Trigger.RCV_RST),
    ],
)
def test_the_cause_tells_which_row_of_the_table_a_step_was(story: str, trigger: Trigger) -> None:
    book = play(story)
    found = step(book.timeline, len(book.timeline) - 1)
    assert found is not None
    assert found.trigger == trigger


def test_a_step_whose_cause_is_not_known_is_not_guessed() -> None:
    book = play("c ESTABLISHED > CLOSE\ns readable")
    assert step(book.timeline, 0) is None
    assert step(book.timeline, 1) is None


def test_a_far_cause_is_found_and_an_absent_one_given_up_within_a_key_press() -> None:
    book = play("server sleeps\nclient enters sendto(5) of c")
    far = play("client is preempted\nclient runs\nc queues\ns readable").timeline.batch(0, 4)
    for _ in range(16):  # doubling: 65,536 copies of four events
        book.timeline.append(book.timeline.batch(2, len(book.timeline)) if len(book.timeline) > 2 else far)
    book.timeline.append(play("server wakes\nserver runs\ns timewait expired").timeline.batch(0, 3))
    count = len(book.timeline)
    assert count > 100_000
    began = time.perf_counter()
    assert cause(book.timeline, count - 2) is not None
    assert cause(book.timeline, count - 1) is None
    effects(book.timeline, 1)
    assert time.perf_counter() - began < 1


def test_in_a_long_transfer_the_first_try_is_found_where_the_analysis_says_that_there_was_one() -> None:
    story, many = Story(), REACH // 2 + 1
    for i in range(many):
        story.packet(i * 0.01, 1, Side.CLIENT, PSH | ACK, 2000 + 10 * i, 6000, 10)
    transfer = story.builder.take()
    for seq in (2000, 2000 + 10 * many):
        story.packet(9000 + seq, 1, Side.CLIENT, PSH | ACK, seq, 6000, 10)
    last, found = story.builder.take(), []
    for analysis in (0, RETRANSMISSION):
        last.tables[NUMBER["packet:sent"]]["analysis"][0] = analysis
        timeline = Timeline()
        timeline.append(transfer)
        again = timeline.append(last)
        found.append((cause(timeline, again), cause(timeline, again + 2)))
    assert found[0] == (None, None)
    assert found[1][0] is not None and found[1][0].order == 0 and found[1][1] is None
