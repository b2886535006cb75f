"""What the end-to-end tests share: the command in a process of its own, plays watched through the API, leftovers.

A test here is a transcript: what is typed, what must come. The command runs as a newcomer runs it, in another folder
and with nothing of the test's own process; every process that comes of it carries a mark in its environment, so that
whatever it leaves behind is found, however far it has wandered.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import pytest

if not sys.platform.startswith("linux"):
    collect_ignore_glob = ["test_*.py"]
else:
    from scenarios.play import Play
    from scenarios.reports import ActorReports
    from scenarios.stage import Stage
    from tracer.kernel.attach import Mode
    from tracer.kernel.clock import measure
    from tracer.kernel.rings import DEFAULT_BYTES
    from tracer.kernel.source import Filter, KernelSource
    from tracer.kinds import Ring
    from tracer.recording.source import RecordingSource
    from tracer.session import Session, Sink
    from tracer.timeline import Event, Timeline
    from tracer.world import World

ROOT: Final = Path(__file__).resolve().parent.parent.parent
MARK: Final = "SYNFIN_TEST_MARK"
NOBODY: Final = 65534
THIS: Final = (sys.executable, "-m", "tui.cli")
_PLAIN: Final = {
    "PATH": os.environ.get("PATH", os.defpath),
    "PYTHONPATH": os.pathsep.join((str(ROOT), str(Path(click.__file__).resolve().parent.parent))),
}
"""Environment in which an interpreter without our packages finds the clone and the dependencies."""
PATIENCE: Final = 60.0
"""Seconds after which a command counts as hanging, on a machine with much else to do."""
_ESCAPES: Final = re.compile(r"\x1b(\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_=>])")


@dataclass
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `--json` printed."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Synfin:
    """Types commands, and knows every process that came of them."""

    folder: Path
    """Where they are typed."""
    before: tuple[str, ...] = ()
    """The command that runs them, when they do not run by themselves."""
    python: tuple[str, ...] = THIS
    """Interpreter and arguments that stand for `synfin`."""
    variables: dict[str, str] = field(default_factory=dict)
    """Environment of its own."""
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    mounts: set[str] = field(default_factory=lambda: namespace_mounts())

    def environment(self) -> dict[str, str]:
        """As small as a login's, of a user who has looked at nothing yet."""
        inherited = {
            name: os.environ[name] for name in ("HOME", "PATH", "LANG", "XDG_CACHE_HOME") if name in os.environ
        }
        own = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "XDG_STATE_HOME": str(self.folder / ".state")}
        return {**own, **inherited, **self.variables, MARK: self.mark}

    def start(
        self, *words: str, before: Sequence[str] = (), stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE, **how: Any,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Begin `synfin WORDS`, in a process group of its own; `before` is a command that runs it."""
        process = subprocess.Popen(
            [*self.before, *before, *self.python, *words], cwd=self.folder, env=self.environment(),
            stdin=stdin, stdout=stdout, stderr=stderr, **{"process_group": 0, **how},
        )  # fmt: skip
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes], *, within: float = PATIENCE) -> Ran:
        """Wait for its end. No command may ever show a traceback."""
        try:
            out, err = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            said = (err or b"").decode(errors="replace")
            raise AssertionError(f"{process.args!r} hangs; it said: {said}") from None
        ran = Ran(process.returncode, (out or b"").decode(), (err or b"").decode())
        assert "Traceback" not in ran.err, ran.err
        return ran

    def __call__(self, *words: str, **how: Any) -> Ran:
        """`synfin WORDS`, from beginning to end."""
        return self.end(self.start(*words, **how))

    def processes(self) -> dict[int, str]:
        """Processes alive that came of these commands, and what they are."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (place / "environ").read_bytes():
                    found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def left_behind(self, within: float = 5.0) -> str:
        """What is still there when all commands have ended, in words; asked again until it is nothing or time is up.

        Others on this machine may trace, too: a program of theirs that is about to be freed is nobody's for a moment,
        so only those count that were so at every look since the last of our own processes ended.
        """
        until = time.monotonic() + within
        programs = ownerless_programs()
        while (left := self._left(programs)) and time.monotonic() < until:
            time.sleep(0.05)
            programs = ownerless_programs(None if left.startswith("process ") else programs)
        return left

    def _left(self, programs: dict[int, str]) -> str:
        left = [f"process {pid}: {what}" for pid, what in self.processes().items()]
        left += [f"BPF program {number} ({name})" for number, name in programs.items()]
        return "; ".join(left + sorted(namespace_mounts() - self.mounts))

    def close(self) -> None:
        """End what a failing test left running."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def namespace_mounts() -> set[str]:
    """Namespaces kept by a mount. One without a mount ends with its last process or open descriptor."""
    return {line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " nsfs " in line}


def ownerless_programs(among: Collection[int] | None = None) -> dict[int, str]:
    """Loaded BPF programs of our names that no process holds open: pinned or leaked ones, of these numbers if any."""
    from tracer.kernel.probes import PROBES

    if os.geteuid() != 0 or (among is not None and not among):
        return {}
    names = {probe.program[:15] for probe in PROBES}  # BPF_OBJ_NAME_LEN
    try:
        told = subprocess.run(["bpftool", "--json", "prog", "show"], capture_output=True, check=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        return {}
    loaded = {
        row["id"]: row["name"]
        for row in json.loads(told.stdout)
        if row.get("name") in names and (among is None or row["id"] in among)
    }
    if not loaded:
        return {}
    for place in Path("/proc").glob("[0-9]*/fdinfo/*"):
        with contextlib.suppress(OSError):
            for number in re.findall(r"^prog_id:\s*(\d+)", place.read_text(), re.MULTILINE):
                loaded.pop(int(number), None)
    return loaded


def typing(typist: Synfin) -> Iterator[Synfin]:
    """A fixture's body: whatever the test did with it, nothing may be left behind."""
    yield typist
    running = [process.args for process in typist.started if process.poll() is None]
    left = "" if running else typist.left_behind()
    typist.close()
    assert not running, f"still running: {running}"
    assert not left, f"left behind: {left}"


@pytest.fixture
def synfin(tmp_path: Path) -> Iterator[Synfin]:
    """Types commands in a folder of its own; whatever the test did, nothing may be left behind."""
    yield from typing(Synfin(tmp_path))


# A terminal


class Terminal:
    """A pseudo-terminal with the command on it: what it shows is read as text, what is typed are bytes."""

    def __init__(self, synfin: Synfin, *words: str, columns: int = 80, rows: int = 24) -> None:
        self._end, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # As a login does: a session of its own, whose controlling terminal this is, so that Ctrl-C is a signal.
        self.process = synfin.start(
            *words, before=("setsid", "--ctty"), stdin=inner, stdout=inner, stderr=inner, process_group=None
        )
        os.close(inner)
        self.raw = b""
        """All that it has written, as it came."""

    @property
    def text(self) -> str:
        """All that it has written, without escape sequences."""
        return _ESCAPES.sub(" ", self.raw.decode(errors="replace"))

    def read(self, seconds: float) -> None:
        """Take in what comes within the next ... seconds; returns earlier when something came."""
        if select.select([self._end], [], [], seconds)[0]:
            try:
                self.raw += os.read(self._end, 65536)
            except OSError as closed:
                if closed.errno != errno.EIO:  # the other end is closed: that is how a terminal says end-of-file
                    raise
                time.sleep(min(seconds, 0.02))

    def until(self, words: str, within: float = PATIENCE) -> str:
        """Read until it shows `words`; gives all text."""
        deadline = time.monotonic() + within
        while words not in self.text:
            assert time.monotonic() < deadline, f"it never said {words!r}: {self.text[-2000:]}"
            self.read(0.1)
        return self.text

    def quiet(self, seconds: float) -> str:
        """Go on reading for so long; gives what came meanwhile."""
        before, deadline = len(self.text), time.monotonic() + seconds
        while (rest := deadline - time.monotonic()) > 0:
            self.read(rest)
        return self.text[before:]

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._end, keys)

    def end(self, within: float = PATIENCE) -> int:
        """Read to the end of the command; its exit code."""
        deadline = time.monotonic() + within
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end: {self.text[-2000:]}"
            self.read(0.1)
        for _ in range(10):
            self.read(0)
        os.close(self._end)
        assert "Traceback" not in self.text, self.text
        return self.process.returncode


