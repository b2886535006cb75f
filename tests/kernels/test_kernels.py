"""Other kernels: each is booted in an emulated machine and traces a half-close there, in both modes.

Not part of `make test`: `make kernels` fetches what it takes and runs this.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.kernels.conftest import Visit
from tracer.kernel.attach import Mode

pytestmark = [pytest.mark.kernels, pytest.mark.timeout(1200)]

CLIENT: Final = ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]
SERVER: Final = ["NEW_SYN_RECV", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"]
COOKIE_FOR_TRACING: Final = (5, 12)
"""The first kernel that lends bpf_get_socket_cookie() to tracing programs: without it there is no tp_btf mode."""
CASTS: Final = (6, 2)
"""The first kernel with bpf_rdonly_cast(): from there on rings and tables are our own."""
SINCE: Final = {"on_tcp_cong_state_set": (5, 19)}
"""Programs whose hook came late and that have no other: before, their row is off."""
SEEN: Final = {
    "socket:state", "socket:readable", "socket:queues", "socket:destroy", "request:born", "request:gone",
    "accept:queued", "accept:taken", "timewait:born", "epoll:ctl", "epoll:ready", "epoll:wait", "syscall:enter",
    "syscall:exit", "thread:blocked", "thread:woken", "thread:running", "packet:sent", "packet:received",
}  # fmt: skip
"""Kinds that a half-close has on every kernel."""


def version(visit: Visit) -> tuple[int, int]:
    major, minor = visit.release.split(".")[:2]
    return int(major), int(minor)


def test_it_boots_and_says_what_it_allows(visit: Visit) -> None:
    assert visit.told, visit.console[-3000:]
    assert visit.told["kernel"]["release"] == visit.release
    assert [row for row in visit.told["kernel"]["findings"] if not row[1]] == []


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_a_half_close_is_observed_there(visit: Visit, mode: Mode) -> None:
    assert mode.value in visit.told, visit.console[-6000:]
    told = visit.told[mode.value]
    if mode is Mode.TP_BTF and version(visit) < COOKIE_FOR_TRACING:
        assert "unknown func bpf_get_socket_cookie" in told["failed"]
        return
    assert "failed" not in told, told["failed"]
    assert told["own"] == (mode is Mode.TP_BTF and version(visit) >= CASTS)
    off = {name for name, _, on, _ in told["probes"] if not on}
    assert off == {name for name, first in SINCE.items() if version(visit) < first}
    assert told["client"] == [[name, "OBSERVED"] for name in CLIENT]
    assert told["server"] == [[name, "OBSERVED"] for name in SERVER]
    assert (told["anomalies"], told["lost"]) == ([], 0)
    assert set(told["kinds"]) >= SEEN


def test_the_command_chooses_the_mode_by_itself(visit: Visit) -> None:
    assert "command" in visit.told, visit.console[-6000:]
    told = visit.told["command"]
    assert told["code"] == 0, told["err"]
    states = [line for line in told["out"].splitlines() if " → " in line and "socket" in line]
    assert any("SYN_SENT → ESTABLISHED" in line for line in states)
    marks = {line.split()[0][-1] for line in states}
    assert not marks & {"~", "?"}, "states were sampled or inferred, not observed"
