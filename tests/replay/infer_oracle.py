"""What a real kernel did, to hold the inference against: corpora/kernel_oracle, read into one history per connection.

The kernel's tracepoint (inet_sock_set_state) is exact but knows sockets only. A request sock shows in it when it
becomes a socket, and a TIME_WAIT object not at all: there the socket goes from FIN_WAIT2 or CLOSING to CLOSE when it
hands over (tcp_time_wait()). A poll of /proc/net/tcp every 1-5 ms shows those two, unless they are shorter than the
poll. So a history is the tracepoint's, with handovers read as what they are; the poll is compared by time.

``python -m tests.replay.infer_oracle`` prints the comparison of every run.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tracer.capture import open_capture
from tracer.capture.events import CaptureSource
from tracer.identity import Identities
from tracer.kinds import Certainty
from tracer.replay.infer_events import StateEvents
from tracer.replay.infer_lives import Life
from tracer.segments import FIN, RST, SYN
from tracer.states import State
from tracer.timeline import Event, Timeline

POLL: Final = 0.02
"""Seconds by which a row of the poll may lie off: its period, and the reading of the table itself."""
NEAR: Final = 0.001
"""Seconds within which two rows of the tracepoints belong together."""
REACTION: Final = 0.00008
"""Seconds in which a kernel is through with a segment it has received."""

Tuple = tuple[str, int, str, int]
"""Local address and port, the peer's address and port."""


class Reason(NamedTuple):
    """Why packets cannot tell what a kernel did: one class of exceptions. Captures without the address family."""

    name: str
    why: str
    differ: tuple[str, ...] = ()
    """Where the sequence of states differs."""
    late: tuple[str, ...] = ()
    """Where the sequence is the same, but a state begins at another time."""


REASONS: Final = (
    Reason(
        "close before the data is out",
        "`close()` or `shutdown()` came while data was still waiting for window or congestion window. The kernel is in "
        'FIN_WAIT1 from the call on (`tcp_close_state()`; RFC 9293 section 3.10.4: "in any case, enter FIN-WAIT-1"), '
        "but the FIN queues behind the data. Where a RST or the end of the capture comes first, FIN_WAIT1 is never "
        "seen; where the FIN still leaves, it is seen late.",
        (
            "tcp__fast_recovery__prr-ss-ack-below-snd_una-cubic",
            "tcp__mss__mss-setsockopt-tcp_maxseg-client",
            "tcp__mss__mss-setsockopt-tcp_maxseg-server",
            "tcp__shutdown__shutdown-rdwr-send-queue-ack-close",
            "tcp__slow_start__slow-start-ack-per-4pkt",
        ),
        (
            "tcp__cubic__cubic-bulk-166k-idle-restart",
            "tcp__fast_recovery__prr-ss-10pkt-lost-1",
            "tcp__fast_retransmit__fr-4pkt-fack-last-mss",
            "tcp__notsent_lowat__notsent-lowat-default",
            "tcp__shutdown__shutdown-rdwr-write-queue-close",
        ),
    ),
    Reason(
        "SYN held back",
        "With TCP_FASTOPEN_CONNECT the socket is in SYN_SENT from `connect()` on, but its SYN waits for the first "
        "data (`tcp_v4_connect()`, `tcp_sendmsg_fastopen()`).",
        late=("tcp__fastopen__client__nonblocking-connect-bypass",),
    ),
    Reason(
        "closed without a segment",
        "An ICMP error (`tcp_v4_err()`) or TCP_USER_TIMEOUT (`tcp_keepalive_timer()`) closed the socket; no segment "
        "says so until the RST that answers the next one.",
        late=(
            "tcp__fastopen__server__icmp-before-accept",
            "tcp__fastopen__server__opt34__icmp-before-accept",
            "tcp__user_timeout__user-timeout-probe",
        ),
    ),
    Reason(
        "slow poll",
        "Not the inference: the poll's row is stamped 50 ms before the SYN that it is about.",
        late=("tcp__fast_recovery__prr-ss-ack-below-snd_una-cubic",),
    ),
)
"""All exceptions."""


