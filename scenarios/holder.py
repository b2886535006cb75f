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
import json
import os
import select
import signal
import socket
import sys
from typing import Any, Final, NoReturn

from scenarios import actor, namespaces, registry
from scenarios.script import Scenario

ETH_P_ALL: Final = 3
NETLINK_SOCK_DIAG: Final = 4
MESSAGE_BYTES: Final = 65536
VETH_SUBNET: Final = "10.99.0"
"""Addresses of a `veth` play, the first actor being .1: they exist in the play's own networks only."""


class Holder:
    """State of the stage hand: the actors' processes and the networks they are in."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pidfds: dict[int, str] = {}
        self._pids: dict[str, int] = {}
        self._networks: dict[str, int] = {}

    def set_up(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make the network, read the script, fork the actors. Raises OSError and what a script may raise."""
        host = namespaces.inode()
        kind: namespaces.Kind = order["kind"]
        namespaces.enter(kind)
        scenario = registry.load(order["origin"])
        wires = kind != "host" and scenario.network == "veth"
        addresses = {
            name: f"{VETH_SUBNET}.{place}" if wires else "127.0.0.1" for place, name in enumerate(scenario.actors, 1)
        }
        inodes: dict[str, int] = {}
        waiting: list[int] = []
        for place, name in enumerate(scenario.actors):
            if wires and place:
                namespaces.new_network()
            if kind != "host":
                namespaces.write_sysctls(scenario.sysctls, host)
            self._networks[name] = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            inodes[name] = namespaces.inode()
            waiting.append(self._fork(name, scenario, addresses, order))
        for ready in waiting:
            os.read(ready, 1)
            os.close(ready)
        if wires:
            from scenarios import wires as wiring  # pyroute2 takes a while to import and few plays need it

            wiring.join(self._networks, addresses)
        return {"pids": self._pids, "networks": inodes, "addresses": addresses, "uid": os.geteuid()}

    def _fork(self, name: str, scenario: Scenario, addresses: dict[str, str], order: dict[str, Any]) -> int:
        """Start an actor; returns a pipe that ends when the actor is ready for its first cue (or dead)."""
        parent = os.getpid()
        cue_fd, report_fd = order["pipes"][name]
        ready, not_yet = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                actor.become(name, parent)
                actor.play(name, scenario, addresses, order["port"], cue_fd, report_fd)
            finally:
                os._exit(1)
        for fd in (cue_fd, report_fd, not_yet):
            os.close(fd)
        self._pids[name] = pid
        self._pidfds[os.pidfd_open(pid)] = name
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
        for pid in self._pids.values():
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)
        for pid in self._pids.values():
            os.waitpid(pid, 0)  # whoever waits for this process may rely on theirs being gone
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
        """A socket inside an actor's network: `packet` (AF_PACKET, all protocols, not yet bound) or `diag`."""
        network = self._networks[request["actor"]]
        if os.fstat(network).st_ino != namespaces.inode():  # even to stay where one is takes CAP_SYS_ADMIN
            namespaces.setns(network)
        if request["open"] == "packet":
            # Protocol 0 receives nothing until the reader has bound it: no packet arrives before there is a filter.
            return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)


def main() -> None:
    """Run the stage hand on the control channel whose descriptor number is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
