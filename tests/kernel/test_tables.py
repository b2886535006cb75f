"""The tables of followed sockets and tuples: with two sets for all sockets nearly every one finds them full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict
from functools import partial

import pytest

from tests.kernel.conftest import Play
from tracer.events import NUMBER
from tracer.kernel import source as source_module
from tracer.kernel.attach import Mode
from tracer.kernel.btf import KernelTypes
from tracer.kernel.probes import Group
from tracer.kernel.program import program_text
from tracer.kernel.source import Filter, KernelSource
from tracer.kernel.syscalls import CALL
from tracer.kinds import Ring
from tracer.states import State

pytestmark = pytest.mark.kernel

MANY = """
import socket
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
for _ in range(2):
    clients = [socket.create_connection(listener.getsockname()) for _ in range(60)]
    servers = [listener.accept()[0] for _ in clients]
    for one, other in zip(clients, servers):
        one.send(b"a"); other.recv(9); one.close()
        assert other.recv(9) == b""
        other.close()
listener.close()
"""
CONNECTIONS = 120


def small_tables(
    types: KernelTypes, mode: Mode, pages: dict[Ring, int], *, casts: bool = True, spares: int = 65536
) -> str:
    text = program_text(types, mode, pages, casts=casts)
    for large, small in (
        ("#define SOCKET_BITS 15", "#define SOCKET_BITS 1"),
        ("#define SPARES 65536", f"#define SPARES {spares}"),
        ("#define PAIR_BITS 15", "#define PAIR_BITS 6"),
    ):
        assert text.count(large) == 1
        text = text.replace(large, small)
    return text


@pytest.mark.parametrize("small", [False, True], ids=["as they are", "two sets"])
def test_each_socket_is_followed_from_its_first_state_to_its_end(
    run: Play, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    if small:
        monkeypatch.setattr(source_module, "program_text", small_tables)
    source = KernelSource(frozenset({Group.STATES, Group.TIMERS, Group.PACKETS}))
    source.start(Filter(parents=frozenset({os.getpid()})))
    own = source.own_rings
    seen = run(source, MANY)
    if not own:
        pytest.skip("the tables are the kernel's own maps here")
    now: dict[int, list[str]] = defaultdict(list)
    told: Counter[tuple[str, ...]] = Counter()
    for row in seen.of("socket:state", "socket:destroy"):
        if row["name"] == "socket:state":
            now[row["own_addr"]].append(State(row["new"]).name)
        else:
            told[tuple(now.pop(row["own_addr"]))] += 1
    assert not now
    client = ("SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE")
    server = ("SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE")
    assert told[client] == told[server] == CONNECTIONS
    assert told["LISTEN", "CLOSE"] == 1
    assert len(seen.of("timewait:born")) == CONNECTIONS


def test_a_socket_for_which_there_is_no_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "program_text", partial(small_tables, spares=4))
    source = KernelSource(frozenset({Group.STATES}))
    source.start(Filter(parents=frozenset({os.getpid()})))
    own = source.own_rings
    subprocess.run([sys.executable, "-c", MANY], check=True, timeout=60)
    source.stop()
    if not own:
        pytest.skip("the tables are the kernel's own maps here")
    kept = int((source.drain().heads["kind"] == NUMBER["socket:destroy"]).sum())
    # each is counted once, at its birth: later states are of somebody who is not known
    assert 2 * 3 + 4 <= kept < 2 * CONNECTIONS and kept + source.losses().lost == 2 * CONNECTIONS + 1


THREADS = """
import socket, threading
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
def talk(turns=30):
    for _ in range(turns):
        with socket.create_connection(listener.getsockname()) as peer, listener.accept()[0] as other:
            waiting = threading.Thread(target=peer.recv, args=(9,))
            waiting.start()
            other.send(b"a")
            waiting.join()
threads = [threading.Thread(target=talk) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.parametrize("places", [16384, 2])
def test_each_call_of_each_thread_has_its_end(run: Play, monkeypatch: pytest.MonkeyPatch, places: int) -> None:
    """With two places for all threads most find theirs taken by one that waits."""

    def few_places(types: KernelTypes, mode: Mode, pages: dict[Ring, int], *, casts: bool = True) -> str:
        text = program_text(types, mode, pages, casts=casts)
        assert text.count("#define CALL_PLACES 16384") == 1
        return text.replace("#define CALL_PLACES 16384", f"#define CALL_PLACES {places}")

    monkeypatch.setattr(source_module, "program_text", few_places)
    source = KernelSource(frozenset({Group.STATES, Group.SYSCALLS}))
    source.start(Filter(parents=frozenset({os.getpid()})))
    seen = run(source, THREADS)
    under_way: dict[int, tuple[int, int]] = {}
    told: Counter[int] = Counter()
    for row in seen.of("syscall:enter", "syscall:exit"):
        if row["name"] == "syscall:enter":
            assert row["tid"] not in under_way, "in two calls at once"
            under_way[row["tid"]] = row["call"], row["fd"]
        else:
            call, fd = under_way.pop(row["tid"])
            assert call == row["call"] and (fd == row["fd"] or call == CALL["socket"])
            told[call] += 1
    assert not under_way
    assert told[CALL["socket"]] == 181 and told[CALL["connect"]] == 180 and told[CALL["recvfrom"]] == 180