class Row(NamedTuple):
    """One row of a states file."""

    source: str
    time: float
    event: str
    who: Tuple
    old: str
    new: str


@dataclass
class History:
    """One connection as the kernel's own end lived it."""

    states: list[str] = field(default_factory=list)
    """In order, the state before the first change included."""
    poll: list[tuple[float, str]] = field(default_factory=list)
    """What the poll saw change: time and new state, "-" when it is not in the table any more."""


def read_rows(path: Path) -> list[Row]:
    """The rows of a states file, in order of time."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [
            Row(
                one["source"],
                float(one["epoch"]),
                one["event"],
                (one["local_ip"], int(one["local_port"]), one["remote_ip"], int(one["remote_port"])),
                one["old"],
                one["new"],
            )
            for one in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]
    return sorted(rows, key=lambda row: row.time)


def timeline(path: Path) -> Timeline:
    """A capture with inferred states, by the same way that a session goes."""
    line, identities, states = Timeline(), Identities(), StateEvents()
    source = CaptureSource(open_capture(path))
    while not source.finished:
        batch = source.drain()
        identities.resolve(batch)
        line.append(states.extend(batch))
    source.stop()
    return line


def truth(rows: list[Row], packets: list[Event]) -> dict[Tuple, History]:
    """The kernel's history of each connection in the capture, up to the end of what the capture shows of it."""
    used: dict[Tuple, list[Event]] = defaultdict(list)
    for packet in packets:
        used[sender(packet)].append(packet)
        used[receiver(packet)].append(packet)
    found: dict[Tuple, History] = defaultdict(History)
    begun: set[Tuple] = set()
    for row in rows:
        who = row.who if row.who[1] else bound(row, packets, begun)
        if who not in used or cut_off(row, who, used[who]):
            continue
        history = found[who]
        if row.source == "proc":
            history.poll.append((row.time, row.new))
        elif row.event == "inet_sock_set_state" and row.old != row.new:
            if not history.states or history.states[-1] in ("CLOSE", "TIME_WAIT"):
                history.states.append(row.old)
            history.states.append(row.new)
            if row.new == "CLOSE" and row.old in ("FIN_WAIT2", "CLOSING") and not by_reset(row, rows):
                history.states.pop()
                hand_over(history, row, who, used[who])
    for history in found.values():
        complete(history)
    return {who: history for who, history in found.items() if history.states}


def cut_off(row: Row, who: Tuple, packets: list[Event]) -> bool:
    """Whether the row lies behind the connection's last packet, and is not what the kernel made of that."""
    last = packets[-1].time / 1e9
    if row.source == "proc":
        return row.time > last + POLL
    heard = [packet.time / 1e9 for packet in packets if receiver(packet) == who and packet.time / 1e9 <= row.time]
    return row.time > last and (not heard or row.time > heard[-1] + REACTION)


def by_reset(row: Row, rows: list[Row]) -> bool:
    """Whether a socket was closed by a reset, not by a handover."""
    return any(
        other.event in ("tcp_receive_reset", "tcp_send_reset")
        and other.who == row.who
        and abs(other.time - row.time) < NEAR
        for other in rows
    )


def hand_over(history: History, row: Row, who: Tuple, packets: list[Event]) -> None:
    """A TIME_WAIT object takes over: from CLOSING in TIME_WAIT, else there once the peer's FIN is acknowledged."""
    ends = {(p["seq"] + p["length"] + 1) & 0xFFFFFFFF for p in packets if p["flags"] & FIN and receiver(p) == who}
    acknowledged = any(p["ack"] in ends for p in packets if sender(p) == who and not p["flags"] & RST)
    if row.old == "CLOSING" or acknowledged:
        history.states.append("TIME_WAIT")


