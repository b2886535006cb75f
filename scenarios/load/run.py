"""One load against one model, from the start of the server to its end.

The acts are those of the clients: connect, talk, close. What the server used is taken over the second act only, when
all connections stand; what it holds is read at its end.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import math
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from scenarios.load.measure import AcceptQueue, buffers, family, usage
from scenarios.load.plan import Outcome, Plan
from scenarios.load.report import LoadFailed, Moment, Report, Usage
from scenarios.procfs import AtRest
from scenarios.servers.models import MODELS
from scenarios.servers.service import Counters

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 20.0
SETTLE_SECONDS: Final = 10.0
PACE: Final = 0.25
"""Seconds between two looks at a load under way."""
SPARE_FILES: Final = 200
EVENLY: Final = 0.9
_ROOT: Final = str(Path(__file__).resolve().parent.parent.parent)


class Server:
    """The model under measure: one process, or several on the same port where one may not have descriptors enough."""

    def __init__(self, model: str, plan: Plan, arguments: Sequence[str]) -> None:
        self._memory = os.memfd_create("counters")  # goes with us, however we end
        self.counters = f"/proc/{os.getpid()}/fd/{self._memory}"
        self.notes: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self._counting: list[int] = []
        self.address = ("", 0)
        wanted = plan.connections + plan.slow + SPARE_FILES
        most = _descriptors()
        # The kernel spreads connections over the listeners by a hash, that is, not quite evenly.
        number = 1 if wanted <= most or model == "reuseport" else math.ceil(wanted / most / EVENLY)
        if number > 1:
            self.notes.append(f"{number} processes share the port: each may have {most} descriptors here")
            arguments = [*arguments, "--reuse-port"]
        _check_package(model)
        try:
            for row in range(number):
                self._start(model, min(wanted, most), [*arguments, "--row", str(row), "--port", str(self.address[1])])
        except LoadFailed:
            self.end()
            raise

    def _start(self, model: str, files: int, arguments: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        launch = [sys.executable, "-m", "scenarios.load.launch", str(theirs.fileno()), str(max(files, 1024))]
        program = [sys.executable, "-m", f"scenarios.servers.{MODELS[model].module}", "--counters", self.counters]
        process = subprocess.Popen(
            [*launch, *program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            cwd=_ROOT,
            start_new_session=True,
        )
        self.processes.append(process)
        theirs.close()
        word, fds, _, _ = socket.recv_fds(ours, 4096, 1)
        ours.close()
        self._counting += fds
        if not fds and word.decode() not in self.notes:
            self.notes.append(word.decode())
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        words = process.stdout.readline().decode().split() if ready else []
        if words[:2] != ["listening", "on"]:
            said = self.end().splitlines()
            raise LoadFailed(f"the model {model} did not start: {said[-1] if said else 'no word from it'}")
        self.address = (words[2], int(words[4]))

    def counted(self) -> dict[str, int]:
        """The server's own counters."""
        return Counters.read(self.counters)

    def used(self) -> Usage:
        """By all its processes."""
        return usage([process.pid for process in self.processes])

    def syscalls(self) -> int | None:
        """Made so far, by all its threads and processes; None where they are not counted."""
        if len(self._counting) < len(self.processes):
            return None
        return sum(int.from_bytes(os.read(fd, 8), sys.byteorder) for fd in self._counting)

    def end(self) -> str:
        """Stop it; what it said."""
        for fd in self._counting:
            os.close(fd)
        self._counting = []
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        said = []
        for process in self.processes:
            try:
                said.append(process.communicate(timeout=STOP_SECONDS)[1])
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                said.append(process.communicate()[1])
            except ValueError:  # ended before
                continue
        return b"".join(said).decode(errors="replace").strip()


def _check_package(model: str) -> None:
    """Raises LoadFailed when the model's package is not installed."""
    if (package := MODELS[model].package) and importlib.util.find_spec(package) is None:
        raise LoadFailed(f"the model {model} needs the package {package}: pip install 'synfin[servers]'")


