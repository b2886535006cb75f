"""Ctrl-C, SIGTERM, SIGHUP and kill -9 at any moment of a run: a word, the documented code, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Ran, Synfin, Terminal, load, wait_for
from tui.cli_errors import INTERRUPTED, TERMINATED

pytestmark = pytest.mark.kernel

CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED, signal.SIGHUP: TERMINATED}
WORDS = {
    signal.SIGINT: "synfin: interrupted",
    signal.SIGTERM: "synfin: terminated",
    signal.SIGHUP: "synfin: terminated",
}


def begun(synfin: Synfin, *words: str) -> subprocess.Popen[bytes]:
    """A command whose Python has started: from here on it answers for every signal."""
    process = synfin.start(*words)
    wait_for(lambda: catches(process, signal.SIGTERM), "its first line of code")
    return process


def catches(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal (SigCgt of proc_pid_status(5))."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    mask = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
    return bool(int(mask, 16) & 1 << (number - 1))


def ended(ran: Ran, number: signal.Signals) -> None:
    """It ended by the signal and said so, or had come to its end before."""
    if ran.code == 0:
        assert len(ran.out.splitlines()) > 150
        return
    # Once all is done and Python is folding up, its handlers are gone already: the shell sees the same code.
    assert ran.code in (CODES[number], -number)
    if ran.code > 0:
        assert ran.err.splitlines()[-1].startswith(WORDS[number])


@pytest.mark.parametrize("whom", ["group", "process"])
@pytest.mark.parametrize("number", list(CODES), ids=lambda number: number.name)
def test_a_signal_at_a_random_moment(synfin: Synfin, whom: str, number: signal.Signals) -> None:
    moments = random.Random()
    for _ in range(3):
        process = begun(synfin, "run", "half-close", "--text")
        after = moments.uniform(0, 0.8)
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whom == "group" else os.kill)(process.pid, number)
        ran = synfin.end(process, within=15)
        try:
            ended(ran, number)
        except AssertionError as failure:
            raise AssertionError(f"{number.name} after {after:.3f} s") from failure
    assert not synfin.left_behind()


def test_ctrl_c_in_the_middle_shows_what_was_seen(synfin: Synfin) -> None:
    out = synfin.folder / "out"
    with out.open("w") as file:
        process = synfin.start("run", "half-close", "--json", "--pace", "0.2", "-w", "run.pcapng", stdout=file.fileno())
    wait_for(lambda: out.read_text().count("\n") > 40, "40 events")
    process.send_signal(signal.SIGINT)
    ran = synfin.end(process, within=15)
    assert ran.code == INTERRUPTED
    assert ran.err.splitlines()[-1] == "synfin: interrupted; what was seen until then is above"
    lines = out.read_text().splitlines()
    assert 40 < len(lines) < 200
    assert len(load(synfin.folder / "run.pcapng")) == len(lines)  # closed in order: the last events are in it


def test_ctrl_c_twice(synfin: Synfin) -> None:
    """An impatient person: the second one must not cut taking down short."""
    for pause in (0.0, 0.005, 0.02, 0.05):
        process = begun(synfin, "run", "half-close", "--text", "--pace", "0.1")
        time.sleep(0.6)
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(pause)
        ended(synfin.end(process, within=15), signal.SIGINT)
    assert not synfin.left_behind()


def test_nohup_is_respected(synfin: Synfin) -> None:
    process = synfin.start("run", "half-close", "--text", "--pace", "0.02", before=("nohup",))
    wait_for(lambda: catches(process, signal.SIGTERM), "its first line of code")
    process.send_signal(signal.SIGHUP)
    ran = synfin.end(process)
    assert ran.code == 0
    assert "TIME_WAIT object takes over" in ran.out


@pytest.mark.parametrize("number", list(CODES), ids=lambda number: number.name)
@pytest.mark.parametrize("after", [0.2, 0.8])
def test_a_signal_on_the_screen_restores_the_terminal(synfin: Synfin, number: signal.Signals, after: float) -> None:
    terminal = Terminal(synfin, "run", "half-close", columns=100, rows=30)
    wait_for(lambda: catches(terminal.process, signal.SIGTERM), "its first line of code")
    terminal.quiet(after)
    terminal.process.send_signal(number)
    assert terminal.end(15) in (CODES[number], -number)
    assert terminal.raw.count(b"\x1b[?1049h") == terminal.raw.count(b"\x1b[?1049l")
    assert WORDS[number] in terminal.text


def test_kill_9_leaves_nothing_behind(synfin: Synfin) -> None:
    for after in (0.1, 0.3, 0.5):
        process = begun(synfin, "run", "half-close", "--text", "--pace", "0.2")
        time.sleep(after)
        process.kill()
        process.communicate()
    assert not synfin.left_behind()


def test_doctor_interrupted(synfin: Synfin) -> None:
    for after in (0.05, 0.2, 0.4):
        process = begun(synfin, "doctor")
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        assert synfin.end(process, within=15).code in (0, INTERRUPTED, -signal.SIGINT)
    assert not synfin.left_behind()
