"""How fast captures are analysed, beside the tools everybody has: one run, one machine, one file, ratios.

    python bench/replay.py [--packets 1|10] [--keep DIR] [FILE]

Without FILE the bench capture of the corpora is used: as it is (``--packets 1``, 930,897 packets) or eleven times over
with addresses and times shifted (``--packets 10``, 10.2 million), written to a temporary directory and removed. Each
tool runs once in a fresh process and its output goes to /dev/null; the first line warms the page cache. synfin reads,
decodes and analyses every packet (the columns tshark -T fields prints) and counts the connections.
"""

from __future__ import annotations

import argparse
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
CORPORA: Final = Path(os.environ.get("SYNFIN_CORPORA", ROOT.parent / "shared" / "corpora"))
TIMES: Final = 11

ONLY_TCP: Final = (
    *("--disable-protocol", "ALL"),
    *(word for name in ("frame", "eth", "ethertype", "ip", "ipv6", "tcp") for word in ("--enable-protocol", name)),
)
"""tshark at its fastest: nothing above TCP is looked at."""

FIELDS: Final = (
    *("frame.number", "tcp.stream", "tcp.completeness"),
    *(
        f"tcp.analysis.{name}"
        for name in (
            *("retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order", "duplicate_ack"),
            *("zero_window", "window_full", "keep_alive", "keep_alive_ack", "window_update", "lost_segment"),
            *("ack_lost_segment", "zero_window_probe", "zero_window_probe_ack", "reused_ports", "bytes_in_flight"),
            *("ack_rtt", "initial_rtt", "push_bytes_sent", "duplicate_ack_num"),
        )
    ),
)
"""What synfin works out too, as tshark's options name it."""

SYNFIN: Final = "synfin"

COMPILED: Final = ("tracer.capture.compiled", "tracer.replay.compiled", "tracer.replay.infer_compiled")

TOOLS: Final[dict[str, tuple[str, ...]]] = {
    "cat": ("cat", "{file}"),
    "tcpdump -w /dev/null": ("tcpdump", "-r", "{file}", "-w", "/dev/null"),
    SYNFIN: (sys.executable, str(Path(__file__).resolve()), "--analyse", "{file}"),
    "tcptrace": ("tcptrace", "{file}"),
    "tcptrace -l -r": ("tcptrace", "-l", "-r", "{file}"),
    "argus": ("argus", "-r", "{file}", "-w", "/dev/null"),
    "tshark -z conv,tcp": ("tshark", "-n", "-q", "-r", "{file}", "-z", "conv,tcp", *ONLY_TCP),
    f"tshark -T fields x {len(FIELDS)}": (
        *("tshark", "-n", "-r", "{file}", "-T", "fields", *ONLY_TCP),
        *(word for name in FIELDS for word in ("-e", name)),
    ),
}
"""What is run, by the name it is printed under."""


class Cost(NamedTuple):
    """What one run took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of user and system time."""
    resident: float
    """MB at most."""