@functools.cache
def _descriptors() -> int:
    """How many descriptors a process started by us may have: the hard limit, raised where the rights suffice."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    trial = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]),) * 2)"
    raised = subprocess.run([sys.executable, "-c", trial, str(most)], stderr=subprocess.DEVNULL, check=False)
    return most if raised.returncode == 0 or hard == resource.RLIM_INFINITY else hard


def clients_needed(plan: Plan) -> int:
    """Client processes that it takes at least, for each may have only so many descriptors."""
    return max(1, math.ceil((plan.connections + plan.slow) / (_descriptors() - SPARE_FILES)))


class Clients:
    """The client processes."""

    def __init__(self, plan: Plan, address: tuple[str, int]) -> None:
        if (needed := clients_needed(plan)) > plan.clients:
            raise LoadFailed(
                f"this machine allows {_descriptors()} descriptors a process; {plan.connections} connections take "
                f"{needed} client processes (--clients {needed})"
            )
        self._acting = False
        program = [sys.executable, "-m", "scenarios.load.client"]
        self.processes = [
            subprocess.Popen(
                [*program, _json(plan.share(place)), *map(str, address), str(place)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=_ROOT,
                start_new_session=True,
            )
            for place in range(plan.clients)
        ]

    def act(self, word: str, meanwhile: Callable[[], None]) -> Outcome:
        """Let all of them do one act; what they saw, all acts so far together. Raises LoadFailed."""
        self._acting = True
        for process in self.processes:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(f"{word}\n".encode())
                process.stdin.flush()
        outcome = Outcome()
        waiting = {process.stdout for process in self.processes if process.stdout is not None}
        while waiting:
            ready, _, _ = select.select(list(waiting), [], [], PACE)
            for pipe in ready:
                line = pipe.readline()
                if not line:
                    raise LoadFailed("a client process has died")
                outcome.merge(json.loads(line))
                waiting.discard(pipe)
            meanwhile()
        self._acting = False
        return outcome

    def end(self) -> None:
        """End them; at once, when they are in the middle of an act: then somebody has interrupted it."""
        for process in self.processes:
            if self._acting:
                process.kill()
            if process.stdin is not None:
                process.stdin.close()
        for process in self.processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def run(
    model: str, plan: Plan, arguments: Sequence[str] = (), watch: Callable[[Moment], None] = lambda moment: None
) -> Report:
    """Load one model. `arguments` go to the server; `watch` is called a few times a second. Raises LoadFailed.

    What `watch` raises ends the load, and nothing of it stays.
    """
    with contextlib.ExitStack() as undo:
        server = Server(model, plan, arguments)
        undo.callback(server.end)
        base = server.used()
        clients = Clients(plan, server.address)
        undo.callback(clients.end)
        queue = AcceptQueue(server.address[1])
        undo.callback(queue.close)
        began = time.monotonic()

        def look(act: str) -> Callable[[], None]:
            def now() -> None:
                waiting = queue.look()
                watch(Moment(model, act, time.monotonic() - began, server.counted(), waiting, server.used()))

            return now

        connected = clients.act("connect", look("connect"))
        settle([pid for process in server.processes for pid in family(process.pid)])
        before, calls_before = server.used(), server.syscalls()
        outcome = clients.act("talk", look("talk"))
        used, calls, counted = server.used().since(before), server.syscalls(), server.counted()
        client_files = usage([process.pid for process in clients.processes]).files
        skmem = buffers(server.address[1])
        outcome.connect_seconds = connected.connect_seconds or outcome.seconds
        clients.act("close", look("close"))
        said = server.end()
    syscalls = calls - calls_before if calls is not None and calls_before is not None else None
    return Report(
        model, plan, outcome, used, base, counted, queue.most, syscalls, skmem, len(server.processes), client_files,
        server.notes, said,
    )  # fmt: skip


def settle(pids: Sequence[int]) -> None:
    """Wait until processes have come to rest, or for some seconds: for its clients a connection stands when the kernel
    says so, for the server there may be much left to do for it, which belongs to the first act."""
    resting = [AtRest(pid) for pid in pids]
    over = time.monotonic() + SETTLE_SECONDS
    while not all(each() for each in resting) and time.monotonic() < over:
        time.sleep(0.01)


def _json(plan: Plan) -> str:
    told = asdict(plan)
    return json.dumps({name: "inf" if value == float("inf") else value for name, value in told.items()})
