"""A performance: the steps of a scenario, cued one by one, held or let run by a person.

A play runs in a thread of its own, so that a screen or a command line can call `next_step`, `run`, `hold` and `stop`
at any moment. It knows that a step is over when the actor says so over its pipe; for a step that leaves its actor
asleep, when the actor has announced the call and the kernel shows its thread sleeping (`S` in /proc/PID/stat); and for
a step that wakes others, when these are back from their calls. What the actors report, the play hands to a listener as
it comes.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from scenarios import calls, procfs
from scenarios.script import Scenario, Step
from scenarios.stage import Stage

State = Literal["ready", "playing", "held", "finished", "failed", "stopped"]
Kind = Literal["cue", "call", "sleep", "said", "done", "fail", "leave", "fate"]

ASLEEP_POLL_SECONDS: Final = 0.0005
"""How often /proc is asked whether an actor that announced its sleep has fallen asleep."""
PROGRAM_POLL_SECONDS: Final = 0.01
"""How often it is asked whether a program listens."""
STUCK_SECONDS: Final = 0.3
"""How long an actor that has not come back may take to say where it is."""


@dataclass(frozen=True)
class Report:
    """One thing a play or its actor said happened."""

    kind: Kind
    time: int
    """CLOCK_MONOTONIC in ns, taken by the actor (by the play for `cue`). For a `call`, when it came back."""
    actor: str
    pid: int
    step: int
    """Number of the actor's step."""
    text: str
    """The line of the step, the call as strace would show it, the remark, or what went wrong."""
    call: calls.Call | None = None
    fate: dict[str, Any] | None = None
    """What the wire did to a packet (scenarios.relay.fate_message)."""


@dataclass
class _Part:
    """What the play knows about one actor."""

    name: str
    pid: int
    cue: int
    report: int
    step: int = 0
    busy: bool = False
    announced: str = ""
    """The call it said it would now sleep in; empty when none or when it is back."""
    leaving: bool = False
    gone: bool = False
    argv: list[str] = field(default_factory=list)
    """The program that it has become."""
    port: int = 0
    """Where the program is to listen; 0: nowhere."""
    asked: bool = False
    """Whether it was asked where it is; what its interrupted call then raises is no failure of its own."""
    trace: list[str] = field(default_factory=list)
    """What it last said about where it is, or as a program."""
    error: str = ""
    received: bytes = b""


class PlayFailed(RuntimeError):
    """A step did not go as written; str() names step and reason."""


class _Stopped(Exception):
    """stop() was called."""


