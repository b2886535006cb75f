"""Wrong names, wrong files, nowhere to write: one clear sentence, the documented exit code, nothing left behind.

The exit codes are those of tui.cli_errors. What a fixture of conftest asserts for every command here: no traceback, no
process, no namespace and no BPF program is left.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import Ran, Synfin, Terminal, load
from tui.cli_errors import OUTPUT, USAGE

BIG: Final = 40_000
"""Bytes: a full disk in the middle of a recording of 110 KB."""


def sentence(ran: Ran, code: int, *words: str) -> None:
    """It ended with this code, said one sentence that holds these words, and printed nothing else."""
    (said,) = [line for line in ran.err.splitlines() if not line.startswith("synfin: Half-close")]
    assert (ran.code, ran.out) == (code, "")
    assert said.startswith("synfin: ")
    for word in words:
        assert word in said


def test_an_unknown_scenario_names_the_nearest(synfin: Synfin) -> None:
    sentence(synfin("run", "half-clsoe"), USAGE, "no scenario named 'half-clsoe': did you mean half-close")


NOBODY_ACTS = """
from scenarios.script import Scenario
play = Scenario(name="mine", title="", topic="mine", story="", actors=("server",))
@play.step("nobody", "acts")
def acts(me): pass
"""


def test_a_scenario_like_no_other_names_them_all(synfin: Synfin) -> None:
    sentence(synfin("run", "zzz"), USAGE, "no scenario named 'zzz': `synfin list` names all there are")


def test_a_scenario_file_that_is_not_there(synfin: Synfin) -> None:
    sentence(synfin("run", "./mine.py"), USAGE, "no such file: ./mine.py")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\n", "no Scenario in "),
        ("x = 1\nimport nowhere_to_be_found\n", "mine.py cannot be run: ModuleNotFoundError: No module named"),
        ("x = 1\nx.y\n", "AttributeError: 'int' object has no attribute 'y' (mine.py, line 2)"),
        (NOBODY_ACTS, "no actor 'nobody' (there are server) (mine.py, line 4)"),
        ("def\n", "SyntaxError: invalid syntax (mine.py, line 1)"),
    ],
)
def test_a_scenario_file_that_is_broken(synfin: Synfin, text: str, why: str) -> None:
    (synfin.folder / "mine.py").write_text(text)
    ran = synfin("run", "./mine.py")
    assert (ran.code, ran.out) == (USAGE, "")
    assert why in ran.err and len(ran.err.splitlines()) == 1


def test_a_missing_file(synfin: Synfin) -> None:
    sentence(synfin("replay", "missing.pcapng"), USAGE, "missing.pcapng", "there is no such file")


def test_an_empty_file(synfin: Synfin) -> None:
    (synfin.folder / "empty.pcap").touch()
    sentence(synfin("replay", "empty.pcap"), USAGE, "empty.pcap is empty")


def test_not_a_capture(synfin: Synfin) -> None:
    (synfin.folder / "letter").write_text("Dear reader,\n")
    sentence(synfin("replay", "letter"), USAGE, "letter is not a pcap or pcapng capture: it looks like text")
    (synfin.folder / "noise").write_bytes(bytes(range(200, 256)) * 50)
    sentence(synfin("replay", "noise"), USAGE, "noise is not a pcap or pcapng capture")


def test_a_directory(synfin: Synfin) -> None:
    sentence(synfin("replay", "."), USAGE, "it is a directory")


def test_nothing_on_standard_input(synfin: Synfin) -> None:
    sentence(synfin("replay", "-"), USAGE, "is empty")


def test_a_name_cannot_speak_to_the_terminal(synfin: Synfin) -> None:
    ran = synfin("replay", "\x1b[2Jgone\x07")
    assert ran.code == USAGE
    assert "\x1b" not in ran.err and "\x07" not in ran.err


@pytest.mark.parametrize("words", [("frobnicate",), ("run",), ("run", "half-close", "--frobnicate"), ("replay",)])
def test_a_wrong_command_shows_how_it_is_used(synfin: Synfin, words: tuple[str, ...]) -> None:
    process = synfin.start(*words)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (USAGE, b"")
    assert err.startswith(b"Usage: synfin") and b"Error: " in err and b"Traceback" not in err


def test_step_needs_a_terminal(synfin: Synfin) -> None:
    sentence(synfin("run", "half-close", "--step"), USAGE, "--step needs a terminal to press Enter in")


def test_the_start_page_needs_a_terminal(synfin: Synfin) -> None:
    sentence(synfin(), USAGE, "the start page needs a terminal; `synfin --help` lists the commands")


# Truncated captures


def a_pcap(folder: Path) -> Path:
    """A plain pcap of one connection, made here: no probe and no recording of ours is in it."""
    from scapy.layers.inet import IP, TCP
    from scapy.utils import wrpcap

    there: dict[str, Any] = {"sport": 40000, "dport": 80}
    back: dict[str, Any] = {"sport": 80, "dport": 40000}
    ends = IP(src="10.0.0.1", dst="10.0.0.2"), IP(src="10.0.0.2", dst="10.0.0.1")
    packets = [
        ends[0] / TCP(**there, flags="S", seq=100),
        ends[1] / TCP(**back, flags="SA", seq=500, ack=101),
        ends[0] / TCP(**there, flags="A", seq=101, ack=501),
        ends[0] / TCP(**there, flags="PA", seq=101, ack=501) / b"hello",
        ends[1] / TCP(**back, flags="A", seq=501, ack=106),
        ends[0] / TCP(**there, flags="FA", seq=106, ack=501),
    ]
    for place, packet in enumerate(packets):
        packet.time = 1_700_000_000 + place / 1000
    wrpcap(str(folder / "plain.pcap"), packets)
    return folder / "plain.pcap"


def test_a_plain_capture_opens_with_states_inferred(synfin: Synfin) -> None:
    ran = synfin("replay", str(a_pcap(synfin.folder)), "--text")
    assert (ran.code, ran.err) == (0, "")
    assert "?" in next(line for line in ran.out.splitlines() if "SYN_SENT → ESTABLISHED" in line)


def test_a_truncated_capture_opens_up_to_there_and_says_so(synfin: Synfin) -> None:
    file = a_pcap(synfin.folder)
    data = file.read_bytes()
    whole = synfin("replay", str(file), "--json").events
    file.write_bytes(data[: len(data) - 30])
    ran = synfin("replay", str(file), "--json")
    assert ran.code == 0
    packets = [event for event in ran.events if event["event"] == "packet:captured"]
    assert len(packets) == 5 == len([event for event in whole if event["event"] == "packet:captured"]) - 1
    (said,) = ran.err.splitlines()
    assert said.startswith("synfin: ") and "packet" in said


def test_a_capture_cut_off_in_its_header(synfin: Synfin) -> None:
    file = a_pcap(synfin.folder)
    file.write_bytes(file.read_bytes()[:10])
    sentence(synfin("replay", str(file)), USAGE, "plain.pcap")


# Nowhere to write


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("place", "why"),
    [("nowhere/run.pcapng", "No such file or directory"), (".", "Is a directory"), ("/dev/full", "No space left")],
)
def test_a_recording_that_cannot_be_begun(synfin: Synfin, place: str, why: str) -> None:
    sentence(synfin("run", "half-close", "--text", "-w", place), OUTPUT, why, place)


@pytest.mark.kernel
@pytest.mark.needs("unshare", "mount")
def test_a_disk_that_fills_up_keeps_what_was_written(synfin: Synfin) -> None:
    """A file system of 40 KB, in a mount namespace of the command's own; the file is copied out when it has ended."""
    full = synfin.folder / "full"
    full.mkdir()
    script = f'mount -t tmpfs -o size={BIG // 4096 * 4096} none full && "$@"; code=$?; cp full/run.pcapng .; exit $code'
    ran = synfin(
        "run", "half-close", "--json", "-w", "full/run.pcapng", before=("unshare", "-m", "sh", "-c", script, "sh")
    )
    assert ran.code == OUTPUT, ran.err
    (said,) = [line for line in ran.err.splitlines() if "recording" in line]
    assert said.startswith("synfin: recording to 'full/run.pcapng' stopped: No space left on device; ")
    kept = load(synfin.folder / "run.pcapng")
    assert f"; {len(kept)} events are in it" in said
    assert 50 < len(kept) < len(ran.events)  # the run itself went on to its end
    assert [event.name for event in kept.events()] == [event["event"] for event in ran.events[: len(kept)]]


