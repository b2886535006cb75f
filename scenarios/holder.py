"""The stage hand: a small process that holds the play's network and is the parent of all actors.

It stands between the audience's process (many threads, probes, a screen: nothing one should fork) and the actors, and
has one thread and few imports, so it can move into a new namespace and fork actors within a few milliseconds. It also
opens the sockets that look at the play from inside its network, packets and sock_diag, and hands them out
(SCM_RIGHTS): a socket belongs to the network it was opened in, wherever it is read.

It ends when its end of the control channel reads end-of-file, that is, when the audience's process has closed it or
died of whatever cause; its actors are then killed, and if it is killed itself, the kernel kills them
(PR_SET_PDEATHSIG). With its last process the network is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn

from scenarios import namespaces, part, registry
from scenarios.cables import PACKET_IGNORE_OUTGOING, SOL_PACKET
from scenarios.places import places_of
from scenarios.script import NETWORK, Scenario

NETLINK_SOCK_DIAG: Final = 4
MESSAGE_BYTES: Final = 65536
PR_SET_CHILD_SUBREAPER: Final = 36
LOOPBACK: Final = {"ipv4": "127.0.0.1", "ipv6": "::1", "mapped": "127.0.0.1"}
BURY_SECONDS: Final = 1.0


class Holder:
    """State of the stage hand: the actors' processes and the networks they are in."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pidfds: dict[int, str] = {}
        self._pids: dict[str, int] = {}
        self._networks: dict[str, int] = {}
        self._between: int | None = None

    def set_up(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make the networks, lay the wires, fork the actors. Raises OSError and what a script may raise."""
        host = namespaces.inode()
        kind: namespaces.Kind = order["kind"]
        namespaces.enter(kind)
        scenario = registry.load(order["origin"])
        wired = kind != "host" and scenario.network == "veth"
        inodes = self._make_networks(scenario, kind, wired, host)
        places = places_of(scenario)
        addresses = {
            name: places[name].address(order["family"]) if wired else LOOPBACK[order["family"]]
            for name in scenario.actors
        }
        told = scenario, addresses, order["family"], order["port"], host, 0, 0
        waiting = [
            self._fork(part.Role(name, *told, programs=order["programs"]), order)
            for name in scenario.cast
            if name not in scenario.children
        ]
        for pipes in order["pipes"].values():
            for fd in pipes:
                os.close(fd)
        for ready in waiting:
            os.read(ready, 1)
            os.close(ready)
        return {"pids": self._pids, "networks": inodes, "addresses": addresses, "uid": os.geteuid()}

    def _make_networks(self, scenario: Scenario, kind: namespaces.Kind, wired: bool, host: int) -> dict[str, int]:
        """Every actor's network, by descriptor, with its sysctls and wires; returns their inodes."""
        inodes: dict[str, int] = {}
        for name in scenario.actors:
            if name in scenario.children:
                continue
            if wired and inodes:
                namespaces.new_network()
            if kind != "host":
                namespaces.write_sysctls(scenario.sysctls | scenario.sysctls_of.get(name, {}), host)
            self._networks[name] = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            inodes[name] = namespaces.inode()
        if wired:
            from scenarios import wires  # pyroute2 takes a while to import and few plays need it

            own = dict(self._networks)
            if scenario.relayed or len(own) != 2:
                namespaces.new_network()
                self._between = wires.network_here()
            places = {name: place for name, place in places_of(scenario).items() if name in own}
            bridged = not scenario.relayed
            wires.lay(own, places, self._between, mtu=scenario.mtu, bridged=bridged, peers=scenario.peers)
        for child, parent in scenario.children.items():
            self._networks[child], inodes[child] = self._networks[parent], inodes[parent]
        return inodes

    def _fork(self, role: part.Role, order: dict[str, Any]) -> int:
        """Start an actor; returns a pipe that ends when the actor is ready for its first cue (or dead)."""
        parent = os.getpid()
        pipes: dict[str, tuple[int, int]] = order["pipes"]
        cue_fd, report_fd = pipes[role.name]
        # A child's children are its own to bear, so all descendants' pipes are handed down.
        heirs = {name: pipes[name] for name in role.scenario.children if _descends(role.scenario, name, role.name)}
        ready, not_yet = os.pipe()
        network = self._between if role.name == NETWORK else self._networks[role.name]
        if network is not None and os.fstat(network).st_ino != namespaces.inode():
            namespaces.setns(network)
        pid = os.fork()
        if pid == 0:
            try:
                part.become(role.name, parent)
                kept = {fd for pair in ((cue_fd, report_fd), *heirs.values()) for fd in pair}
                for fd in {fd for pair in pipes.values() for fd in pair} - kept:
                    os.close(fd)
                part.Part(role.with_pipes(cue_fd, report_fd, heirs)).play()
            except Exception as failure:
                print(f"the {role.name} could not begin: {type(failure).__name__}: {failure}", file=sys.stderr)
            finally:
                os._exit(1)
        os.close(not_yet)
        self._pids[role.name] = pid
        self._pidfds[os.pidfd_open(pid)] = role.name
        return ready

    def serve(self) -> NoReturn:
        """Answer requests and bury the dead until the audience has gone."""
        watching = select.poll()
        watching.register(self._control, select.POLLIN)
        for pidfd in self._pidfds:
            watching.register(pidfd, select.POLLIN)
        while True:
            for fd, _ in watching.poll():
                if fd in self._pidfds:
                    watching.unregister(fd)
                    self._bury(fd)
                elif message := self._control.recv(MESSAGE_BYTES):
                    self._answer(json.loads(message))
                else:
                    self.strike()

    def _bury(self, pidfd: int) -> None:
        name = self._pidfds.pop(pidfd)
        os.waitpid(self._pids.pop(name), 0)
        os.close(pidfd)

    def strike(self) -> NoReturn:
        """End all actors and oneself."""
        until = time.monotonic() + BURY_SECONDS
        while time.monotonic() < until:
            for pid in {*self._pids.values(), *_children()}:
                for kill in (os.killpg, os.kill):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        kill(pid, signal.SIGKILL)
            try:  # whoever waits for this process may rely on theirs being gone
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                break
            time.sleep(0.002)
        os._exit(0)

    def _answer(self, request: dict[str, Any]) -> None:
        try:
            opened = self._open(request)
        except OSError as failure:
            self._control.send(json.dumps({"error": str(failure), "errno": failure.errno}).encode())
            return
        with opened:
            socket.send_fds(self._control, [b"{}"], [opened.fileno()])

    def _open(self, request: dict[str, Any]) -> socket.socket:
        """A socket inside an actor's network: `packet` (AF_PACKET, all protocols, not yet bound) or `diag`.

        Where the wire has a place in between, packets are seen there: each once, as it left its sender.
        """
        between = self._between if request["open"] == "packet" else None
        network = self._networks[request["actor"]] if between is None else between
        if os.fstat(network).st_ino != namespaces.inode():  # even to stay where one is takes CAP_SYS_ADMIN
            namespaces.setns(network)
        if request["open"] == "packet":
            # Protocol 0 receives nothing until the reader has bound it: no packet arrives before there is a filter.
            seat = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            if between is not None:
                seat.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            return seat
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)


def _descends(scenario: Scenario, name: str, ancestor: str) -> bool:
    while name in scenario.children:
        name = scenario.children[name]
        if name == ancestor:
            return True
    return False


def _children() -> list[int]:
    """This process's children, forked ones of the story and orphans of programs among them, where the kernel tells."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def main() -> None:
    """Run the stage hand on the control channel whose descriptor number is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    holder = Holder(control)
    message = control.recv(MESSAGE_BYTES)
    if not message:
        return
    try:
        answer = holder.set_up(json.loads(message))
    except namespaces.NotAllowed as failure:
        answer = {"refused": failure.strerror, "errno": failure.errno}
    except Exception as failure:  # a user's script may raise anything; the audience must be told what
        answer = {"error": f"{type(failure).__name__}: {failure}"}
    control.send(json.dumps(answer).encode())
    if "pids" not in answer:
        holder.strike()
    holder.serve()


if __name__ == "__main__":
    main()
