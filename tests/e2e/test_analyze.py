"""`synfin analyze`: what is typed, what must come. Captures are made by hand, a segment at a time."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import gzip
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import termios
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import PATIENCE, Synfin, Terminal
from tracer.segments import ACK, FIN, PSH, RST, SYN
from tui.cli_analyze import Progress, Request, analyze
from tui.cli_analyze_run import NOTHING, Step
from tui.cli_errors import Trouble

CLIENT, SERVER = (bytes((10, 0, 0, 1)), 40000), (bytes((10, 0, 0, 2)), 8080)
MS: Final = 1_000_000
START: Final = 1_700_000_000_000_000_000
"""ns: 2023-11-14 22:13:20 UTC."""


class Wire:
    """Frames of one connection, in the order they are added, as a nanosecond pcap."""

    def __init__(self, client: tuple[bytes, int] = CLIENT, server: tuple[bytes, int] = SERVER) -> None:
        self.ends = (client, server)
        self.bytes = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
        self.now = START

    def add(self, side: int, flags: int, seq: int, ack: int = 0, length: int = 0, *, after: int = MS) -> Wire:
        """A segment of client (0) or server (1), ``after`` ns after the one before."""
        (source, sport), (target, dport) = self.ends[side], self.ends[1 - side]
        segment = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 1000, 0, 0) + bytes(length)
        packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + source + target + segment
        return self.frame(bytes(12) + b"\x08\x00" + packet, after=after)

    def frame(self, frame: bytes, *, cut: int = 0, after: int = MS) -> Wire:
        """A frame as it is; ``cut`` is the snapshot length."""
        kept = frame[: cut or len(frame)]
        self.bytes += struct.pack("<IIII", self.now // 10**9, self.now % 10**9, len(kept), len(frame)) + kept
        self.now += after
        return self

    def life(self) -> Wire:
        """Handshake, a request whose answer is sent twice, and an orderly end: the client closes first."""
        self.add(0, SYN, 100, after=10 * MS).add(1, SYN | ACK, 500, 101, after=5 * MS).add(0, ACK, 101, 501)
        self.add(0, PSH | ACK, 101, 501, 20).add(1, PSH | ACK, 501, 121, 300, after=250 * MS)
        self.add(1, PSH | ACK, 501, 121, 300).add(0, ACK, 121, 801)
        self.add(0, FIN | ACK, 121, 801).add(1, ACK, 801, 122).add(1, FIN | ACK, 801, 122).add(0, ACK, 122, 802)
        return self

    def save(self, path: Path) -> str:
        """Write the file; gives its name."""
        path.write_bytes(self.bytes)
        return path.name


@pytest.fixture
def life(synfin: Synfin) -> str:
    """A capture of one connection from beginning to end."""
    return Wire().life().save(synfin.folder / "life.pcap")


@pytest.fixture
def reset(synfin: Synfin) -> str:
    """A capture of a connection that is refused."""
    wire = Wire(client=(bytes((10, 0, 0, 3)), 41000))
    return wire.add(0, SYN, 7).add(1, RST | ACK, 0, 8).save(synfin.folder / "reset.pcap")


def analysed(folder: Path, *files: str, **options: str) -> list[dict[str, Any]]:
    """What `synfin analyze --json` prints, without a process of its own: for tests of many filters."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        analyze(Request(tuple(str(folder / file) for file in files), form="json", **options))  # type: ignore[arg-type]
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_connections_are_one_aligned_row_each(synfin: Synfin, life: str) -> None:
    ran = synfin("analyze", life)
    assert (ran.code, ran.err) == (0, "")
    head, row = ran.out.splitlines()
    assert head.split()[:5] == ["#", "Time", "Duration", "Client", "Server"]
    cells = [cell for cell in row.split("  ") if cell]
    assert [cell.strip() for cell in cells] == [
        "0", "0.000000", "0.272000", "10.0.0.1:40000", "10.0.0.2:8080", "6", "5", "20", "600", "15.0 ms", "SF",
        "ShADdtFaf", "31", "1", "0", "TIME_WAIT?", "CLOSED?", cells[17].strip(),
    ]  # fmt: skip
    assert cells[17].strip() == (
        "client SYN_SENT 10.0 ms, ESTABLISHED 259 ms, FIN_WAIT1 1.00 ms, FIN_WAIT2 1.00 ms, TIME_WAIT 1.00 ms; "
        "server SYN_RECV 5.00 ms, ESTABLISHED 254 ms, CLOSE_WAIT 2.00 ms, LAST_ACK 1.00 ms"
    )
    assert head.index("Server") == row.index("10.0.0.2"), "columns are aligned"