@pytest.mark.kernel
@pytest.mark.needs("prlimit")
def test_a_file_that_may_not_grow(synfin: Synfin) -> None:
    ran = synfin("run", "half-close", "--json", "-w", "run.pcapng", before=("prlimit", f"--fsize={BIG}"))
    assert ran.code == OUTPUT, ran.err
    assert "synfin: recording to 'run.pcapng' stopped: File too large; " in ran.err
    assert 50 < len(load(synfin.folder / "run.pcapng")) < len(ran.events)


@pytest.mark.kernel
def test_standard_output_is_full(synfin: Synfin) -> None:
    with Path("/dev/full").open("wb") as full:
        process = synfin.start("run", "half-close", "--text", stdout=full.fileno())
        ran = synfin.end(process)
    sentence(Ran(ran.code, "", ran.err), OUTPUT, "cannot write: No space left on device")


# A reader that goes away


@pytest.mark.kernel
@pytest.mark.parametrize("form", ["--text", "--json"])
def test_head_takes_one_line(synfin: Synfin, form: str) -> None:
    command = shutil.which("head")
    assert command
    process = synfin.start("run", "half-close", form)
    assert process.stdout is not None
    head = subprocess.run([command, "-1"], stdin=process.stdout, capture_output=True, timeout=60, check=True)
    process.stdout.close()
    assert head.stdout.count(b"\n") == 1
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"Broken pipe" not in err and b"Traceback" not in err


@pytest.mark.parametrize("command", [("list",), ("doctor",), ("show", "half-close")], ids=lambda words: words[0])
def test_a_reader_that_has_gone_is_no_failure(synfin: Synfin, command: tuple[str, ...]) -> None:
    process = synfin.start(*command)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


def test_head_of_a_replay(synfin: Synfin) -> None:
    process = synfin.start("replay", str(a_pcap(synfin.folder)), "--text")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


# A tiny terminal


@pytest.mark.kernel
def test_a_terminal_of_20_by_5_says_that_it_is_too_small(synfin: Synfin) -> None:
    terminal = Terminal(synfin, "run", "half-close", columns=20, rows=5)
    terminal.until("small")
    terminal.type(b"q")
    assert terminal.end() == 0


@pytest.mark.kernel
def test_text_fits_a_terminal_of_20_by_5(synfin: Synfin) -> None:
    terminal = Terminal(synfin, "run", "half-close", "--text", columns=20, rows=5)
    assert terminal.end() == 0
    events = [line for line in terminal.text.replace("\r", "").splitlines() if not line.startswith("synfin:")]
    assert len(events) > 150
    assert max(map(len, events)) <= 20
