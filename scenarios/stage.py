"""The stage: a network for the play, its actors in their processes, and the seats from which it can be watched.

`open()` gives the play the best network it can get, in this order: a fresh network namespace by root's rights; one
inside a user namespace of its own; the host's loopback. Which one it became and why is in `ground`, for the audience
must know what may mix into the picture and what it cannot see. From then on the actors' process numbers and the number
of their network are known, so that probes can be aimed before the first step is played, and sockets that look at the
network from inside can be had.

Whatever happens to this process, nothing stays behind: the stage hand (`scenarios.holder`) sees its control channel
end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from scenarios import registry
from scenarios.namespaces import Kind
from scenarios.places import INTERFACE
from scenarios.script import NETWORK, Family, Scenario

MESSAGE_BYTES: Final = 65536
OPEN_SECONDS: Final = 20.0
"""How long the stage hand may take to set up; a user's script may import much."""
HOST_PORTS: Final = range(20000, 30000)
"""Below ip_local_port_range as shipped (32768-60999), so that no connect() of a stranger is given the play's port."""

_BOOT: Final = "import sys; sys.path.insert(0, sys.argv[2]); from scenarios.holder import main; main()"
_WORDS: Final = {
    "namespace": "a network namespace of its own",
    "user-namespace": "a network namespace inside a user namespace of its own",
    "host": "the host's loopback",
}


class StageError(RuntimeError):
    """The stage could not be set up; str() says why in words."""


class ProgramMissing(StageError):
    """A program that an actor is to become is not to be had on this machine."""


@dataclass(frozen=True)
class Ground:
    """Where a play takes place."""

    kind: Kind
    reasons: tuple[str, ...]
    """Why it is not a better place, one sentence for each that was refused."""
    pids: dict[str, int]
    """Process number of each actor; the forked ones come when they are born."""
    networks: dict[str, int]
    """Inode of each actor's network namespace (`skc_net->ns.inum`)."""
    addresses: dict[str, str]
    """Address of each actor, as it goes over the wire."""
    port: int
    uid: int
    family: Family = "ipv4"
    by_hand: frozenset[str] = frozenset()
    """Those of `pids` with no kernel's TCP in use: the network, and peers that speak by hand."""

    @property
    def isolated(self) -> bool:
        """True when nothing but the play is in its network."""
        return self.kind != "host"

    @property
    def watched(self) -> tuple[int, ...]:
        """Processes whose system calls are of the story. The others' would only repeat what their packets show."""
        return tuple(pid for name, pid in self.pids.items() if name not in self.by_hand)

    def __str__(self) -> str:
        return f"in {_WORDS[self.kind]}" + "".join(f"; {reason}" for reason in self.reasons)


