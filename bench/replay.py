"""How fast captures are analysed, beside the tools everybody has: one run, one machine, one file, ratios.

    python bench/replay.py [--packets 1|10] [--keep DIR] [FILE]

Without FILE the bench capture of the corpora is used: as it is (``--packets 1``, 930,897 packets) or eleven times over
with addresses and times shifted (``--packets 10``, 10.2 million), written to a temporary directory and removed. Each
tool runs in a fresh process, and its output goes to /dev/null; a first reading warms the page cache. What each does is
printed below the table, and below that which targets are met.

What is fair. Everybody reads the same file and writes what he found; nobody resolves names. A table of connections is
compared with a table of connections: tcptrace with no option prints a line for each, and works out neither RTTs nor
retransmissions' times (``-l -r`` does, and takes twice as long), argus has no configuration file and writes its usual
flow records, tshark has every dissector off but those below and of TCP, which its conversations need. synfin finds out
more than any of them meanwhile (all of Wireshark's analysis for every packet), and the states of both ends only where
nothing says ``--no-states``. tshark's columns are compared with ``--packets --csv``: the same rows, the same columns
and half a dozen more, as text to the same /dev/null. A line of its own has the columns worked out and not printed, as a
program would take them. tshark needs minutes for those of 10 million packets, and is let to its end; with ``--packets
1`` it is done within half a minute, at about the same ratio. Seconds of a processor count the kernel's too. On a busy
machine they are the better measure; synfin has two threads, so wall clocks say more of an idle one.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
CORPORA: Final = Path(os.environ.get("SYNFIN_CORPORA", ROOT.parent / "shared" / "corpora"))
SOURCES: Final = tuple(ROOT / name for name in ("tracer", "scenarios", "tui"))
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

COLUMNS: Final = "synfin, columns"
TABLE: Final = "synfin analyze"
STATES: Final = "synfin analyze + states"
PRINTED: Final = "synfin --packets --csv"
CONVERSATIONS: Final = "tshark -z conv,tcp"
TSHARK_FIELDS: Final = f"tshark -T fields x {len(FIELDS)}"

COMPILED: Final = (
    *("tracer.capture.compiled", "tracer.replay.compiled", "tracer.replay.infer_compiled"),
    "tracer.export.rows_compiled",
)
"""What is compiled once on a machine, as setting up does."""


class Tool(NamedTuple):
    """One line of the table."""

    command: tuple[str, ...]
    does: str
    """With the packets and their connections."""


TOOLS: Final[dict[str, Tool]] = {
    "cat": Tool(("cat", "{file}"), "reads the file"),
    "tcpdump -w /dev/null": Tool(("tcpdump", "-r", "{file}", "-w", "/dev/null"), "reads and writes packets"),
    COLUMNS: Tool(
        (sys.executable, str(Path(__file__).resolve()), "--analyse", "{file}"),
        f"decodes; works out the {len(FIELDS)} columns of the last line for every packet; connections in rows; no text",
    ),
    TABLE: Tool(
        (sys.executable, "-m", "tui.cli", "analyze", "--connections", "--no-states", "{file}"),
        "the same, and prints a table of connections; --no-states leaves out the states",
    ),
    STATES: Tool(
        (sys.executable, "-m", "tui.cli", "analyze", "--connections", "{file}"),
        "the same with the states of both ends of every connection, and how long it was in each",
    ),
    PRINTED: Tool(
        (sys.executable, "-m", "tui.cli", "analyze", "--packets", "--csv", "{file}"),
        "prints 29 columns of every packet, among them all of the last line",
    ),
    "tcptrace": Tool(("tcptrace", "{file}"), "prints a line for each connection"),
    "tcptrace -l -r": Tool(("tcptrace", "-l", "-r", "{file}"), "prints each connection's statistics, RTTs included"),
    "argus": Tool(("argus", "-r", "{file}", "-w", "/dev/null"), "writes flow records"),
    CONVERSATIONS: Tool(
        ("tshark", "-n", "-q", "-r", "{file}", "-z", "conv,tcp", *ONLY_TCP), "prints a table of connections"
    ),
    TSHARK_FIELDS: Tool(
        (
            *("tshark", "-n", "-r", "{file}", "-T", "fields", *ONLY_TCP),
            *(word for name in FIELDS for word in ("-e", name)),
        ),
        "prints these columns of every packet",
    ),
}
"""What is run, by the name it is printed under."""


class Target(NamedTuple):
    """How many times as long another tool is to take."""

    other: str
    ours: str
    ratio: float


TARGETS: Final[dict[str, tuple[Target, ...]]] = {
    "10": (
        Target(CONVERSATIONS, TABLE, 25),
        Target(TSHARK_FIELDS, PRINTED, 12),
        Target("tcptrace", TABLE, 2),
        Target("argus", TABLE, 2),
    ),
    "1": (Target("tcptrace", TABLE, 1), Target(TSHARK_FIELDS, PRINTED, 12)),
}
"""By millions of packets."""

MOST: Final = 300
"""MB that synfin may take for 10 million packets."""


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


def _environment() -> dict[str, str]:
    """Of a process that finds the project, and the bytecode that it would otherwise make anew at each start."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(ROOT)}


