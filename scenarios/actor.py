"""One actor: a process of its own that plays the steps of its part and is otherwise asleep.

An actor has one thread and a descriptor table whose numbers begin at 3, so what a probe sees of it is the story and
little else. It is told what to do over a pipe, which it reads between two steps only: while a step has it sleeping in
epoll_wait or recv, it is asleep there and nowhere else. What it did goes back over a second pipe at the end of the
step (and in one line just before the call in which the script wants it to fall asleep). Pipes, because a control
channel made of sockets would be in the picture.

The process dies with the stage hand that forked it (PR_SET_PDEATHSIG), and the stage hand with the play.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
import time
import traceback
from typing import Any, Final, NoReturn

from scenarios import calls
from scenarios.script import Scenario, Step

CONTROL_FDS_FROM: Final = 200
"""The pipes are moved up here, out of the way of the story's descriptors."""
PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15


class Actor:
    """What a step's function gets to hold: who it is, where the others are, and whatever it keeps as attributes."""

    def __init__(self, name: str, addresses: dict[str, str], port: int) -> None:
        self.name = name
        self.port = port
        self._addresses = addresses
        self.shared: dict[str, Any] = {}
        """What the actors told each other by `share`; simple values only."""
        self.told: dict[str, Any] = {}
        self.said: list[tuple[int, str]] = []

    def at(self, actor: str) -> calls.Address:
        """Where an actor is to be found: (IPv4 address, the play's port)."""
        return self._addresses[actor], self.port

    def share(self, **values: Any) -> None:
        """Let the other actors know values (from their next cue on)."""
        self.told.update(values)

    def say(self, text: str) -> None:
        """Put a remark on the timeline."""
        self.said.append((time.monotonic_ns(), text))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.name} has no {name!r} yet: an earlier step must set it")

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class Reporter:
    """Collects what the actor does and writes it to the pipe, one line of JSON for each message."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: list[dict[str, Any]] = []
        self.asleep_in = ""

    def call(self, call: calls.Call) -> None:
        """Note a call that has come back."""
        self._waiting.append({"kind": "call", **call.__dict__})

    def sleep(self, call: calls.Call) -> None:
        """Tell at once, if this is the call in which the script wants the actor asleep."""
        if call.name == self.asleep_in:
            self.tell(kind="sleep", **call.__dict__)

    def tell(self, **message: Any) -> None:
        """Write what has been noted and this message."""
        lines = [json.dumps(each) + "\n" for each in (*self._waiting, message)]
        self._waiting.clear()
        rest = "".join(lines).encode()
        while rest:
            rest = rest[os.write(self._fd, rest) :]


def become(name: str, parent: int) -> None:
    """Make this forked process an actor's: named, in a group of its own, and gone when the stage hand is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    libc.prctl(PR_SET_NAME, name.encode()[:15] + b"\0", 0, 0, 0)
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def play(name: str, scenario: Scenario, addresses: dict[str, str], port: int, cue_fd: int, report_fd: int) -> NoReturn:
    """Play the part of `name`, from the first cue to the last; never returns."""
    cue_fd = fcntl.fcntl(cue_fd, fcntl.F_DUPFD_CLOEXEC, CONTROL_FDS_FROM)
    report_fd = fcntl.fcntl(report_fd, fcntl.F_DUPFD_CLOEXEC, CONTROL_FDS_FROM)
    reporter = Reporter(report_fd)
    calls.on_call, calls.on_sleep = reporter.call, reporter.sleep
    calls.prepare()
    actor = Actor(name, addresses, port)
    os.closerange(3, CONTROL_FDS_FROM)  # last: by this the stage hand knows that the actor is ready
    received = b""
    while chunk := os.read(cue_fd, 65536):
        received += chunk
        while b"\n" in received:
            line, received = received.split(b"\n", 1)
            cue = json.loads(line)
            actor.shared.update(cue["shared"])
            _play_step(actor, scenario.steps[cue["step"] - 1], reporter)
    os._exit(0)


def _play_step(actor: Actor, step: Step, reporter: Reporter) -> None:
    reporter.asleep_in = step.asleep_in
    actor.told, actor.said = {}, []
    try:
        step.action(actor)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0
        reporter.tell(kind="leave", step=step.number, time=time.monotonic_ns(), code=code, said=actor.said)
        os._exit(code)
    except Exception as failure:
        where = _line_of(failure, step)
        reporter.tell(kind="fail", step=step.number, time=time.monotonic_ns(), error=f"{_words(failure)}{where}")
    else:
        reporter.tell(kind="done", step=step.number, time=time.monotonic_ns(), shared=actor.told, said=actor.said)


def _words(failure: Exception) -> str:
    text = str(failure)
    return text if isinstance(failure, OSError) and text else f"{type(failure).__name__}: {text}"


def _line_of(failure: Exception, step: Step) -> str:
    """Where in the script it went wrong: the innermost frame that belongs to the script's own file."""
    path = getattr(sys.modules.get(step.action.__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(failure.__traceback__) if frame.filename == path]
    return f" (line {lines[-1]} of the script)" if lines else ""
