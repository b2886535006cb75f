"""The hook table: what can be seen, by which program, and the tests that provoke it on the running kernel.

A probe or a kind of event without a row here, or a row whose test is gone or does not ask for the kind, fails.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tracer.kernel.probes import PROBES
from tracer.kinds import KINDS, Ring

HERE: Final = Path(__file__).resolve().parent
LIVE, TROUBLE, CALLS, READY, LIVES = (
    "test_live",
    "test_trouble",
    "test_hooks_calls",
    "test_hooks_readiness",
    "test_hooks_lives",
)


class Row(NamedTuple):
    """One thing to be seen."""

    need: str
    programs: str
    kinds: str
    tests: tuple[tuple[str, str], ...]
    """Module and test."""


TABLE: Final[tuple[Row, ...]] = (
    Row("full-socket states", "on_inet_sock_set_state", "socket:state",
        ((LIVE, "test_a_whole_life_in_order"),)),
    Row("socket freed", "on_tcp_destroy_sock", "socket:destroy",
        ((LIVE, "test_a_whole_life_in_order"),)),
    Row("SYN queue: request sock added and removed", "on_timer_start on_timer_cancel", "request:born request:gone",
        ((LIVE, "test_a_whole_life_in_order"),)),
    Row("SYN queue: SYN-ACK timer and repeated SYN-ACK", "on_timer_expire_entry on_tcp_retransmit_synack",
        "request:timer request:retransmit", ((LIVES, "test_syns_dropped_by_a_full_syn_queue"),)),
    Row("SYN drop: the SYN queue is full", "on_netif_receive_skb on_softirq_exit", "request:overflow",
        ((LIVES, "test_syns_dropped_by_a_full_syn_queue"),)),
    Row("SYN cookies: no request sock", "on_timer_start", "request:born accept:queued",
        ((LIVES, "test_with_syn_cookies_there_is_no_request_sock"),)),
    Row("TIME_WAIT born", "on_timer_start", "timewait:born", ((LIVE, "test_a_whole_life_in_order"),)),
    Row("TIME_WAIT cancelled by reuse", "on_timer_cancel", "timewait:cancelled",
        ((LIVES, "test_time_wait_gives_way_to_a_new_connection"),)),
    Row("TIME_WAIT begun anew", "on_timer_start", "timewait:rearmed",
        ((LIVES, "test_time_wait_begins_anew_when_the_fin_comes_again"),)),
    Row("TIME_WAIT expired after its 60 s", "on_timer_expire_entry", "timewait:expired",
        ((LIVES, "test_time_wait_expires_after_a_minute"),)),
    Row("orphan in FIN_WAIT2, its TIME_WAIT object", "on_timer_start on_timer_expire_entry",
        "timewait:born timewait:expired", ((LIVE, "test_an_orphan_in_fin_wait2_expires"),)),
    Row("orphan in FIN_WAIT2, its timer", "on_socket_timer", "socket:timer timewait:born",
        ((LIVES, "test_an_orphan_that_may_linger_long_has_a_timer_first"),)),
    Row("RTO", "on_socket_timer", "socket:timer", ((TROUBLE, "test_loss_is_seen_from_drop_to_recovery"),)),
    Row("zero window and persist", "on_socket_timer", "socket:timer", ((TROUBLE, "test_a_zero_window_is_probed"),)),
    Row("keepalive death", "on_socket_timer", "socket:timer", ((TROUBLE, "test_keepalive_finds_a_dead_peer"),)),
    Row("delayed ACK", "on_socket_timer", "socket:timer", ((TROUBLE, "test_an_ack_waits_for_its_timer"),)),
    Row("accept queue grows", "on_sk_data_ready", "accept:queued",
        ((LIVE, "test_the_accept_queue_grows_to_its_limit_and_no_further"),)),
    Row("accept queue shrinks", "on_sys_exit", "accept:taken", ((LIVE, "test_a_whole_life_in_order"),)),
    Row("full accept queue", "on_netif_receive_skb on_softirq_exit", "accept:overflow",
        ((TROUBLE, "test_a_full_accept_queue_turns_syns_away_and_every_one_is_seen"),)),
    Row("readable, by level and by edge", "on_sk_data_ready on_sys_exit",
        "socket:readable epoll:ready epoll:wait", ((READY, "test_readable_by_level_and_by_edge"),)),
    Row("writable after connect", "on_inet_sock_set_state on_sys_exit", "epoll:ready epoll:wait",
        ((READY, "test_writable_after_connect"),)),
    Row("writable after a drained send buffer, by level and by edge", "on_tcp_probe on_sched_waking",
        "socket:writable epoll:ready thread:woken",
        ((READY, "test_writable_after_a_full_send_buffer_is_drained"),
         (READY, "test_a_thread_that_waits_for_room_is_woken_by_it"))),
    Row("epoll interest", "on_sys_exit", "epoll:ctl", ((READY, "test_interest_is_added_changed_and_taken_back"),)),
    Row("threads blocked, woken and running, and by what", "on_sched_switch on_sched_waking",
        "thread:blocked thread:woken thread:running",
        ((LIVE, "test_a_blocked_thread_is_woken_by_readiness"),
         (CALLS, "test_each_way_to_wait_is_ended_by_what_came"))),
    Row("system calls: options by name and value, O_NONBLOCK", "on_sys_enter", "syscall:enter",
        ((CALLS, "test_options_are_told_by_name_and_value"),)),
    Row("system calls: dup and close", "on_sys_enter on_sys_exit", "syscall:enter syscall:exit",
        ((CALLS, "test_copies_of_a_descriptor_are_one_socket"),)),
    Row("system calls: read and write family, sendfile, splice", "on_sys_exit", "syscall:exit socket:queues",
        ((CALLS, "test_bytes_by_every_way_in_and_out"),)),
    Row("system calls: poll, select and epoll families", "on_sys_enter on_sys_exit", "syscall:enter syscall:exit",
        ((CALLS, "test_each_way_to_wait_is_ended_by_what_came"),)),
    Row("system calls: io_uring named as not followed", "on_sys_exit", "syscall:exit",
        ((CALLS, "test_io_uring_is_named_as_not_followed"),)),
    Row("processes that fork and end, with sockets", "on_sched_process_fork on_sched_process_exit",
        "process:fork process:exit", ((CALLS, "test_a_socket_goes_on_in_a_child_and_ends_with_it"),)),
    Row("retransmission", "on_tcp_retransmit_skb", "socket:retransmit",
        ((TROUBLE, "test_loss_is_seen_from_drop_to_recovery"),)),
    Row("congestion state, cwnd and ssthresh after a loss", "on_tcp_cong_state_set", "socket:congestion",
        ((LIVES, "test_fast_retransmission_and_what_it_costs"),)),
    Row("cwnd, ssthresh, srtt, rto, mss and windows", "on_tcp_probe", "socket:queues",
        ((LIVES, "test_numbers_are_those_that_the_program_is_told"),)),
    Row("RST both ways, with reason", "on_tcp_send_reset on_tcp_receive_reset", "reset:sent reset:received",
        ((TROUBLE, "test_resets_say_why"),)),
    Row("drops with reason", "on_kfree_skb", "segment:dropped",
        ((TROUBLE, "test_loss_is_seen_from_drop_to_recovery"), (TROUBLE, "test_an_ack_that_finds_the_queue_full"))),
    Row("packets", "on_net_dev_start_xmit on_netif_receive_skb on_softirq_exit", "packet:sent packet:received",
        ((LIVE, "test_a_whole_life_in_order"), (LIVE, "test_context_is_the_packet_being_processed"))),
)  # fmt: skip


@cache
def functions(name: str) -> dict[str, str]:
    """The text of each function of a module."""
    text = (HERE / f"{name}.py").read_text()
    tests = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return {test.name: ast.get_source_segment(text, test) or "" for test in tests}


def test_every_probe_and_every_kind_has_a_row() -> None:
    assert {name for row in TABLE for name in row.programs.split()} == {probe.program for probe in PROBES}
    assert {kind for row in TABLE for kind in row.kinds.split()} == {
        kind.name for kind in KINDS if kind.ring is not Ring.NONE
    }


def test_what_a_probe_says_it_gives_is_shown_by_one_of_its_rows() -> None:
    for probe in PROBES:
        rows = [row for row in TABLE if probe.program in row.programs.split()]
        shown = {kind for row in rows for kind in row.kinds.split()}
        given = {word for word in probe.gives.replace(";", ",").replace(",", " ").split() if ":" in word}
        assert given <= shown, probe.program


def test_the_page_about_kernels_has_every_probe() -> None:
    """`make kernels` writes it anew."""
    page = (HERE.parent.parent / "docs" / "kernels.md").read_text()
    assert [probe.program for probe in PROBES if f"`{probe.program}`" not in page] == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.need)
def test_the_tests_of_a_row_are_there_and_ask_for_its_kinds(row: Row) -> None:
    sources = []
    for name, test in row.tests:
        tests = functions(name)
        assert test in tests, f"{name} has no {test}"
        source = tests[test]
        for helper in tests:  # what it calls in its own module, and the helper of test_trouble
            if helper != test and f"{helper}(" in source:
                source += tests[helper]
        source += functions(TROUBLE)["fired"] if "fired(" in source else ""
        sources.append(source)
    for kind in row.kinds.split():
        assert any(f'"{kind}"' in source for source in sources), kind
