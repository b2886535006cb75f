"""One actor of a play, as checks ask it: its system calls with their results, its descriptors, its sleep, its epoll.

An actor has one thread, so a call and its return belong together as brackets do. `send` and `recv` go by the kernel's
names here, `sendto` and `recvfrom`, as strace shows them.
"""

from __future__ import annotations

import errno as errno_names
from typing import Final, NamedTuple

from scenarios.calls import flag_words
from scenarios.sights_basis import Basis, CannotTell
from tracer.timeline import Event

MAKES_DESCRIPTORS: Final = ("socket", "accept", "accept4", "epoll_create1", "dup", "dup2", "dup3", "fcntl")
F_DUPFD: Final = (0, 1030)
"""F_DUPFD and F_DUPFD_CLOEXEC: the two of fcntl's commands that make a descriptor."""
KERNEL_NAMES: Final = {"send": ("sendto",), "recv": ("recvfrom",), "accept": ("accept", "accept4")}
"""What a script writes -> what the C library may ask the kernel for."""


class CallSeen(NamedTuple):
    """One system call: its entry, and its return if it came back."""

    enter: Event
    leave: Event | None

    @property
    def result(self) -> int | None:
        """What it returned, -1 for an error; None while it is under way."""
        return None if self.leave is None else max(int(self.leave["ret"]), -1)

    @property
    def error(self) -> str:
        """The error's name (`EAGAIN`), empty when there was none."""
        if self.leave is None or self.leave["ret"] >= 0:
            return ""
        return errno_names.errorcode.get(-self.leave["ret"], str(-self.leave["ret"]))

    @property
    def seconds(self) -> float:
        """How long the caller was in it. Raises CannotTell while it is under way."""
        if self.leave is None:
            raise CannotTell(f"{self.enter.call} had not come back when the watching ended")
        return (self.leave.time - self.enter.time) / 1e9


class ActorSeen:
    """What was seen of one actor."""

    def __init__(self, basis: Basis, name: str) -> None:
        """Raises CannotTell when the actor never acted."""
        self.basis = basis
        self.name = name
        steps = (event for event in basis.events if event.name == "actor:step" and event["actor"] == name)
        first = next(steps, None)
        if first is None:
            raise CannotTell(f"no step of the {name} is on the timeline")
        self.pid = int(first.pid)
        self.events = [event for event in basis.events if event.pid == self.pid]

    def calls(self, *names: str) -> list[CallSeen]:
        """Its calls of these names (of all, if none is given), in order of entry. Raises CannotTell when unknown."""
        wanted = {kernel for name in names for kernel in KERNEL_NAMES.get(name, (name,))}
        under_way: dict[int, int] = {}
        found: list[CallSeen] = []
        known = False
        for event in self.events:
            if event.name not in ("syscall:enter", "syscall:exit"):
                continue
            known = True
            if wanted and event.call not in wanted:
                continue
            if event.name == "syscall:enter":
                under_way[event.tid] = len(found)
                found.append(CallSeen(event, None))
            elif event.tid in under_way:
                at = under_way.pop(event.tid)
                found[at] = CallSeen(found[at].enter, event)
        if not known:
            raise CannotTell(f"no system calls of the {self.name} were seen")
        return found

    def results(self, *names: str) -> list[int | str]:
        """What those calls gave, in order: numbers, or the names of errors; what did not come back is left out."""
        return [call.error or call.result for call in self.calls(*names) if call.leave is not None]  # type: ignore[misc]

    def failed(self, name: str, error: str) -> CallSeen | None:
        """The first call of that name that failed with that error (`EPIPE`)."""
        return next((call for call in self.calls(name) if call.error == error), None)

    def asleep_during(self, call: str, begin: Event, end: Event) -> str | None:
        """None when the actor was inside one such call from one event to another."""
        for enter, leave in self.calls(call):
            if enter.time < begin.time and (leave is None or leave.time > end.time):
                return None
        return f"the {self.name} was not in {call} all the time"

    def woken(self) -> list[Event]:
        """Each time its thread was made runnable."""
        return self.basis.pick(self.events, ("thread:woken",))

    def exited(self) -> Event | None:
        """When its process ended."""
        return next(iter(self.basis.pick(self.events, ("process:exit",))), None)

    # Descriptors

    def opened(self) -> list[tuple[int, Event]]:
        """Descriptors it was given, each with the return of the call that made it."""
        found = []
        for enter, leave in self.calls(*MAKES_DESCRIPTORS):
            makes = enter.call != "fcntl" or enter["args"][1] in F_DUPFD
            if leave is not None and leave["ret"] >= 0 and makes:
                found.append((int(leave["ret"]), leave))
        return found

    def closed(self) -> list[tuple[int, Event]]:
        """Descriptors it closed, each with the return of its close()."""
        return [(call.enter.fd, call.leave) for call in self.calls("close") if call.leave and not call.leave["ret"]]

    def reused(self) -> list[tuple[int, Event, Event]]:
        """Numbers it was given again: (number, return of the close that freed it, return of the call that took it)."""
        freed: dict[int, Event] = {}
        found = []
        happened = [(event, fd, "close") for fd, event in self.closed()] + [(e, fd, "open") for fd, e in self.opened()]
        for event, fd, what in sorted(happened, key=lambda each: each[0].order):
            if what == "close":
                freed[fd] = event
            elif fd in freed:
                found.append((fd, freed.pop(fd), event))
        return found

    # epoll

    def registrations(self) -> list[tuple[int, int, str]]:
        """Its epoll_ctl calls that succeeded: (1 add, 2 delete or 3 modify; descriptor; mask in words)."""
        return [(e["op"], e.fd, flag_words(e["events"])) for e in self.basis.pick(self.events, ("epoll:ctl",))]

    def notices(self) -> list[tuple[Event, list[tuple[int, str]]]]:
        """What each epoll_wait gave it: the event, and (data, mask in words) of its entries, eight at most."""
        return [
            (event, [(event["data"][i], flag_words(event["events"][i])) for i in range(min(max(event["n"], 0), 8))])
            for event in self.basis.pick(self.events, ("epoll:wait",))
        ]
