"""Timelines from transcripts: a story in plain lines becomes the events that the probes would have recorded.

One line is one event, and its text is its name afterwards::

    client enters connect(5)
    c CLOSE > SYN_SENT
    c sends SYN
    s receives SYN
        s request born 1/5
        s sends SYN,ACK

A line indented below ``receives`` happens while the kernel processes that packet: it gets that packet's context, as
the probes stamp it. Programs are named by words (``client``, ``server``, any other) and get a process each; ``s``,
``c`` are the two ends of connection 1, ``s2``, ``c2`` those of connection 2 and so on, ``L`` is the listener. Every
line is 1 µs after the one before; a line ``wait 60s`` (ms, us) lets more time pass and is no event. ``#`` begins a
comment. Words ``name=value`` at a line's end set any field of the head or of the kind; ``~``, ``?`` and ``!`` mark a
line as sampled, inferred, reported.

``Book.order`` gives the order of a line, ``Book.line`` the line of an order: so causes are asserted as transcripts too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from tracer.batch import Batch, BatchBuilder
from tracer.events import HEAD
from tracer.kinds import SYSCALLS, Evidence, Side, Source
from tracer.segments import ACK, V4_MAPPED
from tracer.states import State
from tracer.timeline import Event, Timeline
from tracer.words import EPOLL, TCP_FLAGS

START: Final = 1_700_000_000_000_000_000
PROBE_START: Final = 5_000_000_000
STEP: Final = 1_000
CLIENT_IP: Final = (0, V4_MAPPED | 0x0A000001)
SERVER_IP: Final = (0, V4_MAPPED | 0x0A000002)
SERVER_PORT: Final = 80
NETNS: Final = 4026531840
LISTENER: Final = 1
LISTENER_ADDR: Final = 0xFFFF_8000
EP: Final = 0xFFFF_E000
UNITS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000}
MARKS: Final = {"~": Evidence.SAMPLED, "?": Evidence.INFERRED, "!": Evidence.REPORTED}
KNOWN: Final = 1 | 2 | 4 | 16

_BITS: Final = {name: bit for names in (TCP_FLAGS, EPOLL) for bit, name in names.items()}
_FORMS: Final[list[tuple[re.Pattern[str], str]]] = []


Told = tuple[str, dict[str, Any], dict[str, Any]]
"""Kind of an event, its own fields, its head."""
_Method = TypeVar("_Method", bound=Callable[..., Told])


def _form(pattern: str) -> Callable[[_Method], _Method]:
    """The method below understands lines of this form; the groups are its arguments."""

    def register(method: _Method) -> _Method:
        _FORMS.append((re.compile(pattern), method.__name__))
        return method

    return register


def mask(names: str) -> int:
    """The bits that names joined by , or | stand for."""
    return sum(_BITS[name] for name in re.split(r"[,|]", names) if name)


class Book:
    """A timeline told line by line."""

    def __init__(self, text: str = "") -> None:
        self.timeline = Timeline()
        self.lines: list[str] = []
        self.now, self.lasting = 0, 0
        self.pids: dict[str, int] = {}
        self._running = 0
        self._ready = 0
        self._packet: dict[str, Any] = {}
        self._indent = 0
        self._flying: list[dict[str, Any]] = []
        self._next_seq: dict[tuple[int, Side], int] = {}
        self._args: dict[int, list[int]] = {}
        self._skb = 0
        self.tell(text)

    # Reading back

    def order(self, line: str, nth: int = 1) -> int:
        """Order of the event told by the ``nth`` line of that text."""
        return [order for order, told in enumerate(self.lines) if told == line][nth - 1]

    def event(self, line: str, nth: int = 1) -> Event:
        """The event told by the ``nth`` line of that text."""
        return self.timeline[self.order(line, nth)]

    def line(self, order: int) -> str:
        """The line that told event ``order``."""
        return self.lines[order]

    # Telling

    def tell(self, text: str) -> Book:
        """More lines."""
        for raw in text.splitlines():
            line = raw.split("#")[0].rstrip()
            if line.strip():
                self._one(line.strip(), len(line) - len(line.lstrip()))
        return self

    def _one(self, line: str, indent: int) -> None:
        if found := re.fullmatch(r"wait ([\d.]+)(s|ms|us)", line):
            self.now += int(float(found[1]) * UNITS[found[2]])
            return
        if self._packet and indent <= self._indent:
            self._packet, self._ready = {}, 0
        words, more, evidence = line, {}, Evidence.OBSERVED
        while found := re.fullmatch(r"(.*?)\s+(?:(\w+)=(\S+)|([~?!]))", words):
            words = found[1]
            if found[4]:
                evidence = MARKS[found[4]]
            else:
                more[found[2]] = int(found[3], 0)
        for pattern, name in _FORMS:
            if found := pattern.fullmatch(words):
                kind, own, head = getattr(self, name)(*found.groups())
                break
        else:
            raise ValueError(f"no such line in a playbook: {line!r}")
        self.now += STEP
        self._add(kind, own, head, more, evidence)
        self.lines.append(line)
        if kind == "packet:received":
            self._packet, self._indent, self._ready = {"ctx": PROBE_START + self.now}, indent, 0

    def _add(
        self, kind: str, own: dict[str, Any], head: dict[str, Any], more: dict[str, int], evidence: Evidence
    ) -> None:
        packet_itself = kind == "packet:received"
        full = {
            "probe_time": PROBE_START + self.now,
            "ctx": 0 if packet_itself else self._packet.get("ctx", 0),
            "pid": self._running,
            "tid": self._running,
            "evidence": evidence,
            "source": {Evidence.INFERRED: Source.ENGINE, Evidence.SAMPLED: Source.TABLE}.get(evidence, Source.KERNEL),
        } | head
        for name, value in more.items():
            (full if name in (HEAD.names or ()) else own)[name] = value
        builder = BatchBuilder(Source.KERNEL, Evidence.OBSERVED)
        builder.add(kind, START + self.now, own, **full)
        self.timeline.append(builder.take())

    # Who

    def pid(self, program: str) -> int:
        """Process (and thread) number of a program; the first is 101."""
        return self.pids.setdefault(program, 101 + len(self.pids))

    def _program(self, name: str, **head: Any) -> dict[str, Any]:
        return {"pid": self.pid(name), "tid": self.pid(name)} | head

    @staticmethod
    def end(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Head and tuple of a socket by its name in a transcript."""
        if name == "L":
            head = {"sock": LISTENER, "addr": LISTENER_ADDR, "cookie": LISTENER}
            return head, {"saddr": SERVER_IP, "sport": SERVER_PORT, "netns": NETNS, "family": 4}
        conn = int(name[1:] or 1)
        side = Side.CLIENT if name[0] == "c" else Side.SERVER
        sock = 2 * conn + (side == Side.SERVER)
        here, there = (CLIENT_IP, 40000 + conn), (SERVER_IP, SERVER_PORT)
        if side == Side.SERVER:
            here, there = there, here
        head = {"sock": sock, "conn": conn, "side": side, "addr": 0xFFFF_0000 + sock, "cookie": sock}
        return head, {
            "saddr": here[0], "sport": here[1], "daddr": there[0], "dport": there[1], "netns": NETNS, "family": 4,
        }  # fmt: skip

    def _on(self, name: str, kind: str, **own: Any) -> Told:
        head, ends = self.end(name)
        return kind, ends | own, head

    # Programs

    @_form(r"(\w+) step (\d+): (.*)")
    def _step(self, who: str, number: str, text: str) -> Told:
        own = {"step": int(number), "actor": who, "text": text}
        return "actor:step", own, self._program(who, evidence=Evidence.REPORTED, source=Source.STAGE)

    @_form(r"(\w+) enters (\w+)\(([^)]*)\)(?: of (\w+))?")
    def _enters(self, who: str, call: str, args: str, of: str | None) -> Told:
        self._running = self.pid(who)
        numbers = [int(arg, 0) for arg in re.split(r",\s*", args) if arg]
        about = self.end(of)[0] if of else {}
        head = self._program(who, **about, fd=numbers[0] if numbers and call != "socket" else -1)
        self._args[self._running] = args4 = (numbers + [0] * 4)[:4]
        return "syscall:enter", {"call": SYSCALLS.index(call), "args": args4}, head

    @_form(r"(\w+) leaves (\w+)\((-?\d*)\)(?: of (\w+))? = (-?\d+)")
    def _leaves(self, who: str, call: str, fd: str, of: str | None, result: str) -> Told:
        self._running, self._ready = self.pid(who), 0
        about = self.end(of)[0] if of else {}
        head = self._program(who, **about, fd=int(fd or -1))
        args = self._args.get(self._running, [0] * 4)
        own = {"call": SYSCALLS.index(call), "ret": int(result), "arg1": args[1], "arg2": args[2]}
        return "syscall:exit", own, head

    @_form(r"(\w+) (sleeps|is preempted)")
    def _blocked(self, who: str, how: str) -> Told:
        self._running = self._ready = 0
        return "thread:blocked", {"comm": who.encode(), "was": how == "sleeps"}, self._program(who)

    @_form(r"(\w+) wakes")
    def _wakes(self, who: str) -> Told:
        return "thread:woken", {"comm": who.encode(), "other": self._running, "by": self._ready}, self._program(who)

    @_form(r"(\w+) runs")
    def _runs(self, who: str) -> Told:
        self._running, self._ready = self.pid(who), 0
        return "thread:running", {"comm": who.encode()}, self._program(who)

    @_form(r"(\w+) forks (\w+)")
    def _forks(self, who: str, child: str) -> Told:
        own = {"comm": child.encode(), "child": self.pid(child), "child_pid": self.pid(child)}
        return "process:fork", own, self._program(who)

    @_form(r"(\w+) ends")
    def _ends(self, who: str) -> Told:
        self._running = self.pid(who)
        return "process:exit", {"comm": who.encode()}, self._program(who)

    # epoll

    @_form(r"(\w+) epoll (add|del|mod) fd (\d+)(?: of (\w+))? ?(\S*)")
    def _control(self, who: str, how: str, fd: str, of: str | None, events: str) -> Told:
        own = {"ep": EP + self.pid(who), "epfd": 4, "op": {"add": 1, "del": 2, "mod": 3}[how], "data": int(fd)}
        about = self.end(of)[0] if of else {}
        return "epoll:ctl", own | {"events": mask(events)}, self._program(who, **about, fd=int(fd))

    @_form(r"(\w+) ready fd (\d+) in (\w+)")
    def _reaches(self, sock: str, fd: str, who: str) -> Told:
        self._ready = PROBE_START + self.now + STEP
        head, _ = self.end(sock)
        state = State.LISTEN if sock == "L" else State.ESTABLISHED
        return "epoll:ready", {"ep": EP + self.pid(who), "data": int(fd), "state": state}, head | {"fd": int(fd)}

    @_form(r"(\w+) epoll gets((?: fd \d+ [A-Z|]+)*)")
    def _gets(self, who: str, entries: str) -> Told:
        found = re.findall(r"fd (\d+) ([A-Z|]+)", entries)
        data = [int(fd) for fd, _ in found] + [0] * (8 - len(found))
        events = [mask(names) for _, names in found] + [0] * (8 - len(found))
        own = {"ep": EP + self.pid(who), "epfd": 4, "n": len(found), "data": data, "events": events}
        return "epoll:wait", own, self._program(who)

    # Sockets

    @_form(r"(\w+) ([A-Z_0-9]+) > ([A-Z_0-9]+)")
    def _state(self, sock: str, old: str, new: str) -> Told:
        known = {} if sock == "L" or new == "CLOSE" else {"known": KNOWN}
        return self._on(sock, "socket:state", old=State[old], new=State[new], state=State[new], **known)

    @_form(r"(\w+) (queues|destroyed)")
    def _about(self, sock: str, what: str) -> Told:
        kind = {"queues": "socket:queues", "destroyed": "socket:destroy"}[what]
        return self._on(sock, kind, known=KNOWN)

    @_form(r"(\w+) readable")
    def _readable(self, sock: str) -> Told:
        self._ready = PROBE_START + self.now + STEP
        return self._on(sock, "socket:readable", known=KNOWN)

    @_form(r"L queued (\d+)/(\d+)")
    def _queued(self, length: str, limit: str) -> Told:
        self._ready = PROBE_START + self.now + STEP
        own = {"ack_backlog": int(length), "max_ack_backlog": int(limit), "state": State.LISTEN, "known": 4 | 8}
        return self._on("L", "accept:queued", **own)

    @_form(r"L turns away at the (accept|SYN) queue (\d+)/(\d+)")
    def _turns_away(self, queue: str, length: str, limit: str) -> Told:
        own = {"max_ack_backlog": int(limit), "state": State.LISTEN, "known": 4 | 8}
        if queue == "SYN":
            return self._on("L", "request:overflow", **own, qlen=int(length))
        return self._on("L", "accept:overflow", **own, ack_backlog=int(length))

    @_form(r"(\w+) takes (\w+) fd (\d+) (\d+)/(\d+)")
    def _takes(self, who: str, sock: str, fd: str, length: str, limit: str) -> Told:
        child, _ = self.end(sock)
        own = {"ack_backlog": int(length), "max_ack_backlog": int(limit), "state": State.LISTEN, "known": 4 | 8}
        own |= {"child": child["addr"], "child_cookie": child["cookie"], "child_fd": int(fd)}
        kind, own, head = self._on("L", "accept:taken", **own)
        return kind, own, head | self._program(who)

    @_form(r"(\w+) request (born|timer|gone) (\d+)/(\d+)")
    def _request(self, sock: str, what: str, length: str, limit: str) -> Told:
        own = {"listener": LISTENER_ADDR, "qlen": int(length), "max_ack_backlog": int(limit)}
        return self._on(sock, f"request:{what}", **own)

    @_form(r"(\w+) timewait (born|rearmed|expired|cancelled)(?: (\d+)s)?(?: (FIN_WAIT2))?")
    def _timewait(self, sock: str, what: str, left: str | None, substate: str | None) -> Told:
        own = {"left": int(left or 0) * UNITS["s"], "substate": State[substate or "TIME_WAIT"]}
        return self._on(sock, f"timewait:{what}", **own)

    # Packets

    @_form(r"(\w+) sends ([A-Z,]+)(?: (\d+) bytes)?")
    def _sends(self, sock: str, flags: str, length: str | None) -> Told:
        head, ends = self.end(sock)
        segment = self._segment(head, ends, flags, int(length or 0))
        self._flying.append(segment)
        return "packet:sent", dict(segment["own"]), head

    @_form(r"(\w+) receives ([A-Z,]+)(?: (\d+) bytes)?")
    def _receives(self, sock: str, flags: str, length: str | None) -> Told:
        mine, ends = self.end(sock)
        sender = Side.CLIENT if mine["side"] == Side.SERVER else Side.SERVER
        for segment in self._flying:
            if (segment["conn"], segment["side"], segment["flags"]) == (mine["conn"], sender, mask(flags)):
                self._flying.remove(segment)
                break
        else:
            back = {"saddr": ends["daddr"], "sport": ends["dport"], "daddr": ends["saddr"], "dport": ends["sport"]}
            segment = self._segment(mine | {"side": sender}, ends | back, flags, int(length or 0))
        return "packet:received", dict(segment["own"]), {"conn": mine["conn"], "side": sender}

    @_form(r"(\w+) captured ([A-Z,]+)(?: (\d+) bytes)?")
    def _captured(self, sock: str, flags: str, length: str | None) -> Told:
        head, ends = self.end(sock)
        segment = self._segment(head, ends, flags, int(length or 0))
        head = {"conn": head["conn"], "side": head["side"], "evidence": Evidence.CAPTURED, "source": Source.FILE}
        return "packet:captured", segment["own"], head

    def _segment(self, head: dict[str, Any], ends: dict[str, Any], flags: str, length: int) -> dict[str, Any]:
        conn, side, bits = head["conn"], head["side"], mask(flags)
        other = Side.CLIENT if side == Side.SERVER else Side.SERVER
        seq = self._next_seq.setdefault((conn, side), 1000 * side)
        self._next_seq[conn, side] = seq + length + ("SYN" in flags) + ("FIN" in flags)
        self._skb += 1
        own = ends | {
            "seq": seq, "ack": self._next_seq.get((conn, other), 0) if bits & ACK else 0, "flags": bits,
            "length": length, "window": 65535, "wscale": -1, "skb": 0xFFFF_5000 + self._skb,
        }  # fmt: skip
        return {"own": own, "conn": conn, "side": side, "flags": bits}