def measure(command: tuple[str, ...], file: Path) -> Cost | str:
    """Run one tool on the file; a word where it cannot be run."""
    if shutil.which(command[0]) is None:
        return "not installed"
    words = [word.replace("{file}", str(file)) for word in command]
    before = time.perf_counter()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment())
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - before
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        return f"failed ({child.returncode})"
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def best(name: str, file: Path, runs: int) -> Cost | str:
    """The quickest of some runs."""
    costs = [measure(TOOLS[name].command, file) for _ in range(runs)]
    return min(costs, key=lambda cost: (isinstance(cost, str), cost if isinstance(cost, str) else cost.wall))


def report(file: Path, packets: int, only: list[str], runs: int, millions: str = "") -> None:
    """Run the tools and print a table; ``millions`` of packets have targets."""
    ours = (TABLE, COLUMNS)
    chosen = [name for name in TOOLS if not only or name in ("cat", *ours, STATES, PRINTED) or name.split()[0] in only]
    measure(TOOLS["cat"].command, file)
    costs = {}
    for name in chosen:
        costs[name] = best(name, file, 1 if name.startswith("tshark") else runs)
        print(f"  {name} ...", file=sys.stderr, flush=True)
    print(f"{file.name}: {packets:,} packets, {file.stat().st_size / 1e6:,.0f} MB; best of {runs}, tshark of 1")
    heads = ("wall s", "CPU s", "RSS MB", "kpackets/s", "/ analyze", "/ columns", "CPU / an.", "CPU / col.")
    print(f"{'':24}" + "".join(f" {head:>11}" for head in heads))
    for name, cost in costs.items():
        if isinstance(cost, str):
            print(f"{name:24} {cost}")
            continue
        cells = [f"{cost.wall:.2f}", f"{cost.cpu:.2f}", f"{cost.resident:.0f}", f"{packets / cost.wall / 1000:,.0f}"]
        for column in ("wall", "cpu"):
            for own in ours:
                mine = costs[own]
                cells.append("" if isinstance(mine, str) else f"{getattr(cost, column) / getattr(mine, column):.1f} x")
        print(f"{name:24}" + "".join(f" {cell:>11}" for cell in cells))
    for name in chosen:
        print(f"{name}: {TOOLS[name].does}")
    for line in judged(costs, millions):
        print(line)


def judged(costs: dict[str, Cost | str], millions: str) -> Iterator[str]:
    """What became of the targets for so many packets, where everything that one speaks of has run."""
    for other, ours, ratio in TARGETS.get(millions, ()):
        theirs, own = costs.get(other), costs[ours]
        if isinstance(theirs, Cost) and isinstance(own, Cost):
            found = (("wall", theirs.wall / own.wall), ("CPU", theirs.cpu / own.cpu))
            words = ", ".join(f"{name} {value:.1f} x ({_met(value >= ratio)})" for name, value in found)
            yield f"target {other} >= {ratio:g} x {ours}: {words}"
    if millions == "10":
        for name in (TABLE, STATES, COLUMNS):
            if isinstance(cost := costs[name], Cost):
                yield f"target {name} < {MOST} MB: {cost.resident:.0f} MB ({_met(cost.resident < MOST)})"


def _met(there: bool) -> str:
    return "met" if there else "not met"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--packets", choices=("1", "10"), default="10", help="millions (default 10)")
    parser.add_argument(
        "--only", action="append", default=[], help="run only this tool beside cat and synfin (again for more)"
    )
    parser.add_argument("--runs", type=int, default=1, help="of each tool but tshark; the quickest counts (default 1)")
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
    # Compiled once: the loops, as setting up does, and Python's own bytecode, as the first run does.
    for command in (["tracer.machine_code", *COMPILED], ["compileall", "-q", *map(str, SOURCES)]):
        subprocess.run([sys.executable, "-m", *command], check=False, env=_environment())
    if chosen.file:
        report(chosen.file, 0, chosen.only, chosen.runs)
        return
    with tempfile.TemporaryDirectory(prefix="synfin-bench-") as folder:
        target = (chosen.keep or Path(folder)) / f"mixed-x{times}.pcap"
        if not target.exists():
            # in another process: a child's peak size is never less than its parent's
            again = [sys.executable, __file__, "--packets", chosen.packets, "--multiply", str(target)]
            subprocess.run(again, check=True)
        report(target, 930_897 * times, chosen.only, chosen.runs, chosen.packets)


if __name__ == "__main__":
    main()