def test_packets_are_listed_as_wireshark_does(synfin: Synfin, life: str) -> None:
    rows = synfin("analyze", "--packets", life).out.splitlines()
    assert rows[0].split() == ["No.", "Time", "Source", "Destination", "Protocol", "Length", "Info"]
    assert rows[1].split()[:6] == ["1", "0.000000", "10.0.0.1", "10.0.0.2", "TCP", "54"]
    infos = [row[rows[0].index("Info") :] for row in rows[1:]]
    assert infos[:3] == [
        "40000 → 8080 [SYN] Seq=0 Win=1000 Len=0",
        "8080 → 40000 [SYN, ACK] Seq=0 Ack=1 Win=1000 Len=0",
        "40000 → 8080 [ACK] Seq=1 Ack=1 Win=1000 Len=0",
    ]
    assert infos[5] == "[TCP Retransmission] 8080 → 40000 [PSH, ACK] Seq=1 Ack=21 Win=1000 Len=300"
    assert len(infos) == 11


def test_states_tell_both_ends_in_order(synfin: Synfin, life: str) -> None:
    changes = synfin("analyze", "--states", "--json", life).events
    for side, path in (
        ("client", ["CLOSE", "SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]),
        ("server", ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"]),
    ):
        mine = [change for change in changes if change["side"] == side]
        entered = [change["new"] for change in mine]
        assert entered[-len(path) + (path[0] == "CLOSE") :] == path[path[0] == "CLOSE" :]
        assert all(before["new"] == after["old"] for before, after in pairwise(mine))
    assert [change["time"] for change in changes] == sorted(change["time"] for change in changes)
    assert {change["certainty"] for change in changes} <= {"certain", "provisional", "corrected"}
    assert next(c for c in changes if c["new"] == "FIN_WAIT1")["frame"] == 8


def test_json_has_the_documented_columns(synfin: Synfin, life: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()
    for table in ("connections", "packets", "states"):
        section = page.partition(f"## `synfin analyze --{table}`")[2].partition("\n##")[0]
        documented = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
        rows = synfin("analyze", f"--{table}", "--json", life).events
        assert [list(row) for row in rows] == [documented] * len(rows)
        assert len(rows) >= 1


def test_csv_says_the_same_as_json(synfin: Synfin, life: str) -> None:
    for table in ("connections", "packets", "states"):
        lines = synfin("analyze", f"--{table}", "--json", life).events
        rows = list(csv.DictReader(io.StringIO(synfin("analyze", f"--{table}", "--csv", life).out)))
        assert len(rows) == len(lines)
        for row, line in zip(rows, lines, strict=True):
            assert row == {name: as_csv(value) for name, value in line.items()}


def as_csv(value: Any) -> str:
    """A value of JSON as the csv form writes it."""
    if isinstance(value, list):
        return ";".join(value)
    if isinstance(value, dict):
        return ";".join(f"{name}={number}" for name, number in value.items())
    return "" if value is None else str(value)


def test_several_files_have_a_column_and_streams_of_their_own(synfin: Synfin, life: str, reset: str) -> None:
    rows = synfin("analyze", "--json", life, reset).events
    assert [(row["file"], row["stream"], row["conn_state"]) for row in rows] == [(life, 0, "SF"), (reset, 0, "REJ")]
    text = synfin("analyze", life, reset).out.splitlines()
    assert [line.split()[0] for line in text] == ["File", life, reset]


@pytest.mark.parametrize(
    ("display", "files"),
    [
        ("state:time-wait", ["life.pcap"]),
        ("conn_state:REJ", ["reset.pcap"]),
        ("flag:rst", ["reset.pcap"]),
        ("analysis:retransmission", ["life.pcap"]),
        ("severity>=note", ["life.pcap"]),
        ("rtt>10ms", ["life.pcap"]),
        ("port:8080", ["life.pcap", "reset.pcap"]),
        ("text:10.0.0.3", ["reset.pcap"]),
        ("not port:8080", []),
    ],
)
def test_a_display_filter_chooses_connections(
    synfin: Synfin, life: str, reset: str, display: str, files: list[str]
) -> None:
    rows = analysed(synfin.folder, life, reset, display=display)
    assert [Path(row["file"]).name for row in rows] == files


@pytest.mark.parametrize(
    ("display", "frames"),
    [
        ("analysis:retransmission", [6]),
        ("flag:fin", [8, 10]),
        ("side:server len>0", [5, 6]),
        ("time<16ms", [1, 2, 3]),
        ('text:"seq=0"', [1, 2]),
        ("rtt>200ms", [7]),
    ],
)
def test_a_display_filter_chooses_packets_and_changes_no_analysis(
    synfin: Synfin, life: str, display: str, frames: list[int]
) -> None:
    every = {row["frame"]: row for row in analysed(synfin.folder, life, table="packets")}
    rows = analysed(synfin.folder, life, table="packets", display=display)
    assert [row["frame"] for row in rows] == frames
    assert all(row == every[row["frame"]] for row in rows)


def test_a_display_filter_is_typed_with_y(synfin: Synfin, life: str) -> None:
    rows = synfin("analyze", "--states", "--json", life, "-Y", "new:bucket side:client").events
    assert [row["new"] for row in rows] == ["TIME_WAIT"]


@pytest.mark.needs("tcpdump")  # whoever has it has libpcap
def test_a_pcap_filter_chooses_what_is_analysed(synfin: Synfin, life: str) -> None:
    rows = synfin("analyze", "--packets", "--json", life, "-f", "src host 10.0.0.2 and tcp[13] & 8 != 0").events
    assert [(row["frame"], row["analysis"]) for row in rows] == [(5, []), (6, ["retransmission"])]
    assert synfin("analyze", "--json", life, "-f", "udp").events == []


@pytest.mark.needs("tcpdump")
def test_a_wrong_pcap_filter_is_refused(synfin: Synfin, life: str) -> None:
    ran = synfin("analyze", life, "-f", "port eigthy and")
    assert (ran.code, ran.out) == (2, "")
    assert "-f 'port eigthy and'" in ran.err


def test_without_libpcap_a_pcap_filter_says_so(synfin: Synfin, life: str) -> None:
    code = (
        "from tracer.capture import pcapfilter; import ctypes.util; pcapfilter.LIBRARIES = ();"
        "ctypes.util.find_library = lambda name: None; from tui.cli import main; main()"
    )
    synfin.python = (synfin.python[0], "-c", code)
    ran = synfin("analyze", life, "-f", "tcp")
    assert (ran.code, ran.out) == (3, "")
    assert "-f needs libpcap, which is not installed" in ran.err


@pytest.mark.parametrize(
    ("clock", "times"),
    [
        ("r", ["0.000000", "0.010000", "0.015000"]),
        ("d", ["0.000000", "0.010000", "0.005000"]),
        ("e", ["1700000000.000000000", "1700000000.010000000", "1700000000.015000000"]),
        ("a", ["2023-11-14 22:13:20.000000000", "2023-11-14 22:13:20.010000000", "2023-11-14 22:13:20.015000000"]),
    ],
)
def test_time_formats(synfin: Synfin, life: str, clock: str, times: list[str]) -> None:
    synfin.variables["TZ"] = "UTC"
    rows = synfin("analyze", "--packets", life, "-t", clock).out.splitlines()
    assert [row.split("10.0.0")[0].split(maxsplit=1)[1].strip() for row in rows[1:4]] == times


def test_the_length_is_the_frames_not_what_was_kept_of_it(synfin: Synfin) -> None:
    wire = Wire()
    wire.add(0, SYN, 1).frame(Wire().add(0, ACK | PSH, 2, 1, 1000).bytes[24 + 16 :], cut=60)
    name = wire.save(synfin.folder / "cut.pcap")
    rows = synfin("analyze", "--packets", "--json", name).events
    assert [(row["frame_length"], row["captured"], row["length"]) for row in rows] == [(54, 54, 0), (1054, 60, 1000)]


def test_standard_input_and_compression(synfin: Synfin, life: str) -> None:
    (synfin.folder / "life.gz").write_bytes(gzip.compress((synfin.folder / life).read_bytes()))
    with (synfin.folder / "life.gz").open("rb") as piped:
        ran = synfin("analyze", "-", "--json", stdin=piped.fileno())
    assert [row["conn_state"] for row in ran.events] == ["SF"]


def test_a_live_pipe_is_shown_as_it_comes_and_told_at_ctrl_c(synfin: Synfin, life: str) -> None:
    data = (synfin.folder / life).read_bytes()
    packets = synfin.start("analyze", "--packets", "-", stdin=subprocess.PIPE)
    assert packets.stdin and packets.stdout
    packets.stdin.write(data[:-1])
    packets.stdin.flush()
    lines = [packets.stdout.readline() for _ in range(11)]
    assert b"[SYN]" in lines[1], "ten whole packets are there although the pipe is open"
    assert lines[10].split()[0] == b"10"
    packets.stdin.close()
    packets.stdin = None
    ran = synfin.end(packets)
    assert ran.code == 0
    assert "ends inside a packet record" in ran.err

    connections = synfin.start("analyze", "--json", "-", stdin=subprocess.PIPE)
    assert connections.stdin
    connections.stdin.write(data)
    connections.stdin.flush()
    wait_until_reading(connections.pid)
    connections.send_signal(signal.SIGINT)
    ran = synfin.end(connections)
    assert ran.code == 130
    assert [row["conn_state"] for row in ran.events] == ["SF"]


def wait_until_reading(pid: int) -> None:
    """Wait until the process has taken everything from its standard input and waits for more."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/fd/0", "rb", buffering=0) as pipe:  # noqa: PTH123
            left = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if left == 0 and state == "S":
            time.sleep(0.2)
            return
        time.sleep(0.02)
    raise AssertionError("it never read its input")


def test_a_reader_may_go_away(synfin: Synfin) -> None:
    wire = Wire()
    for number in range(5000):
        wire.add(0, ACK | PSH, 1 + number * 10, 1, 10)
    name = wire.save(synfin.folder / "long.pcap")
    process = synfin.start("analyze", "--packets", name)
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    ran = synfin.end(process)
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["absent.pcap"], 2, "absent.pcap"),
        (["text.pcap"], 2, "not a pcap or pcapng capture"),
        (["life.pcap", "-Y", "prt:80"], 2, "-Y: no key is called 'prt'; did you mean port? (at character 1)"),
        (["life.pcap", "--packets", "-Y", "duration>1s"], 2, "is a key for connections, not for packets"),
        (["life.pcap", "-t", "x"], 2, "-t"),
        ([], 2, "FILE"),
        (["life.pcap", "--parquet", "absent/out.parquet"], 74, "absent/out.parquet cannot be written"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_a_code(
    synfin: Synfin, life: str, words: list[str], code: int, said: str
) -> None:
    (synfin.folder / "text.pcap").write_text("hello\n")
    ran = synfin("analyze", *words)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_one_bad_file_does_not_keep_the_others_from_being_read(synfin: Synfin, life: str, reset: str) -> None:
    ran = synfin("analyze", "--json", life, "absent.pcap", reset)
    assert ran.code == 2
    assert [row["conn_state"] for row in ran.events] == ["SF", "REJ"]
    assert "absent.pcap" in ran.err
    assert "1 of 3 files could not be read" in ran.err


def test_what_could_not_be_read_is_told_and_the_rest_is_kept(synfin: Synfin, life: str) -> None:
    path = synfin.folder / life
    path.write_bytes(path.read_bytes()[:-3])
    ran = synfin("analyze", "--json", life)
    assert ran.code == 0
    assert ran.events[0]["client_packets"] == 5
    assert "life.pcap: the file ends inside a packet record" in ran.err


def test_a_full_disk_is_said(synfin: Synfin, life: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        process = synfin.start("analyze", life, stdout=full.fileno())
        ran = synfin.end(process)
    assert ran.code == 74
    assert "cannot be written: no space left on device" in ran.err


def test_a_name_from_outside_cannot_steer_the_terminal(synfin: Synfin, life: str, reset: str) -> None:
    shutil.copy(synfin.folder / life, synfin.folder / "evil\x1b[2Jname.pcap")
    os.rename(synfin.folder / reset, os.fsencode(synfin.folder) + b"/not-utf8-\xff.pcap")  # noqa: PTH104
    for form in ([], ["--csv"], ["--json"]):
        ran = synfin("analyze", *form, "evil\x1b[2Jname.pcap", os.fsdecode(b"not-utf8-\xff.pcap"))
        assert ran.code == 0, ran.err
        assert "\x1b" not in ran.out + ran.err
        assert "name.pcap" in ran.out


def test_parquet_holds_the_same_rows(synfin: Synfin, life: str, reset: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for table in ("connections", "packets", "states"):
        ran = synfin("analyze", f"--{table}", "--parquet", "out.parquet", life, reset)
        assert (ran.code, ran.out, ran.err) == (0, "", "synfin: saved out.parquet\n")
        rows = parquet.read_table(synfin.folder / "out.parquet").to_pylist()
        for row in rows:
            row.update({name: dict(value) for name, value in row.items() if name.endswith("_times")})
        assert rows == synfin("analyze", f"--{table}", "--json", life, reset).events
    assert not list(synfin.folder.glob("*.part"))


def test_without_pyarrow_parquet_says_how_to_get_it(synfin: Synfin, life: str) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from tui.cli import main; main()"
    synfin.python = (synfin.python[0], "-c", code)
    ran = synfin("analyze", life, "--parquet", "out.parquet")
    assert ran.code == 3
    assert "pip install 'synfin[parquet]'" in ran.err
    assert not (synfin.folder / "out.parquet").exists()


def test_progress_is_a_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, moments = Screen(), iter([0.0, 0.05, 2.0, 2.0, 2.0])
    monkeypatch.setattr("sys.stderr", screen)
    progress = Progress("folder/evil\x1bname.pcap", lambda: next(moments))
    progress.show(Step(NOTHING, 1 << 20, 1 << 24, 1000))
    assert screen.getvalue() == "", "not at once"
    progress.show(Step(NOTHING, 1 << 22, 1 << 24, 4000))
    assert screen.getvalue() == "\revil·name.pcap  25 %  4,000 packets  2,000/s\x1b[K"
    progress.clear()
    progress.clear()
    assert screen.getvalue().endswith("/s\x1b[K\r\x1b[K")

    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    Progress("x").show(Step(NOTHING, 1 << 22, 1 << 24, 4000))
    assert file.getvalue() == "", "no terminal, no line"


def test_on_a_terminal_the_table_is_all_there_is(synfin: Synfin, life: str) -> None:
    terminal = Terminal(synfin, "analyze", life, columns=250)
    assert terminal.end() == 0
    assert [line.split()[0] for line in terminal.text.splitlines()] == ["#", "0"]


def test_connections_that_are_long_over_are_told_before_the_end(synfin: Synfin) -> None:
    """Memory does not grow with connections that have come and gone: they are told and forgotten."""
    count = 33_000  # more than the engine keeps of connections that are over
    out = synfin.folder / "out.jsonl"
    with out.open("wb") as told:
        process = synfin.start("analyze", "--json", "--no-states", "-", stdin=subprocess.PIPE, stdout=told.fileno())
        assert process.stdin
        process.stdin.write(Wire().bytes)
        for first in range(0, count, 1000):
            ends = [(struct.pack(">I", 0x0A000000 + number), 40000) for number in range(first, first + 1000)]
            wires = [Wire(client=end) for end in ends]
            process.stdin.write(b"".join(wire.add(0, SYN, 7).add(1, RST | ACK, 0, 8).bytes[24:] for wire in wires))
        process.stdin.flush()
        deadline = time.monotonic() + PATIENCE
        while not out.stat().st_size:
            assert time.monotonic() < deadline, "nothing is told although the engine has given connections up"
            time.sleep(0.05)
        process.stdin.close()
        process.stdin = None
        assert synfin.end(process).code == 0
    streams = [json.loads(line)["stream"] for line in out.read_text().splitlines()]
    assert sorted(streams) == list(range(count))


@pytest.mark.corpora
@pytest.mark.parametrize("table", ["connections", "packets", "states"])
def test_malformed_captures_break_nothing(corpora: Path, table: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them in one run: what can be read is printed, for the others there is a sentence."""
    files = sorted(path for path in (corpora / "captures" / "fuzz").iterdir() if path.stat().st_size < 1 << 20)
    assert len(files) > 20
    for form in ("text", "csv", "json"):
        with contextlib.suppress(Trouble):
            analyze(Request(tuple(map(str, files)), table, form, display="not port:1"))
        told = capsys.readouterr()
        assert told.out.count("\n") > len(files) // 4
        assert told.out.replace("\n", "").isprintable()
        for line in told.err.splitlines():
            assert line.startswith("synfin: ")
