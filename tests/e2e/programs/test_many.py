"""A program with thousands of connections at once: every one is told, and what is told at the moment when all are open
is what `ss` counts at that moment."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Final

import pytest

from tests.e2e.conftest import Synfin
from tests.e2e.programs.conftest import living, watched
from tracer.states import State
from tracer.world import World

pytestmark = [pytest.mark.kernel, pytest.mark.needs("unshare", "mount", "ss")]

CROWD: Final = '''
import json, resource, select, socket, subprocess, sys, time
most = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (2 * most + 100, 2 * most + 100))
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
ready = select.epoll()
clients, servers = [], {}
def breathe(i):
    """How much a second can be recorded is not the question here."""
    if i % 50 == 0: time.sleep(0.04)
for i in range(most):
    client = socket.create_connection(listener.getsockname(), 10, (f"127.0.{1 + i // 200}.{1 + i % 200}", 0))
    server, _ = listener.accept()
    clients.append(client); servers[server.fileno()] = server
    ready.register(server, select.EPOLLIN); breathe(i)
for i, client in enumerate(clients):
    client.send(b"hello"); breathe(i)
heard = 0
while heard < most:
    for fd, _ in ready.poll(5, 512):
        heard += len(servers[fd].recv(9)) // 5
mine = f"( sport = :{sys.argv[1]} or dport = :{sys.argv[1]} )"
told = subprocess.run(["ss", "-Htan", mine], capture_output=True, text=True, check=True).stdout
print(json.dumps({"time": time.time_ns(), "states": [line.split()[0] for line in told.splitlines()]}), flush=True)
for i, (client, server) in enumerate(zip(clients, servers.values(), strict=True)):
    client.close()
    assert server.recv(1) == b""
    server.close(); breathe(i)
'''


@pytest.mark.parametrize("most", [500, pytest.param(5000, marks=pytest.mark.slow)])
def test_a_program_with_many_connections(synfin: Synfin, free_port: int, most: int) -> None:
    timeline, world, out = watched(synfin, free_port, sys.executable, "-c", CROWD, str(free_port), str(most))
    told = json.loads(out)
    assert Counter(told["states"]) == {"LISTEN": 1, "ESTAB": 2 * most}
    then = World()
    for event in timeline.events():
        if event.time > told["time"]:
            break
        then.apply(event)
    assert Counter(living(then).values()) == {State.ESTABLISHED.name: 2 * most}
    assert len(world.connections) == most
    (listener,) = (view for view in then.listeners.values() if view.local[1] == free_port)
    assert (listener.accept_queue, listener.overflows) == (0, 0)
    ends = Counter(view.state for view in world.sockets.values() if view.conn)
    assert ends == {State.TIME_WAIT: most, State.CLOSE: most}