def complete(history: History) -> None:
    """What only the poll shows: request socks, what the tracepoint lost, and the end of a TIME_WAIT object."""
    polled: list[str] = []
    for _, state in history.poll:
        if not polled or polled[-1] == "CLOSE":
            polled.append("LISTEN")
        polled.append("CLOSE" if state == "-" else state)
    if not history.states:
        if polled[1:2] == ["SYN_RECV"]:
            history.states = polled
    elif history.states[0] in polled and history.states[0] not in ("LISTEN", "CLOSE"):
        history.states[:0] = polled[: polled.index(history.states[0])]
    elif history.states[-1] in ("SYN_RECV", "FIN_WAIT2", "TIME_WAIT") and polled[-1:] == ["CLOSE"]:
        history.states.append("CLOSE")


def sender(packet: Event) -> Tuple:
    return packet.ip("saddr"), packet["sport"], packet.ip("daddr"), packet["dport"]


def receiver(packet: Event) -> Tuple:
    return packet.ip("daddr"), packet["dport"], packet.ip("saddr"), packet["sport"]


def bound(row: Row, packets: list[Event], begun: set[Tuple]) -> Tuple:
    """The four-tuple of a socket that had no port yet when the tracepoint fired: that of the next SYN."""
    for packet in packets:
        who = sender(packet)
        same = (who[0], *who[2:]) == (row.who[0], *row.who[2:])
        if same and who not in begun and packet["flags"] & SYN and packet.time / 1e9 >= row.time - NEAR:
            begun.add(who)
            return who
    return row.who


def inferred(events: list[Event]) -> list[str]:
    """The history that inferred changes tell."""
    life = Life()
    for event in events:
        if event["old"] == State.UNKNOWN and life.states[-1:] == [event["new"]]:
            continue  # another connection by number, the same socket
        life.change(event.time, event["old"], event["new"], corrected=event["certainty"] == Certainty.CORRECTED)
    return [State(state).name for state in life.states]


@dataclass
class Result:
    """One connection of one run."""

    run: str
    who: Tuple
    kernel: list[str]
    ours: list[str]
    late: list[str]
    """What the poll saw that was not inferred for that time, in words."""
    fin_sent: bool
    """Whether the kernel's FIN is in the capture."""
    after: list[tuple[int, int]]
    """Flags and length of what the end sent after it had gone to FIN_WAIT1."""
    reset: float
    """Seconds from then to the peer's RST; -1 where none came."""

    @property
    def same(self) -> bool:
        """Whether both tell the same history; where the poll lost sight of the end, up to the end."""
        if self.kernel == self.ours:
            return True
        return self.kernel[-1] in ("TIME_WAIT", "FIN_WAIT2") and [*self.kernel, "CLOSE"] == self.ours

    @property
    def without_queued_close(self) -> bool:
        """Whether they are the same but for a FIN_WAIT1 whose FIN never left."""
        visible = [state for state in self.kernel if state != "FIN_WAIT1"]
        return not self.fin_sent and "FIN_WAIT1" in self.kernel and visible == self.ours


def compare(folder: Path, run: str) -> list[Result]:
    """Every connection of one run."""
    rows = read_rows(folder / "states" / f"{run}.tsv")
    line = timeline(next((folder / "pcap").glob(f"{run}.pcap*")))
    packets = [event for event in line.events() if event.name == "packet:captured"]
    states = [event for event in line.events() if event.name == "socket:state"]
    results = []
    for who, history in truth(rows, packets).items():
        mine = [event for event in states if sender(event) == who]
        fin_sent = any(packet["flags"] & FIN for packet in packets if sender(packet) == who)
        after, reset = since_close(rows, who, packets)
        results.append(
            Result(run, who, history.states, inferred(mine), by_time(history, mine), fin_sent, after, reset)
        )
    return results


