"""What the Go probes cost: processor time of a Go echo server for each round and each hit, with and without them.

Processor time of the server alone (schedstat of its threads), the probed and the plain server by turns, so that what
else the machine does weighs on both alike. Needs root and go.

    python bench/go_probes.py [ROUNDS]
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tracer.kernel.source import Filter, KernelSource
from tracer.runtimes.golang import GoSource

ECHO = Path(__file__).resolve().parents[1] / "scenarios" / "servers" / "go" / "echo.go"
TURNS = 5


def processor_ns(pid: int) -> int:
    """Time on a processor of all threads of a process so far."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def rounds(port: int, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            client.sendall(b"hello")
            client.recv(5)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "echo"
        subprocess.run(["go", "build", "-o", program, str(ECHO)], check=True, env=os.environ | {"GO111MODULE": "off"})
        with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            rounds(port, 200)
            plain, probed, hits, records, missing = [], [], [], [], []
            for _ in range(TURNS):
                before = processor_ns(server.pid)
                rounds(port, count)
                plain.append((processor_ns(server.pid) - before) / count)
                kernel = KernelSource(frozenset())
                kernel.start(Filter(processes=frozenset({server.pid})))
                go = GoSource(kernel)
                go.add(f"/proc/{server.pid}/exe")
                try:
                    before = processor_ns(server.pid)
                    for _ in range(10):
                        rounds(port, count // 10)
                        go.drain()
                    probed.append((processor_ns(server.pid) - before) / count)
                    hits.append(go.hits / count)
                    records.append(go.losses().written / count)
                    missing.append(go.losses().lost)
                    began = time.monotonic()
                finally:
                    go.stop()
                    kernel.stop()
            server.kill()
    each = [(with_probes - without) / hit for with_probes, without, hit in zip(probed, plain, hits, strict=True)]
    print(f"a round of the plain server:  {statistics.median(plain) / 1000:6.1f} us of processor time")
    print(f"a round of the probed server: {statistics.median(probed) / 1000:6.1f} us")
    print(f"hits a round {statistics.median(hits):.1f}, events {statistics.median(records):.1f}, lost {sum(missing)}")
    print(f"a hit: {statistics.median(each) / 1000:.2f} us ({min(each) / 1000:.2f} to {max(each) / 1000:.2f})")
    print(f"taking off took {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
