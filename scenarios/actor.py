"""One actor: what a step's function gets to hold, and how it tells what it does.

An actor is a process of its own that plays the steps of its part and is otherwise asleep (`scenarios.part` is its
life). Its script sees it as an object: who it is, where the others are, and whatever it keeps as attributes from one
step to the next. What it did goes back over a pipe at the end of the step, and in one line just before the call in
which the script wants it to fall asleep.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios import calls
from scenarios.script import Family

if TYPE_CHECKING:
    from scenarios.peer import Peer

ANYWHERE = {"ipv4": "0.0.0.0", "ipv6": "::", "mapped": "::"}


class Actor:
    """What a step's function gets to hold: who it is, where the others are, and whatever it keeps as attributes."""

    def __init__(
        self, name: str, addresses: dict[str, str], port: int, family: Family = "ipv4", dual: tuple[str, ...] = ()
    ) -> None:
        """`dual`: actors whose sockets are AF_INET6 in the `mapped` family."""
        self.name = name
        self.port = port
        """The play's port."""
        self.family = family
        """`ipv4`, `ipv6` or `mapped`."""
        self._addresses = addresses
        self._dual = dual
        self.shared: dict[str, Any] = {}
        """What the actors told each other by `share`; simple values only."""
        self.pids: dict[str, int] = {}
        """Process number of each actor."""
        self.told: dict[str, Any] = {}
        self.said: list[tuple[int, str]] = []
        self.host_network = 0
        """Inode of the host's own network, where nothing is changed."""
        self.on_fork: Callable[[str], int] | None = None

    if TYPE_CHECKING:
        peer: Peer
        """The hand-made TCP of an actor that the scenario lists in `peers`."""

    @property
    def host(self) -> str:
        """The actor's own address, as its sockets write it."""
        return self._seen(self._addresses[self.name])

    def at(self, actor: str, nth: int = 0) -> calls.Address:
        """Where an actor is to be found: (address, port), the play's port or the `nth` after it.

        One's own place is where others find one; with `mapped` the listening side's is `::`, where both IPv4 and IPv6
        are heard.
        """
        if self.family == "mapped" and actor == self.name and actor in self._dual:
            return "::", self.port + nth
        return self._seen(self._addresses[actor]), self.port + nth

    def anywhere(self, nth: int = 0) -> calls.Address:
        """Every address of one's own: 0.0.0.0 or ::, at the play's port or the `nth` after it."""
        dual = self.family != "mapped" or self.name in self._dual
        return ANYWHERE[self.family] if dual else "0.0.0.0", self.port + nth

    def _seen(self, address: str) -> str:
        """An IPv4 address as an AF_INET6 socket must write it."""
        mapped = self.family == "mapped" and self.name in self._dual
        return f"::ffff:{address}" if mapped and ":" not in address else address

    def pid(self, actor: str) -> int:
        """Process number of an actor, for `kill`. Raises KeyError for a child that is not born."""
        return self.pids[actor]

    def share(self, **values: Any) -> None:
        """Let the other actors know values (from their next cue on)."""
        self.told.update(values)

    def say(self, text: str) -> None:
        """Put a remark on the timeline."""
        self.said.append((time.monotonic_ns(), text))

    def fork(self, child: str) -> int:
        """Become two: the child, an actor of `children`, begins with its own next step and all one's descriptors and
        attributes; this function goes on in the parent only. Returns the child's process number."""
        if self.on_fork is None:
            raise RuntimeError(f"the {self.name} cannot fork")
        return self.on_fork(child)

    def sysctl(self, name: str, value: object) -> None:
        """Set a sysctl of one's own network now: `me.sysctl("net.ipv4.tcp_abort_on_overflow", 1)`. Never the host's.

        Raises NotAllowed, OSError.
        """
        from scenarios import namespaces

        namespaces.write_sysctls({name: str(value)}, self.host_network)

    def read_sysctl(self, name: str) -> str:
        """A sysctl of one's own network."""
        return (Path("/proc/sys") / name.replace(".", "/")).read_text().strip()

    def __getattr__(self, name: str) -> Any:
        if name == "peer":
            raise AttributeError(f"the {self.name} is not among the scenario's `peers`, so it has no hand-made TCP")
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

    def forget(self) -> None:
        """Drop what has been noted but not told: it is somebody else's (after a fork)."""
        self._waiting.clear()