def since_close(rows: list[Row], who: Tuple, packets: list[Event]) -> tuple[list[tuple[int, int]], float]:
    """What an end sends after it has gone to FIN_WAIT1, and in how many seconds the peer's RST comes (-1: never)."""
    times = [row.time for row in rows if row.source == "trace" and row.who == who and row.new == "FIN_WAIT1"]
    if not times:
        return [], -1
    later = [packet for packet in packets if packet.time / 1e9 > times[0]]
    resets = [p.time / 1e9 - times[0] for p in later if receiver(p) == who and p["flags"] & RST]
    return [(p["flags"], p["length"]) for p in later if sender(p) == who], min(resets, default=-1)


def by_time(history: History, events: list[Event]) -> list[str]:
    """What the poll saw at a time for which, give or take its inexactness, something else is inferred."""
    wrong = []
    for time, state in history.poll:
        near: set[str] = set()
        current = "-"
        for event in events:
            if event.time / 1e9 > time + POLL:
                break
            if event.time / 1e9 >= time - POLL:
                near.add(current)
            current = State(event["new"]).name
        near.add(current)
        if "CLOSE" in near or "LISTEN" in near:
            near.add("-")  # what is closed is not in the table
        if state not in near:
            wrong.append(f"{state} polled, {' or '.join(sorted(near))} inferred")
    return wrong


def runs(folder: Path) -> list[str]:
    """Names of all runs."""
    return sorted(path.stem for path in (folder / "states").glob("*.tsv"))


def reasons(run: str, *, late: bool = False) -> list[str]:
    """For which reasons a run may differ: in its states, or (``late``) in their times."""
    name = run.rsplit(".", 1)[0]
    return [reason.name for reason in REASONS if name in (reason.late if late else reason.differ)]


def table() -> str:
    """The exceptions as Markdown, for docs/inference.md."""
    rows = ["| reason | what happens | states differ in | only times differ in |", "|---|---|---|---|"]
    for reason in REASONS:
        differ, late = (", ".join(f"`{name}`" for name in names) for names in (reason.differ, reason.late))
        rows.append(f"| {reason.name} | {reason.why} | {differ} | {late} |")
    return "\n".join(rows) + "\n"


def closes(results: list[Result]) -> str:
    """Run by run what the wire holds of a close whose FIN never left, as Markdown for docs/inference.md."""
    rows = ["| run | kernel | inferred | its end sends after the call | the peer's RST |", "|---|---|---|---|---|"]
    for result in results:
        if not result.same:
            sent = ", ".join(f"{length} bytes" for _, length in result.after) or "nothing"
            reset = f"{result.reset * 1e6:.0f} µs later" if result.reset >= 0 else "never"
            kernel, ours = " ".join(result.kernel), " ".join(result.ours)
            rows.append(f"| `{result.run}` | {kernel} | {ours} | {sent} | {reset} |")
    return "\n".join(rows) + "\n"


def main(folder: Path) -> None:
    """Print what differs."""
    names = runs(folder)
    results = [result for run in names for result in compare(folder, run)]
    for result in results:
        if not result.same:
            print(f"{result.run} {result.who[0]}:{result.who[1]} - {result.who[2]}:{result.who[3]}")
            print("   kernel  ", " ".join(result.kernel))
            print("   inferred", " ".join(result.ours))
            print("   reason  ", ", ".join(reasons(result.run)) or "NONE")
        if result.late:
            why = reasons(result.run) + reasons(result.run, late=True)
            print(f"{result.run} port {result.who[1]}: {'; '.join(result.late)}")
            print("   reason  ", ", ".join(why) or "NONE")
    wrong = [result for result in results if not result.same]
    changes = sum(len(result.kernel) - 1 for result in results)
    print(f"{len(results) - len(wrong)} of {len(results)} connections alike, {changes} changes of state in all")
    print(f"{len({result.run for result in wrong})} of {len(names)} runs differ in states, "
          f"{len({result.run for result in wrong if not reasons(result.run)})} of them without a reason")  # fmt: skip
    print(f"{len({result.run for result in results if result.same and result.late})} more differ in times only")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
