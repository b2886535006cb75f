"""Memory while connections come and go: `synfin analyze` on a million short connections, sampled as it reads.

    python bench/short_connections.py [CONNECTIONS] [OPTION ...]      default: 1000000, with states and without

A capture is made in a temporary directory (seven packets of 54 bytes a connection: handshake, one request, two FINs;
each from a port and an address of its own, a thousandth of a second apart) and removed again. The command's resident
memory is printed at each tenth of the file.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parents[1]
SYN, ACK, PSH_ACK, FIN_ACK = 0x02, 0x10, 0x18, 0x11
REQUEST: Final = 100
"""Bytes of payload, which the snapshot length leaves out."""
SENT: Final = (
    (0, SYN, 0, 0, 0),
    (1, SYN | ACK, 0, 1, 0),
    (0, ACK, 1, 1, 0),
    (0, PSH_ACK, 1, 1, REQUEST),
    (1, FIN_ACK, 1, 1 + REQUEST, 0),
    (0, FIN_ACK, 1 + REQUEST, 2, 0),
    (1, ACK, 2, 2 + REQUEST, 0),
)
"""From the server?, flags, sequence number, acknowledgment, payload."""
CHUNK: Final = 50_000
TENTHS: Final = 10


def frame(server: int, flags: int, seq: int, ack: int, length: int) -> bytes:
    """A pcap record of one packet, addresses and ports yet to be filled in."""
    ip = struct.pack(">BBHHHBBH8x", 0x45, 0, 40 + length, 0, 0, 64, 6, 0)
    tcp = struct.pack(">4xIIBBHHH", seq, ack, 0x50, flags, 64240, 0, 0)
    head = struct.pack("<8xII", 54, 54 + length)
    return head + bytes(12) + b"\x08\x00" + ip + tcp


def generate(path: Path, connections: int) -> None:
    """Write the capture."""
    one = np.frombuffer(b"".join(frame(*packet) for packet in SENT), np.uint8).reshape(len(SENT), 70)
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 54, 1))
        for first in range(0, connections, CHUNK):
            number = np.arange(first, min(first + CHUNK, connections), dtype=np.uint32)
            rows = np.tile(one, (len(number), 1, 1))
            moments = number[:, None].astype(np.uint64) * 1000 + np.arange(len(SENT), dtype=np.uint64) * 10
            for at, column in ((0, moments // 10**6), (4, moments % 10**6)):
                rows[:, :, at : at + 4] = column.astype("<u4")[..., None].view(np.uint8)
            client = (0x0A000000 + number // 60_000).astype(">u4")[:, None].view(np.uint8)
            port = (1024 + number % 60_000).astype(">u2")[:, None].view(np.uint8)
            for place, (server, *_) in enumerate(SENT):
                address, number_at = (46, 52) if server else (42, 50)
                rows[:, place, address : address + 4] = client
                rows[:, place, number_at : number_at + 2] = port
                rows[:, place, (42 if server else 46) : (46 if server else 50)] = (192, 168, 0, 1)
                rows[:, place, (50 if server else 52) : (52 if server else 54)] = (0, 80)
            file.write(rows.tobytes())


def resident(pid: int) -> float:
    """MB of the process now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def position(pid: int, path: Path) -> int:
    """How far the process has read the file; 0 while it has not opened it."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if entry.resolve() == path:
            return int(Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().split()[1])
    return 0


def watch(path: Path, *options: str) -> list[float]:
    """MB at each tenth of the file while the command analyses it."""
    command = [sys.executable, "-m", "tui.cli", "analyze", "--connections", *options, str(path)]
    size = path.stat().st_size
    found: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)}) as child:
        while child.poll() is None:
            try:
                done = position(child.pid, path)
                while len(found) < TENTHS and done >= size * (len(found) + 1) // TENTHS:
                    found.append(resident(child.pid))
            except OSError:
                break  # it has just ended
            time.sleep(0.002)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return found


def main() -> None:
    """The command line."""
    connections = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    runs = [sys.argv[2:]] if sys.argv[2:] else [[], ["--no-states"]]
    with tempfile.TemporaryDirectory(prefix="synfin-bench-") as folder:
        path = (Path(folder) / "short.pcap").resolve()
        generate(path, connections)
        print(f"{connections:,} connections, {len(SENT) * connections:,} packets, {path.stat().st_size / 1e6:,.0f} MB")
        for options in runs:
            before, spent = time.perf_counter(), os.times()
            found = watch(path, *options)
            after = os.times()
            cpu = after.children_user + after.children_system - spent.children_user - spent.children_system
            wall = time.perf_counter() - before
            print(f"analyze --connections {' '.join(options)}: {wall:.1f} s, of CPU {cpu:.1f} s, "
                  f"{1e6 * cpu / connections:.1f} µs a connection")  # fmt: skip
            print(f"MB at each tenth of the file: {' '.join(f'{mb:.0f}' for mb in found)}")


if __name__ == "__main__":
    main()
