"""What each level of rights gives: three capabilities give everything, fewer give less and say so; sudo goes back."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from platformdirs import user_cache_dir

from tests.e2e.conftest import _PLAIN, NOBODY, Ran, Synfin, _as_nobody, load, typing, wait_for
from tests.e2e.test_trace_plain import CHILD

pytestmark = [pytest.mark.kernel, pytest.mark.needs("setpriv")]


def with_capabilities(folder: Path, *names: str) -> Synfin:
    """A plain user with these capabilities and no other."""
    before, python = _as_nobody()
    given = ",".join(f"+{name}" for name in names)
    caps = ("--inh-caps", given, "--ambient-caps", given, "--bounding-set", f"-all,{given}")
    at = before.index("env")
    variables = {**_PLAIN, "HOME": str(folder), "XDG_CACHE_HOME": str(_cache(names))}
    return Synfin(folder, (*before[:at], *caps, *before[at:]), python, variables)


@functools.cache
def _cache(names: tuple[str, ...]) -> Path:
    """What one of these users has compiled and looked up, for the next with the same rights."""
    folder = Path(tempfile.mkdtemp(prefix="synfin-test-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chown(folder, NOBODY, NOBODY)
    return folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may write."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def events(ran: Ran) -> list[dict[str, object]]:
    """The events of a run, which ends with words about what was seen."""
    return [row for row in map(json.loads, ran.out.splitlines()) if "event" in row]


def test_three_capabilities_give_everything_without_root(folder: Path, synfin: Synfin) -> None:
    """The half-close as a user with CAP_BPF, CAP_PERFMON and CAP_SYSLOG: the same kinds of event as root's."""
    for user in typing(with_capabilities(folder, "bpf", "perfmon", "syslog")):
        ran = user("run", "half-close", "--json")
        report = json.loads(user("doctor", "--json").out)
    assert ran.code == 0, ran.err
    assert "without" not in ran.err
    assert report["level"] == "everything can be observed in the kernel"
    assert all(row["ok"] for row in report["probes"])
    mine = [json.loads(line) for line in ran.out.splitlines() if line.startswith("{")]
    roots = [
        json.loads(line) for line in synfin("run", "half-close", "--json").out.splitlines() if line.startswith("{")
    ]

    def life(told: list[dict[str, object]], side: str) -> list[object]:
        changes = [event for event in told if event.get("event") == "socket:state" and event.get("side") == side]
        return [event["new"] for event in changes if event["evidence"] == "observed"]

    for side in ("client", "server"):
        assert life(mine, side) == life(roots, side) != []
    always = {
        "timewait:born",
        "request:born",
        "epoll:ready",
        "epoll:wait",
        "thread:woken",
        "packet:sent",
        "syscall:exit",
    }
    assert always <= {event.get("event") for event in mine}


def test_without_syslog_timers_and_epoll_are_off_and_say_so(folder: Path) -> None:
    for user in typing(with_capabilities(folder, "bpf", "perfmon")):
        ran = user("trace", "--json", "--", "python3", "-c", CHILD)
        report = json.loads(user("doctor", "--json").out)
    assert ran.code == 7
    assert "without timers" in ran.err and "CAP_SYSLOG" in ran.err
    off = {row["name"] for row in report["probes"] if not row["ok"]}
    assert off == {"timers", "epoll:ready"} and "without epoll:ready" in ran.err
    assert any(row["ok"] for row in report["probes"] if row["name"] == "states")
    names = {event["event"] for event in ran.events}
    assert "socket:state" in names and "timewait:born" not in names


@pytest.mark.parametrize("names", [("bpf",), ("perfmon",)], ids="+".join)
def test_one_of_two_is_not_enough(folder: Path, names: tuple[str, ...]) -> None:
    missing = {"bpf": "CAP_PERFMON", "perfmon": "CAP_BPF"}[names[0]]
    for user in typing(with_capabilities(folder, *names)):
        ran = user("trace", "--json", "--", "true")
    assert ran.code == 0 and f"kernel probes need {missing}: run as root" in ran.err


@pytest.mark.parametrize("rights", ["root", "capabilities", "user"])
def test_doctor_fits_one_screen(folder: Path, synfin: Synfin, nobody: Synfin, rights: str) -> None:
    if rights == "capabilities":
        for user in typing(with_capabilities(folder, "bpf", "perfmon")):
            ran = user("doctor")
    else:
        ran = {"root": synfin, "user": nobody}[rights]("doctor")
    lines = ran.out.splitlines()
    assert ran.code == 0 and len(lines) <= 24 and max(map(len, lines)) <= 80, ran.out
    assert lines[0].startswith("synfin ") and "Kernel probes" in lines


CALL = "id -u; grep CapEff /proc/self/status; sleep 0.3"


def under_sudo(folder: Path) -> Synfin:
    """Root, as sudo leaves it, called by the user nobody."""
    before, python = _as_nobody()
    assert before
    sudo = {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY), "SUDO_USER": "nobody"}
    variables = {**_PLAIN, **sudo, "HOME": str(folder), "XDG_CACHE_HOME": user_cache_dir()}
    return Synfin(folder, (), python, variables)


def test_sudo_goes_back_to_its_user_when_the_probes_are_on(folder: Path) -> None:
    """The tracer, the command and the recording are the user's; no right is left to the command."""
    for user in typing(under_sudo(folder)):
        tracing = user.start("record", "-w", "it.pcapng", "--", "sh", "-c", CALL)
        wait_for(lambda: (folder / "it.pcapng").exists(), "the recording")
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{tracing.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        ran = user.end(tracing)
    assert ran.code == 0, ran.err
    assert status["Uid"].split() == [str(NOBODY)] * 4 and int(status["CapEff"], 16) == 1 << 39  # CAP_BPF, for its maps
    assert ran.out.split() == [str(NOBODY), "CapEff:", "0" * 16]
    assert os.stat(folder / "it.pcapng").st_uid == NOBODY  # noqa: PTH116
    kinds = {event.name for event in load(folder / "it.pcapng").events()}
    assert "process:fork" in kinds or "process:exit" in kinds  # the probes went on


def test_no_drop_stays_root(folder: Path) -> None:
    for user in typing(under_sudo(folder)):
        ran = user("record", "--no-drop", "-w", "it.pcapng", "--", "sh", "-c", CALL)
    assert ran.out.split()[0] == "0" and os.stat(folder / "it.pcapng").st_uid == 0  # noqa: PTH116


def test_drop_wants_somebody_to_go_back_to(synfin: Synfin) -> None:
    ran = synfin("trace", "--drop", "--", "true")
    assert ran.code == 2 and "nobody did (no SUDO_UID)" in ran.err