class Stage:
    """Sets up the network and the actors of one performance, and strikes them. Safe to use from any thread."""

    def __init__(
        self, scenario: Scenario, origin: str, kinds: tuple[Kind, ...] | None = None, family: Family | None = None
    ) -> None:
        """`kinds` names the places to try, best first; by default what the rights and the scenario allow.

        `family`: the scenario's first when None. Raises StageError for one in which it cannot be played.
        """
        self.scenario = scenario
        self.family: Family = family or scenario.families[0]
        if self.family not in scenario.families:
            raise StageError(f"{scenario.name} is not played over {family}, only over {', '.join(scenario.families)}")
        self.ground: Ground | None = None
        self.cues: dict[str, int] = {}
        """Writing ends of the actors' cue pipes."""
        self.reports: dict[str, int] = {}
        """Reading ends of the actors' report pipes; they end when the actor has ended."""
        self.programs: dict[str, str] = {}
        """Path of each Go program of the play by its name, when the stage is open."""
        self._origin = origin
        self._kinds = kinds or _places(scenario)
        self._holder: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, name: str, kinds: tuple[Kind, ...] | None = None, family: Family | None = None) -> Stage:
        """The stage for a scenario by name or file. Raises registry.NotFound, StageError."""
        origin = registry.origin(name)
        return cls(registry.load(origin), origin, kinds, family)

    def open(self) -> Ground:
        """Set up. Raises StageError when no place is to be had or the script is broken, or when it is open already."""
        if self._holder is not None:
            raise StageError("the stage is open already")
        if not sys.platform.startswith("linux"):
            raise StageError("scenarios act on Linux only; their recordings replay anywhere")
        self.programs = self._built()
        reasons: list[str] = []
        for kind in self._kinds:
            answer, port = self._try(kind)
            if "pids" in answer:
                self.ground = Ground(
                    kind,
                    tuple(reasons),
                    answer["pids"],
                    answer["networks"],
                    answer["addresses"],
                    port,
                    answer["uid"],
                    self.family,
                    frozenset({NETWORK, *self.scenario.peers}),
                )
                return self.ground
            self.close()
            if "refused" not in answer:
                raise StageError(answer["error"])
            reasons.append(answer["refused"])
        raise StageError(f"{self.scenario.name} needs a network of its own: {'; '.join(reasons)}")

    def _built(self) -> dict[str, str]:
        """The Go programs of the play. Raises ProgramMissing."""
        names = self.scenario.go_programs
        if not names:
            return {}
        from scenarios import go_programs  # few plays need it

        try:
            return {name: str(go_programs.built(go_programs.FOLDER / f"{name}.go")) for name in names}
        except go_programs.GoProgramMissing as failure:
            raise ProgramMissing(f"{self.scenario.name} cannot be played: {failure}") from None

    def _try(self, kind: Kind) -> tuple[dict[str, Any], int]:
        """One stage hand in one kind of place: its answer and the play's port."""
        port = self.scenario.port if kind != "host" else _free_port(self.family, self.scenario.ports)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        complaints = os.memfd_create("stage-hand")
        pipes: dict[str, tuple[int, int]] = {}
        for name in self.scenario.cast:
            cue_end, self.cues[name] = os.pipe()
            self.reports[name], report_end = os.pipe()
            pipes[name] = (cue_end, report_end)
        inherited = [theirs.fileno(), *(fd for pair in pipes.values() for fd in pair)]
        root = str(Path(__file__).resolve().parent.parent)
        try:
            self._holder = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), root],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C is for the audience; the actors learn of its end by end-of-file
            )
            self._control = ours
            ours.settimeout(OPEN_SECONDS)
            order = {"kind": kind, "origin": self._origin, "port": port, "pipes": pipes, "family": self.family}
            order["programs"] = self.programs
            ours.send(json.dumps(order).encode())
            theirs.close()
            try:
                message = ours.recv(MESSAGE_BYTES)
            except OSError as failure:
                message = json.dumps({"error": f"the stage hand gave no answer: {failure}"}).encode()
            said = os.pread(complaints, 4096, 0).decode(errors="replace").strip().splitlines()
            if not message:
                return {"error": f"the stage hand died: {said[-1] if said else 'no word'}"}, port
            answer: dict[str, Any] = json.loads(message)
            if said and "pids" in answer:  # only who could not begin has a word to say
                return {"error": said[-1]}, port
            return answer, port
        finally:
            theirs.close()
            os.close(complaints)
            for pair in pipes.values():
                for fd in pair:
                    os.close(fd)

    def socket(self, kind: Literal["packet", "diag"], actor: str | None = None) -> socket.socket:
        """A socket opened inside an actor's network (the first actor's when None).

        `packet` is AF_PACKET, SOCK_RAW, protocol 0: bind it to (interface, ETH_P_ALL) to begin. `diag` is
        NETLINK_SOCK_DIAG. Raises PermissionError where the rights do not suffice, StageError when the stage is closed.
        """
        with self._lock:
            if self._control is None:
                raise StageError("the stage is closed")
            self._control.send(json.dumps({"open": kind, "actor": actor or self.scenario.actors[0]}).encode())
            message, fds, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, 1)
        if not message:
            raise StageError("the stage hand has died")
        if not fds:
            answer = json.loads(message)
            raise OSError(answer["errno"], answer["error"])
        return socket.socket(fileno=fds[0])

    @property
    def interface(self) -> str:
        """Where `socket("packet")` is to be bound, so that each packet of the play is seen there once.

        Empty means all interfaces: the place between more than two actors, or of a wire that does something to packets.
        There a packet is seen as its sender let it go, before the wire has decided what becomes of it.
        """
        if self.scenario.network != "veth" or not self.ground or not self.ground.isolated:
            return "lo"
        wired = [name for name in self.scenario.actors if name not in self.scenario.children]
        return "" if self.scenario.relayed or len(wired) != 2 else INTERFACE

    def close(self) -> None:
        """End actors and network. May be called twice, from any thread."""
        with self._lock:
            holder, control = self._holder, self._control
            self._holder = self._control = None
            fds = [*self.cues.values(), *self.reports.values()]
            self.cues, self.reports = {}, {}
            if control is not None:
                control.close()
            for fd in fds:
                os.close(fd)
        if holder is not None:
            try:
                holder.wait(2.0)
            except subprocess.TimeoutExpired:
                holder.kill()  # the kernel then kills the actors
                holder.wait()

    def __enter__(self) -> Stage:
        if self._holder is None:
            self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _places(scenario: Scenario) -> tuple[Kind, ...]:
    """The places to try, best first."""
    if scenario.isolation == "none":
        return ("host",)
    apart = (scenario.sysctls, scenario.sysctls_of, scenario.peers, scenario.relayed)
    required = scenario.isolation == "required" or any(apart)
    own: tuple[Kind, ...] = ("namespace", "user-namespace") if os.geteuid() == 0 else ("user-namespace",)
    return own if required else (*own, "host")


def _free_port(family: Family, count: int) -> int:
    """So many ports in a row of the host's loopback on which nobody listens; the first of them."""
    six = family == "ipv6"
    for port in random.sample(HOST_PORTS, 50):
        with contextlib.ExitStack() as trials:
            try:
                for each in range(port, port + count):
                    trial = trials.enter_context(socket.socket(socket.AF_INET6 if six else socket.AF_INET))
                    trial.bind(("::1" if six else "127.0.0.1", each))
            except OSError as failure:
                if failure.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise StageError("this machine has no IPv6 on its loopback; --family ipv4 does without") from None
                continue
            return port
    raise StageError("no free port was found on the host's loopback")
