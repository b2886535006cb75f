"""Every lint provoked on the real kernel, each beside a twin that does it right and must not be spoken of."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.kernel.test_trouble import STAGE
from tracer.kernel.source import Filter, KernelSource
from tracer.lints import LINTS, check
from tracer.lints.basis import Finding, Limits
from tracer.session import Session

pytestmark = [pytest.mark.kernel, pytest.mark.needs("nft")]

MS: Final = 1_000_000
QUICK: Final = Limits(close_wait=150 * MS, leak=4, zero_window=150 * MS, unaccepted=150 * MS, timewait_pile=12, spin=50,
                      lost_edge=150 * MS)  # fmt: skip
"""Limits that a test can afford to wait for."""
MORE: Final = """
import os, resource, select, threading
def handle(server):
    if WRONG: kept.append(server)
    else: server.close()
kept = []
def sysctl(name, value): open("/proc/sys/net/" + name, "w").write(value)
"""

CASES: Final[dict[str, str]] = {
    "close-wait": """
client, server = pair(); client.close(); server.recv(1)
if WRONG: time.sleep(0.3)
server.close()
""",
    "fd-leak": """
for _ in range(5):
    client, server = pair(); client.close(); server.recv(1); handle(server)
time.sleep(0.3); [one.close() for one in kept]
""",
    "accept-overflow": """
small = socket.create_server(("127.0.0.1", 8081), backlog=1)
clients = []
for _ in range(4):
    client = socket.socket(); client.setblocking(False); client.connect_ex(small.getsockname()); clients.append(client)
    time.sleep(0.02)
    if not WRONG: kept.append(small.accept()[0])
""",
    "no-accept": """
client = socket.create_connection(listener.getsockname())
if WRONG: time.sleep(0.4)
server, _ = listener.accept()
""",
    "syn-retransmitted": """
if WRONG: drop("input", "tcp dport 8080 tcp flags syn limit rate 1/minute burst 1 packets")
client, server = pair()
""",
    "retransmission-timeout": """
client, server = pair()
if WRONG: drop("input", "tcp dport 8080")
client.send(b"x" * 100); time.sleep(0.8)
""",
    "zero-window": """
client, server = pair()
client.setblocking(False)
try:
    while True: client.send(b"x" * 65536)
except BlockingIOError: pass
until = time.monotonic() + 1.5
server.settimeout(0.3)
try:
    while not WRONG and server.recv(1 << 20): pass
except TimeoutError: pass
if WRONG: time.sleep(0.8)
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
""",
    "reset-unread": """
client, server = pair(); client.send(b"x" * 100); time.sleep(0.05)
if not WRONG: server.recv(200)
server.close(); time.sleep(0.05)
""",
    "dead-peer": """
for _ in range(2):  # two, apart: a timer that fires while it interrupts some process may go unseen
    client, server = pair(); kept += client, server
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 1)):
        client.setsockopt(socket.IPPROTO_TCP, option, value)
    time.sleep(0.1)
if WRONG: drop("input", "tcp dport 8080")
time.sleep(2.4)
""",
    "dropped": """
client, server = pair()
if WRONG: drop("input", "tcp dport 8080")
client.send(b"x"); time.sleep(0.1)
""",
    "timewait-pile": """
for _ in range(14):
    client, server = pair()
    if not WRONG: client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close(); server.recv(1) if WRONG else None; server.close()
""",
    "port-pressure": """
sysctl("ipv4/ip_local_port_range", "40000 40003" if WRONG else "40000 40009")
for _ in range(6):
    try: kept.append(pair())
    except OSError as error: assert WRONG and error.errno == errno.EADDRNOTAVAIL
""",
    "small-write-stall": """
client, server = pair()
if not WRONG: client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def serve():
    for _ in range(40):
        got = b""
        while len(got) < 20: got += server.recv(100)
        server.send(b"reply")
thread = threading.Thread(target=serve); thread.start()
for _ in range(40):
    client.send(b"x" * 10); client.send(b"y" * 10); client.recv(100)
thread.join()
""",
    "spinning-epoll": """
client, server = pair(); client.send(b"x" * 10); time.sleep(0.02)
epoll = select.epoll(); epoll.register(server, select.EPOLLIN)
for _ in range(80):
    epoll.poll(1)
    if not WRONG: server.recv(1); client.send(b"x")
""",
    "lost-edge": """
client, server = pair(); server.setblocking(False)
epoll = select.epoll(); epoll.register(server, select.EPOLLIN | select.EPOLLET)
client.send(b"x" * 100); epoll.poll(1)
server.recv(10)
if not WRONG:
    try:
        while True: server.recv(10)
    except BlockingIOError: pass
epoll.poll(0.4)
""",
}


@pytest.fixture
def kernel() -> Iterator[KernelSource]:
    source = KernelSource()
    source.start(Filter(parents=frozenset({os.getpid()})))
    yield source
    source.stop()


def findings(kernel: KernelSource, name: str, *, wrong: bool) -> list[Finding]:
    """What the lints say of a run of the case, in a network of its own."""
    before = kernel.losses().lost
    kernel.drain()
    session = Session([kernel])
    text = STAGE + MORE + f"WRONG = {wrong}\n" + CASES[name]
    subprocess.run([sys.executable, "-c", text], check=True, timeout=30)
    time.sleep(0.05)
    while session.pump(final=True):
        pass
    assert kernel.losses().lost == before
    return check(session.timeline, QUICK)


def test_every_lint_has_a_case() -> None:
    assert set(CASES) == {lint.name for lint in LINTS}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_told_and_what_is_right_is_not(kernel: KernelSource, name: str) -> None:
    twin = findings(kernel, name, wrong=False)  # first: what was left behind by the other goes on for a while
    assert name not in {finding.lint for finding in twin}, [finding.words for finding in twin]
    assert name in {finding.lint for finding in findings(kernel, name, wrong=True)}