# Plays watched through the API, and recordings


class Performance:
    """half-close on its stage, watched by the kernel's probes: what `synfin run` does, held in the test's hand."""

    def __init__(
        self, mode: Mode | None = None, *, hold: bool = False, ring_bytes: dict[Ring, int] | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:  # fmt: skip
        self.stage = Stage.of("half-close")
        ground = self.stage.open()
        self.pids = ground.pids
        self.netns = ground.networks["server"]
        self.kernel = KernelSource(mode=mode, ring_bytes=dict(ring_bytes or DEFAULT_BYTES))
        try:
            pids = frozenset(ground.pids.values())
            self.kernel.start(Filter(processes=pids, netns=frozenset(ground.networks.values())))
        except BaseException:
            self.stage.close()
            raise
        reports = ActorReports(measure().ns, calls=False)
        self.session = Session([self.kernel, reports], sinks=sinks)
        self.play = Play(self.stage, hold_steps=hold, listener=reports.hear)
        self.session.start()
        self.play.start()

    @property
    def timeline(self) -> Timeline:
        """All events so far."""
        return self.session.timeline

    def go_to(self, step: int) -> World:
        """Play up to the end of this step, hold there, and give the world as it was told until then."""
        for number in range(self.play.position + 1, step + 1):
            self.play.next_step()
            wait_for(partial(self._past, number), f"step {number}")
            assert not self.play.failure
        # The session holds back its last few milliseconds: a quiet timeline is a complete one. It looks seldom
        # once nothing has happened for a while.
        count, since = -1, time.monotonic()
        while count != len(self.timeline) or time.monotonic() < since + 0.1:
            self.session.pump()
            if count != len(self.timeline):
                count, since = len(self.timeline), time.monotonic()
            time.sleep(0.01)
        return world_after(self.timeline)

    def _past(self, step: int) -> bool:
        return self.play.position >= step or bool(self.play.failure)

    def finish(self) -> Timeline:
        """Play to the end and take everything down; the whole timeline."""
        self.play.run()
        assert self.play.wait(PATIENCE)
        assert (self.play.state, self.play.failure) == ("finished", "")
        time.sleep(0.05)
        self.close()
        return self.timeline

    def close(self) -> None:
        """End play, probes and stage. May be called twice."""
        self.play.stop()
        try:
            self.session.stop()
        finally:
            self.stage.close()


@pytest.fixture
def perform() -> Iterator[Callable[..., Performance]]:
    """Starts plays; they end with the test."""
    begun: list[Performance] = []

    def start(*args: Any, **how: Any) -> Performance:
        begun.append(Performance(*args, **how))
        return begun[-1]

    yield start
    for one in begun:
        one.close()


def load(path: Path) -> Timeline:
    """A recording, read to its end."""
    source = RecordingSource(path.open("rb"))
    session = Session([source])
    while not source.finished:
        session.pump(final=True)
    session.stop()
    assert not source.reader.notes
    return session.timeline


def worlds(timeline: Timeline) -> Iterator[tuple[Event, World]]:
    """Every event and the world just after it; one world, which moves on."""
    world = World()
    for event in timeline.events():
        world.apply(event)
        yield event, world


def world_after(timeline: Timeline) -> World:
    """The world after all events."""
    world = World()
    for event in timeline.events():
        world.apply(event)
    return world


def the(events: Sequence[Event] | Iterator[Event], kind: str, **fields: Any) -> Event:
    """The first event of that kind with those values; head fields and own fields alike."""
    for event in events:
        if event.name == kind and all(
            (getattr(event, name) if hasattr(event, name) else event[name]) == value for name, value in fields.items()
        ):
            return event
    raise AssertionError(f"no {kind} with {fields}")


def wait_for(reached: Callable[[], object], what: str, within: float = PATIENCE) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + within
    while not reached():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def _as_nobody() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How to run the command as a plain user: what stands before it, and the interpreter with its arguments.

    As root, the user nobody with an interpreter that he may run; skips where there is none. Else, oneself.
    """
    if os.geteuid() != 0:
        return (), THIS
    # setpriv itself keeps root's capabilities until it executes something: env is what nobody must be able to run.
    before = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "env")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        tried = [*before, python, "-c", "import click, tui, numpy"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if subprocess.run(tried, env=_PLAIN, capture_output=True, timeout=20, check=False).returncode == 0:
                return before, (python, "-m", "tui.cli")
    pytest.skip(f"needs test: no {version} that the user nobody may run, or no access to this clone for him")


@pytest.fixture
def nobody() -> Iterator[Synfin]:
    """Types commands as a plain user, in a folder of his own; nothing may be left behind."""
    before, python = _as_nobody()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield from typing(Synfin(folder, before, python, {**_PLAIN, "HOME": name}))
