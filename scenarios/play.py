"""A performance: the steps of a scenario, cued one by one, held or let run by a person.

A play runs in a thread of its own, so that a screen or a command line can call `next_step`, `run`, `hold` and `stop`
at any moment. It knows that a step is over when the actor says so over its pipe; for a step that leaves its actor
asleep, when the actor has announced the call and the kernel shows its thread sleeping (`S` in /proc/PID/stat); and for
a step that wakes others, when these are back from their calls. What the actors report, the play hands to a listener as
it comes.
"""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from scenarios import calls
from scenarios.script import Scenario, Step
from scenarios.stage import Stage

State = Literal["ready", "playing", "held", "finished", "failed", "stopped"]
Kind = Literal["cue", "call", "sleep", "said", "done", "fail", "leave"]

ASLEEP_POLL_SECONDS: Final = 0.0005
"""How often /proc is asked whether an actor that announced its sleep has fallen asleep."""


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
        self._change = threading.Condition()
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
        for name, pid in self.stage.ground.pids.items():
            self._parts[name] = _Part(name, pid, self.stage.cues[name], self.stage.reports[name])
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread.start()

    def next_step(self) -> None:
        """Let one more step be played, and hold again after it."""
        with self._change:
            self.hold_steps = True
            self._allowed = min(self._allowed + 1, len(self.steps))
            self._change.notify_all()

    def run(self, pace: float | None = None) -> None:
        """Let it run by itself, with `pace` seconds between steps."""
        with self._change:
            self.hold_steps = False
            self.pace = self.pace if pace is None else pace
            self._change.notify_all()

    def hold(self) -> None:
        """Hold it before the next step."""
        with self._change:
            self.hold_steps = True
            self._change.notify_all()

    def stop(self) -> None:
        """End it now and wait for that; the actors stay as they are. Close the stage only after this."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
            if self._wake_write >= 0:
                os.write(self._wake_write, b"x")
        if threading.current_thread() is not self._thread and self._thread.ident is not None:
            self._over.wait(5.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the play is over (finished, failed or stopped); False when `timeout` seconds passed first."""
        return self._over.wait(timeout)

    # --- the play's own thread

    def _perform(self) -> None:
        try:
            for step in self.steps:
                self._await_leave()
                self._play(step)
                with self._change:
                    self.position = step.number
                    self._allowed = max(self._allowed, step.number)
            self.state = "finished"
        except _Stopped:
            self.state = "stopped"
        except Exception as failure:  # the caller's listener may raise anything; it must not be lost in a thread
            self.state = "failed"
            self.failure = str(failure) if isinstance(failure, PlayFailed) else f"{type(failure).__name__}: {failure}"
        finally:
            with self._change:  # so that stop() never writes into a descriptor that is somebody else's by now
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_read = self._wake_write = -1
            self._over.set()

    def _await_leave(self) -> None:
        """Wait until the next step may be played."""
        until = time.monotonic() + (self.pace if self.position else 0.0)
        with self._change:
            while not self._stopping:
                if self.hold_steps and self._allowed <= self.position:
                    self.state = "held"
                    self._change.wait()
                elif not self.hold_steps and (rest := until - time.monotonic()) > 0:
                    self._change.wait(rest)
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
        if part.announced:
            self._until(step, deadline, part, lambda: not part.busy, "to wake up from its last step")
        part.step, part.busy, part.announced = step.number, True, ""
        self._tell("cue", time.monotonic_ns(), part, step.text)
        cue = json.dumps({"step": step.number, "shared": self._shared}) + "\n"
        try:
            os.write(part.cue, cue.encode())
        except BrokenPipeError:
            raise PlayFailed(f"step {step.number}: the {part.name}'s process has died") from None
        if step.asleep_in:
            self._until(step, deadline, part, lambda: self._asleep(part, step), f"to fall asleep in {step.asleep_in}")
        else:
            self._until(step, deadline, part, lambda: not part.busy, "to finish")
        for name in step.wakes:
            woken = self._parts[name]
            self._until(step, deadline, woken, lambda woken=woken: not woken.busy, "to be woken")  # type: ignore[misc]
        while (rest := began + step.lasts - time.monotonic()) > 0:
            self._listen(rest)

    def _asleep(self, part: _Part, step: Step) -> bool:
        if not part.busy:
            raise PlayFailed(f"step {step.number}: the {part.name} came back from {step.asleep_in} instead of sleeping")
        return part.announced == step.asleep_in and thread_state(part.pid) == "S"

    def _until(self, step: Step, deadline: float, part: _Part, reached: Callable[[], bool], what: str) -> None:
        """Listen to the actors until it is so. Raises PlayFailed, _Stopped."""
        while not reached():
            if part.gone:
                raise PlayFailed(f"step {step.number}: the {part.name}'s process has died")
            rest = deadline - time.monotonic()
            if rest <= 0:
                raise PlayFailed(f"step {step.number}: waited {step.timeout:g} s for the {part.name} {what}")
            self._listen(min(rest, ASLEEP_POLL_SECONDS if part.announced else 1.0))
        self._listen(0.0)

    def _listen(self, seconds: float) -> None:
        """Take in what the actors have written, waiting at most so long for the first of it."""
        watching = select.poll()
        watching.register(self._wake_read, select.POLLIN)
        parts = {part.report: part for part in self._parts.values() if not part.gone}
        for fd in parts:
            watching.register(fd, select.POLLIN)
        for fd, event in watching.poll(max(seconds * 1000, 0)):
            if fd == self._wake_read or event & select.POLLNVAL:
                raise _Stopped
            part = parts[fd]
            chunk = os.read(fd, 65536)
            if not chunk:  # the process's descriptors are closed: it has ended
                part.gone = True
                part.busy = part.busy and not part.leaving
            *lines, part.received = (part.received + chunk).split(b"\n")
            for line in lines:
                self._take(part, json.loads(line))

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
        elif kind in ("done", "fail", "leave"):
            for moment, text in message.get("said", ()):
                self._tell("said", moment, part, text)
            part.leaving = kind == "leave"  # and gone at end-of-file
            part.busy, part.announced = part.leaving, ""
            self._shared.update(message.get("shared", {}))
            self._tell(kind, message["time"], part, message.get("error", ""))
            if kind == "fail":
                raise PlayFailed(f"step {part.step}, {part.name}: {message['error']}")

    def _tell(self, kind: Kind, moment: int, part: _Part, text: str, call: calls.Call | None = None) -> None:
        report = Report(kind, moment, part.name, part.pid, part.step, text, call)
        self.reports.append(report)
        self.listener(report)


def thread_state(pid: int) -> str:
    """The scheduler's letter for a process's first thread (proc_pid_stat(5)), empty when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return stat[stat.rindex(b")") + 2 :][:1].decode()
