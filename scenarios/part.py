"""The life of an actor's process: from its birth on the stage over its cues to its end.

An actor has one thread and a descriptor table whose numbers begin at 3, so what a probe sees of it is the story and
little else. It is told what to do over a pipe, which it reads between two steps only: while a step has it sleeping in
epoll_wait or recv, it is asleep there and nowhere else. Pipes, because a control channel made of sockets would be in
the picture.

The process dies with the stage hand that forked it (PR_SET_PDEATHSIG), and the stage hand with the play. When a step
takes too long, the play asks where it is stuck by a signal, which faulthandler answers out of any system call.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from scenarios import calls
from scenarios.actor import Actor, Reporter
from scenarios.cables import CONTROL_FDS_FROM, up
from scenarios.script import NETWORK, Family, Scenario, Step

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15


@dataclass(frozen=True)
class Role:
    """What the stage hand tells a new actor."""

    name: str
    scenario: Scenario
    addresses: dict[str, str]
    family: Family
    port: int
    host_network: int
    """Inode of the host's network."""
    cue_fd: int
    report_fd: int
    children: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Pipes (cue, report) of the actors that it may fork."""

    programs: dict[str, str] = field(default_factory=dict)
    """Where the Go programs of the play are, by name."""

    def with_pipes(self, cue_fd: int, report_fd: int, children: dict[str, tuple[int, int]]) -> Role:
        """The same with the pipes filled in."""
        return replace(self, cue_fd=cue_fd, report_fd=report_fd, children=children)


class _Born(BaseException):
    """Unwinds the stack of a step in the child that has just been forked in it."""


def become(name: str, parent: int, *, group: bool = True) -> None:
    """Make this forked process an actor's: named, in a group of its own, and gone when the stage hand is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    libc.prctl(PR_SET_NAME, name.encode()[:15] + b"\0", 0, 0, 0)
    if group:
        os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


class Part:
    """An actor's process from within."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._scenario = role.scenario
        self._cue_fd, self._report_fd = up(role.cue_fd), up(role.report_fd)
        self._children = {name: (up(cue), up(report)) for name, (cue, report) in role.children.items()}
        self._take_up(self._report_fd)
        calls.prepare()
        calls.use_family(_socket_family(role))
        self.actor = self._make_actor()
        self.actor.host_network = role.host_network
        self.actor.on_fork = self._fork
        self._received = b""

    def _take_up(self, report_fd: int) -> None:
        self.reporter = Reporter(report_fd)
        calls.report_to(self.reporter.call, self.reporter.sleep)
        faulthandler.register(signal.SIGUSR2, file=report_fd, all_threads=False)

    def _make_actor(self) -> Actor:
        role = self._role
        made: dict[str, Any] = {
            "name": role.name,
            "addresses": role.addresses,
            "port": role.port,
            "family": role.family,
            "dual": role.scenario.listeners or role.scenario.actors[:1],
        }
        if role.name == NETWORK:
            from scenarios.network import Network, open_relay

            return Network(made, open_relay(role.scenario, self.reporter.tell))
        actor = Actor(**made)
        if role.name in role.scenario.peers:
            from scenarios.peer import Peer

            actor.peer = Peer.of(role.name, role.scenario, role.addresses, role.port)
        return actor

    def play(self) -> NoReturn:
        """Play from the first cue to the last."""
        os.closerange(3, CONTROL_FDS_FROM)  # last: by this the stage hand knows that the actor is ready
        relay = getattr(self.actor, "relay", None) if self._role.name == NETWORK else None
        while True:
            with contextlib.suppress(_Born):
                if relay is not None:
                    relay.run(self._cue_fd, self._read_cue)
                while self._read_cue():
                    pass
                os._exit(0)

    def _read_cue(self) -> bool:
        """Wait for a cue and play it; False when there will be no more."""
        chunk = os.read(self._cue_fd, 65536)
        self._received += chunk
        while b"\n" in self._received:
            line, self._received = self._received.split(b"\n", 1)
            cue = json.loads(line)
            self.actor.shared.update(cue["shared"])
            self.actor.pids = cue["pids"]
            self._play_step(self._scenario.steps[cue["step"] - 1])
        return bool(chunk)

    def _play_step(self, step: Step) -> None:
        actor, tell = self.actor, self.reporter.tell
        self.reporter.asleep_in = step.asleep_in
        actor.told, actor.said = {}, []
        try:
            if step.program:
                self._run(step)
            step.action(actor)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 0
            tell(kind="leave", step=step.number, time=time.monotonic_ns(), code=code, said=actor.said)
            os._exit(code)
        except Exception as failure:
            error = f"{_words(failure)}{_line_of(failure, step)}"
            tell(kind="fail", step=step.number, time=time.monotonic_ns(), error=error, said=actor.said)
        else:
            tell(kind="done", step=step.number, time=time.monotonic_ns(), shared=actor.told, said=actor.said)

    def _fork(self, name: str) -> int:
        """Fork a child of the story and give it its part. Raises RuntimeError, OSError."""
        if name not in self._children:
            raise RuntimeError(f"{name} is not a child of the {self.actor.name}, or born already (`children`)")
        hand = os.getppid()
        pid = calls.fork()
        if pid:
            for fd in self._children.pop(name):
                os.close(fd)
            self.actor.pids[name] = pid
            self.reporter.tell(kind="born", name=name, pid=pid, time=time.monotonic_ns())
            return pid
        become(name, hand, group=False)
        os.close(self._cue_fd)
        os.close(self._report_fd)
        self._cue_fd, self._report_fd = self._children[name]
        for other, pipes in self._children.items():
            if other != name:
                for fd in pipes:
                    os.close(fd)
        self._children, self._received = {}, b""
        self._take_up(self._report_fd)
        self.actor.name = name
        raise _Born

    def _run(self, step: Step) -> NoReturn:
        """Become a program. Raises OSError."""
        host, port = self.actor.anywhere(step.listens or 0)
        words = {"port": str(port), "address": host, "python": sys.executable}
        words |= {f"address:{name}": self.actor.at(name)[0] for name in self._role.addresses}
        words |= {f"go:{name}": path for name, path in self._role.programs.items()}
        argv = [_filled(word, words) for word in step.program]
        found = shutil.which(argv[0])
        if found is None:  # found out now: what is said after this is the program's
            raise FileNotFoundError(2, "no such program", argv[0])
        self.reporter.tell(kind="runs", step=step.number, time=time.monotonic_ns(), argv=argv, port=port)
        for fd in (1, 2):
            os.dup2(self._report_fd, fd)
        faulthandler.unregister(signal.SIGUSR2)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": _ROOT}
        os.execve(found, argv, environment)


_ROOT: Final = str(Path(__file__).resolve().parent.parent)


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def _socket_family(role: Role) -> int:
    """What socket() makes for this actor."""
    dual = role.name in (role.scenario.listeners or role.scenario.actors[:1])
    six = role.family == "ipv6" or (role.family == "mapped" and dual)
    return calls.AF_INET6 if six else calls.AF_INET


def _words(failure: Exception) -> str:
    text = str(failure)
    return text if isinstance(failure, OSError) and text else f"{type(failure).__name__}: {text}"


def _line_of(failure: Exception, step: Step) -> str:
    """Where in the script it went wrong: the innermost frame that belongs to the script's own file."""
    path = getattr(sys.modules.get(step.action.__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(failure.__traceback__) if frame.filename == path]
    return f" (line {lines[-1]} of the script)" if lines else ""