@dataclass
class Play:
    """A performance of a scenario on an open stage.

    `hold`: wait for next_step before every step. `pace`: seconds between steps when it runs by itself. `listener` is
    called with each Report, from the play's thread. The stage stays open when the play is over (TIME_WAIT goes on):
    close it yourself.
    """

    stage: Stage
    hold_steps: bool = False
    pace: float = 0.0
    listener: Callable[[Report], None] = lambda report: None
    state: State = "ready"
    position: int = 0
    """How many steps are over."""
    failure: str = ""
    """Why it failed, in words."""
    reports: list[Report] = field(default_factory=list)
    _allowed: int = 0
    _stopping: bool = False
    _shared: dict[str, Any] = field(default_factory=dict)
    _parts: dict[str, _Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._change = threading.Lock()
        self._wake_read = self._wake_write = -1
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._perform, name="play", daemon=True)

    @property
    def scenario(self) -> Scenario:
        """What is played."""
        return self.stage.scenario

    @property
    def steps(self) -> list[Step]:
        """The screenplay."""
        return self.scenario.steps

    @property
    def upcoming(self) -> Step | None:
        """The step that would be played next, None when there is none."""
        return self.steps[self.position] if self.position < len(self.steps) else None

    def start(self) -> None:
        """Begin, on a stage that is open."""
        if self.stage.ground is None:
            raise RuntimeError("open the stage first")
        for name in self.scenario.cast:  # copies: the stage may be struck while the play still listens
            pipes = os.dup(self.stage.cues[name]), os.dup(self.stage.reports[name])
            self._parts[name] = _Part(name, self.stage.ground.pids.get(name, 0), *pipes)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread.start()

    def next_step(self) -> None:
        """Let one more step be played, and hold again after it."""
        self.hold_steps = True
        self._allowed = min(self._allowed + 1, len(self.steps))
        self._nudge()

    def run(self, pace: float | None = None) -> None:
        """Let it run by itself, with `pace` seconds between steps."""
        self.hold_steps = False
        self.pace = self.pace if pace is None else pace
        self._nudge()

    def hold(self) -> None:
        """Hold it before the next step."""
        self.hold_steps = True
        self._nudge()

    def stop(self) -> None:
        """End it now and wait for that; the actors stay as they are. Close the stage only after this."""
        self._stopping = True
        self._nudge()
        if threading.current_thread() is not self._thread and self._thread.ident is not None:
            self._thread.join(5.0)

    def _nudge(self) -> None:
        with self._change:
            if self._wake_write >= 0:
                with contextlib.suppress(BlockingIOError):  # full: it will wake up as it is
                    os.write(self._wake_write, b"x")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the play is over (finished, failed or stopped); False when `timeout` seconds passed first."""
        return self._over.wait(timeout)

    # --- the play's own thread

    def _perform(self) -> None:
        try:
            for step in self.steps:
                self._await_leave()
                self._play(step)
                self.position = step.number
                self._allowed = max(self._allowed, step.number)
            self.state = "finished"
        except _Stopped:
            self.state = "stopped"
        except Exception as failure:  # the caller's listener may raise anything; it must not be lost in a thread
            self.state = "failed"
            self.failure = str(failure) if isinstance(failure, PlayFailed) else f"{type(failure).__name__}: {failure}"
        self._over.set()
        try:
            self._attend()
        finally:
            with self._change:  # so that nobody writes into a descriptor that is somebody else's by now
                for part in self._parts.values():
                    os.close(part.cue)
                    os.close(part.report)
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_read = self._wake_write = -1

    def _attend(self) -> None:
        """The steps are over, but the wire and programs go on: take in what they say until they have gone."""
        while not self._stopping and any(not part.gone for part in self._parts.values()):
            try:
                self._listen(60.0)
            except PlayFailed:
                continue
            except Exception:  # stopped, or a listener that has failed already
                return

    def _await_leave(self) -> None:
        """Wait until the next step may be played."""
        until = time.monotonic() + (self.pace if self.position else 0.0)
        while not self._stopping:
            if self.hold_steps and self._allowed <= self.position:
                self.state = "held"
                self._listen(60.0)
            elif not self.hold_steps and (rest := until - time.monotonic()) > 0:
                self._listen(rest)
            else:
                break
        if self._stopping:
            raise _Stopped
        self.state = "playing"

    def _play(self, step: Step) -> None:
        part = self._parts[step.actor]
        began = time.monotonic()
        deadline = began + step.timeout
        if part.gone:
            raise PlayFailed(f"step {step.number}: the {part.name} has already left")
        if not part.pid:
            raise PlayFailed(f"step {step.number}: the {part.name} is not born yet: its parent must fork first")
        if part.announced:
            self._until(step, deadline, part, lambda: not part.busy, "to wake up from its last step")
        part.step, part.busy, part.announced = step.number, True, ""
        self._tell("cue", time.monotonic_ns(), part, step.text)
        pids = {each.name: each.pid for each in self._parts.values() if each.pid}
        cue = json.dumps({"step": step.number, "shared": self._shared, "pids": pids}) + "\n"
        try:
            os.write(part.cue, cue.encode())
        except BrokenPipeError:
            raise PlayFailed(f"step {step.number}: the {part.name}'s process has died") from None
        if step.program:
            self._until(step, deadline, part, lambda: self._has_begun(part, step), f"to run {step.program[0]}")
        elif step.asleep_in:
            self._until(step, deadline, part, lambda: self._asleep(part, step), f"to fall asleep in {step.asleep_in}")
        elif part.name not in step.ends:
            self._until(step, deadline, part, lambda: not part.busy, "to finish")
        for name in step.ends:
            ended = self._parts[name]
            self._until(step, deadline, ended, lambda ended=ended: ended.gone, "to end")  # type: ignore[misc]
        for name in step.wakes:
            woken = self._parts[name]
            self._until(step, deadline, woken, lambda woken=woken: not woken.busy, "to be woken")  # type: ignore[misc]
        for name in step.rests:
            part = self._parts[name]
            self._until(step, deadline, part, procfs.AtRest(part.pid), "to come to rest")
        while (rest := began + step.lasts - time.monotonic()) > 0:
            self._listen(rest)

    def _asleep(self, part: _Part, step: Step) -> bool:
        if not part.busy:
            raise PlayFailed(f"step {step.number}: the {part.name} came back from {step.asleep_in} instead of sleeping")
        return part.announced == step.asleep_in and procfs.thread_state(part.pid) == "S"

    def _has_begun(self, part: _Part, step: Step) -> bool:
        """Whether an actor has become its program, and this listens."""
        if not part.argv or not procfs.runs(part.pid, part.argv):
            return False
        if step.listens is not None and not procfs.listens(part.pid, part.port):
            return False
        part.busy = False
        return True

    def _until(self, step: Step, deadline: float, part: _Part, reached: Callable[[], bool], what: str) -> None:
        """Listen to the actors until it is so. Raises PlayFailed, _Stopped."""
        while not reached():
            if part.gone:
                last = f"; it said: {part.trace[-1]}" if part.trace else ""
                raise PlayFailed(f"step {step.number}: the {part.name}'s process has died{last}")
            rest = deadline - time.monotonic()
            if rest <= 0:
                waited = f"step {step.number}: waited {step.timeout:g} s for the {part.name} {what}"
                raise PlayFailed(f"{waited}{self._where(part)}")
            looks = PROGRAM_POLL_SECONDS if step.program or step.rests else 1.0
            self._listen(min(rest, ASLEEP_POLL_SECONDS if part.announced else looks))
        self._listen(0.0)

    def _where(self, part: _Part) -> str:
        """Where an actor is that has not come back: the call, the line of its script, and whether it sleeps."""
        sleeps = {"S": "asleep", "D": "asleep", "R": "running", "T": "stopped"}.get(procfs.thread_state(part.pid), "")
        if part.argv or part.gone or not part.busy:
            return f"; it is {sleeps}" if sleeps else ""
        part.asked = True
        part.trace.clear()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(part.pid, signal.SIGUSR2)
            until = time.monotonic() + STUCK_SECONDS
            while (rest := until - time.monotonic()) > 0 and not any("in play" in line for line in part.trace):
                self._listen(rest)
        module = sys.modules.get(self.steps[part.step - 1].action.__module__)
        place = procfs.place_of(part.trace, getattr(module, "__file__", None) or "")
        return f"; it is {', '.join(filter(None, (sleeps, place)))}" if sleeps or place else ""

    def _listen(self, seconds: float) -> None:
        """Take in what the actors have written, waiting at most so long for the first of it."""
        watching = select.poll()
        watching.register(self._wake_read, select.POLLIN)
        parts = {part.report: part for part in self._parts.values() if not part.gone}
        for fd in parts:
            watching.register(fd, select.POLLIN)
        for fd, _ in watching.poll(max(seconds * 1000, 0)):
            if fd == self._wake_read:
                os.read(fd, 4096)
                continue
            part = parts[fd]
            chunk = os.read(fd, 65536)
            if not chunk:  # the process's descriptors are closed: it has ended
                part.gone = True
                part.busy = part.busy and not part.leaving
                if part.argv:
                    self._tell("leave", time.monotonic_ns(), part, "the program has ended")
            *lines, part.received = (part.received + chunk).split(b"\n")
            for line in lines:
                self._hear(part, line)
        if self._stopping:
            raise _Stopped

    def _hear(self, part: _Part, line: bytes) -> None:
        """One line of what an actor says; a program's output, or faulthandler's answer, is no message."""
        if not part.argv and line.startswith(b"{"):
            self._take(part, json.loads(line))
        else:
            text = line.decode(errors="backslashreplace")
            part.trace.append(text)
            if part.argv and text:
                self._tell("said", time.monotonic_ns(), part, text)

    def _take(self, part: _Part, message: dict[str, Any]) -> None:
        kind = message.pop("kind")
        if kind in ("call", "sleep"):
            message |= {"values": tuple(message["values"]), "ready": tuple((a, b) for a, b in message["ready"])}
            call = calls.Call(**message)
            if kind == "sleep":
                part.announced = call.name
                self._tell("sleep", call.enter_ns, part, f"asleep in {call.name}", call)
            else:
                part.announced = "" if call.name == part.announced else part.announced
                self._tell("call", call.exit_ns, part, str(call), call)
        elif kind == "fate":
            networks = self.stage.ground.networks if self.stage.ground is not None else {}
            message["netns"] = networks.get(message["sender"], 0)
            self._tell("fate", message["time"], part, f"{message['told']}: {message['why']}", fate=message)
        elif kind == "born":
            child = self._parts[message["name"]]
            child.pid = message["pid"]
            if self.stage.ground is not None:
                self.stage.ground.pids[child.name] = child.pid
            self._tell("said", message["time"], part, f"has forked the {child.name}, process {child.pid}")
        elif kind == "runs":
            part.argv, part.port = message["argv"], message["port"]
            self._tell("said", message["time"], part, f"becomes {' '.join(part.argv)}")
        elif kind in ("done", "fail", "leave") and not part.asked:
            for moment, text in message.get("said", ()):
                self._tell("said", moment, part, text)
            part.leaving = kind == "leave"  # and gone at end-of-file
            part.busy, part.announced = part.leaving, ""
            self._shared.update(message.get("shared", {}))
            self._tell(kind, message["time"], part, message.get("error", ""))
            if kind == "fail":
                raise PlayFailed(f"step {part.step}, {part.name}: {message['error']}")

    def _tell(
        self,
        kind: Kind,
        moment: int,
        part: _Part,
        text: str,
        call: calls.Call | None = None,
        fate: dict[str, Any] | None = None,
    ) -> None:
        report = Report(kind, moment, part.name, part.pid, part.step, text, call, fate)
        self.reports.append(report)
        self.listener(report)