def play(text: str) -> Book:
    """The story ``text`` tells."""
    return Book(text)


def as_batch(books: Iterable[Book]) -> Batch:
    """The events of several stories without what identity works out, as a source would hand them over."""
    from tracer.batch import merge

    batch = merge([book.timeline.batch(0, len(book.timeline)) for book in books])
    for name in ("sock", "conn", "side"):
        batch.heads[name] = 0
    return batch


HANDSHAKE: Final = """
server enters listen(3, 5) of L
L CLOSE > LISTEN
server leaves listen(3) of L = 0
server epoll add fd 3 of L EPOLLIN
server enters epoll_wait(4)
server sleeps
client enters connect(5) of c
c CLOSE > SYN_SENT
c sends SYN
s receives SYN
    s request born 1/5
    s sends SYN,ACK
c receives SYN,ACK
c SYN_SENT > ESTABLISHED
c sends ACK
s receives ACK
    s LISTEN > SYN_RECV
    s request gone 0/5
    s SYN_RECV > ESTABLISHED
    L queued 1/5
    L ready fd 3 in server
    server wakes
client leaves connect(5) of c = 0
client is preempted
server runs
server leaves epoll_wait(4) = 1
server epoll gets fd 3 EPOLLIN
server enters accept4(3) of L
server leaves accept4(3) of L = 7
server takes s fd 7 0/5
server epoll add fd 7 of s EPOLLIN|EPOLLRDHUP
"""
"""A handshake on one machine, seen by probes: two programs, the server on epoll."""

CLOSING: Final = """
client enters shutdown(5, 1) of c
c ESTABLISHED > FIN_WAIT1
c sends FIN,ACK
s receives FIN,ACK
    s ESTABLISHED > CLOSE_WAIT
    s readable
    s ready fd 7 in server
    s sends ACK
c receives ACK
    c FIN_WAIT1 > FIN_WAIT2
client leaves shutdown(5) of c = 0
server enters close(7) of s
s CLOSE_WAIT > LAST_ACK
s sends FIN,ACK
c receives FIN,ACK
    c timewait born 60s
    c FIN_WAIT2 > CLOSE
    c sends ACK
s receives ACK
    s LAST_ACK > CLOSE
server leaves close(7) of s = 0
s destroyed
wait 61s
c timewait expired
"""
"""Half-close by the client, close by the server, TIME_WAIT to its end."""