def analyse(path: str) -> None:
    """What the synfin line measures."""
    import numpy as np

    from tracer.capture import open_capture
    from tracer.replay import Replay, analysed

    replay = Replay(expected=Path(path).stat().st_size // 200)
    packets = findings = over = 0
    with open_capture(path) as capture:
        for _, analysis, gone in analysed(replay, (block.segments for block in capture.blocks()), 2048):
            packets += len(analysis)
            findings += int(np.count_nonzero(analysis["findings"]))
            over += len(gone)
    over += len(replay.finished()) + len(replay.connections())
    print(f"{packets} packets, {findings} with findings, {over} connections")


def multiply(target: Path, times: int) -> None:
    """Write the bench capture (a little-endian pcap of Ethernet frames) several times over, shifted each time."""
    import numpy as np

    with lzma.open(CORPORA / "bench" / "mixed-931k.pcap.xz") as file:
        source = file.read()
    octets = np.frombuffer(source, np.uint8).copy()
    starts = []
    at = 24
    while at < len(octets):
        starts.append(at)
        at += 16 + int.from_bytes(source[at + 8 : at + 12], "little")
    records = np.array(starts)
    seconds = np.frombuffer(source, np.uint8)[records[:, None] + np.arange(4)].copy().view("<u4")[:, 0]
    span = int(seconds.max() - seconds.min()) + 1
    four = records[octets[records + 16 + 12] == 0x08] + 16 + 14
    six = records[octets[records + 16 + 12] == 0x86] + 16 + 14
    with target.open("wb") as file:
        file.write(source[:24])
        for round_ in range(times):
            octets[records[:, None] + np.arange(4)] = (seconds + span * round_).astype("<u4")[:, None].view(np.uint8)
            for heads, first, second in (
                (four, 13, 17),
                (six, 12, 28),
            ):  # a byte of each address that is the same in all
                octets[heads + first] += 1 if round_ else 0
                octets[heads + second] += 1 if round_ else 0
            file.write(octets[24:].tobytes())


def measure(command: tuple[str, ...], file: Path) -> Cost | str:
    """Run one tool on the file; a word where it cannot be run."""
    if shutil.which(command[0]) is None:
        return "not installed"
    words = [word.replace("{file}", str(file)) for word in command]
    before = time.perf_counter()
    child = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - before
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        return f"failed ({child.returncode})"
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def report(file: Path, packets: int, only: list[str]) -> None:
    """Run the tools and print a table."""
    chosen = {
        name: cmd for name, cmd in TOOLS.items() if not only or name in ("cat", SYNFIN) or name.split()[0] in only
    }
    measure(TOOLS["cat"], file)
    costs = {}
    for name, command in chosen.items():
        costs[name] = measure(command, file)
        print(f"  {name} ...", file=sys.stderr, flush=True)
    ours = costs[SYNFIN]
    print(f"{file.name}: {packets:,} packets, {file.stat().st_size / 1e6:,.0f} MB")
    print(f"{'':24} {'wall s':>8} {'CPU s':>8} {'RSS MB':>8} {'kpackets/s':>11} {'synfin is':>12}")
    for name, cost in costs.items():
        if isinstance(cost, str):
            print(f"{name:24} {cost}")
            continue
        ratio = f"{cost.wall / ours.wall:.1f} x" if isinstance(ours, Cost) else ""
        speed = packets / cost.wall / 1000
        print(f"{name:24} {cost.wall:8.2f} {cost.cpu:8.2f} {cost.resident:8.0f} {speed:11,.0f} {ratio:>12}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--packets", choices=("1", "10"), default="10", help="millions (default 10)")
    parser.add_argument("--only", action="append", default=[], help="run only this tool beside cat and synfin")
    parser.add_argument("--keep", type=Path, help="directory to keep the capture in")
    parser.add_argument("--analyse", help=argparse.SUPPRESS)
    parser.add_argument("--multiply", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    times = TIMES if chosen.packets == "10" else 1
    if chosen.analyse:
        analyse(chosen.analyse)
        return
    if chosen.multiply:
        multiply(Path(chosen.multiply), times)
        return
    subprocess.run(  # compiled once, as setting up does
        [sys.executable, "-m", "tracer.machine_code", *COMPILED],
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    if chosen.file:
        report(chosen.file, 0, chosen.only)
        return
    with tempfile.TemporaryDirectory(prefix="synfin-bench-") as folder:
        target = (chosen.keep or Path(folder)) / f"mixed-x{times}.pcap"
        if not target.exists():
            # in another process: a child's peak size is never less than its parent's
            again = [sys.executable, __file__, "--packets", chosen.packets, "--multiply", str(target)]
            subprocess.run(again, check=True)
        report(target, 930_897 * times, chosen.only)


if __name__ == "__main__":
    main()
