"""Who is who: which socket and which connection an event belongs to.

Everything the kernel could tell them apart by is used again: addresses of socket objects (31,538 sockets in one run had
19 addresses), ports, file descriptors, four-tuples. So the timeline gives its own sequential numbers and never takes
one twice. A *socket* is known by the kernel's cookie, which its request sock, the full socket and its TIME_WAIT object
share; where a probe cannot read cookies it is known by its address between birth and destruction, and by its four-tuple
while it is a request sock or a TIME_WAIT object. A *connection* is a four-tuple from one active open to the next: it
begins when a socket enters SYN_SENT, or when a SYN with a new initial sequence number is seen (RFC 9293 section 3.4.1).

Both ends of a connection on one machine meet here: they have mirrored tuples, perhaps in two network namespaces.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tracer.batch import Batch, Table
from tracer.events import NUMBER, PACKETS
from tracer.kinds import KINDS, SYSCALLS, Lane, Side, Source
from tracer.segments import ACK, SYN
from tracer.states import State

INFERRED_END: Final = 1 << 31
"""Set in the numbers of ends of which no socket was seen; counted numbers stay below."""
Endpoint = tuple[int, int, int]
"""Address (two halves) and port."""

_STATE: Final = NUMBER["socket:state"]
_DESTROY: Final = NUMBER["socket:destroy"]
_SENT: Final = NUMBER["packet:sent"]
_EXIT: Final = NUMBER["syscall:exit"]
_SOCKET: Final = SYSCALLS.index("socket")
_REQUEST_BORN: Final = NUMBER["request:born"]
_REQUEST_GONE: Final = NUMBER["request:gone"]
_WITH_TUPLE: Final = frozenset(
    NUMBER[kind.name] for kind in KINDS if "sport" in {f.name for f in kind.fields} and kind.lane != Lane.WIRE
)
_FATES: Final = frozenset(NUMBER[kind.name] for kind in KINDS if kind.name.startswith("network:"))
"""What a wire did to a segment: said of a connection that its packets have shown."""
_DROPPED: Final = NUMBER["segment:dropped"]
_LISTENERS: Final = frozenset(
    {NUMBER["accept:queued"], NUMBER["accept:taken"], NUMBER["accept:overflow"], NUMBER["request:overflow"]}
)
_TELLING: Final = _WITH_TUPLE - {_STATE, _DESTROY}
"""What is told of a socket and changes nothing of whose it is."""


@dataclass(slots=True)
class Connection:
    """One connection of the timeline: two endpoints, of which either may never be seen."""

    number: int
    client: Endpoint
    server: Endpoint
    sockets: dict[Side, int] = field(default_factory=dict)
    """Numbers of the sockets at its ends, as far as seen."""
    netns: dict[Side, int] = field(default_factory=dict)
    first_seq: dict[Side, int] = field(default_factory=dict)
    """Initial sequence number of each side's SYN: another one is another connection."""

    def side_of(self, local: Endpoint) -> Side:
        """Which end ``local`` is."""
        return Side.CLIENT if local == self.client else Side.SERVER


@dataclass(slots=True)
class Socket:
    """One socket of the timeline, from request sock to TIME_WAIT object."""

    number: int
    cookie: int = 0
    connection: Connection | None = None
    side: Side = Side.NONE
    freed: bool = False
    """The kernel has given the object back: its address may be another's from now on."""


class Identities:
    """Gives every event its socket, connection and side. Feed it all batches in order, each once."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self._sockets = 0
        self._by_cookie: dict[int, Socket] = {}
        self._requests: set[int] = set()
        """Sockets that so far were seen as request socks alone."""
        self._by_addr: dict[int, Socket] = {}
        self._by_number: dict[int, Socket] = {}
        self._by_pair: dict[tuple[Endpoint, Endpoint], list[Connection]] = {}
        self._listening: set[tuple[int, int]] = set()
        """Network and port of every listener met: an end first met when its listener is gone is still the server's."""
        self._at_packets: list[dict[Side, int]] = []
        """For each packet of the batch last resolved, the sockets that its connection's ends had then."""

    def resolve(self, batch: Batch) -> None:
        """Fill the columns sock, conn and side of ``batch.heads`` in place."""
        heads = batch.heads
        self._at_packets.clear()
        sources = heads["source"].tolist()
        columns: dict[int, dict[str, list[Any]]] = {}
        sock, conn, side = [0] * len(heads), [0] * len(heads), [0] * len(heads)
        kinds, rows = heads["kind"].tolist(), heads["row"].tolist()
        addrs, cookies = heads["addr"].tolist(), heads["cookie"].tolist()
        for i, kind in enumerate(kinds):
            addr, cookie = addrs[i], cookies[i]
            if kind in PACKETS or kind in _WITH_TUPLE or kind in _FATES:
                if kind not in columns:
                    columns[kind] = _columns(kind, batch.tables[kind])
                known = columns[kind]
                row = rows[i]
                if kind in PACKETS:
                    found, sender = self._packet(kind, known, row, addr, cookie)
                    conn[i], side[i] = found.number, sender
                    self._at_packets.append(dict(found.sockets))
                    if kind == _SENT:
                        sock[i] = found.sockets.get(sender, 0)
                    continue
                if sources[i] == Source.ENGINE:
                    sock[i], conn[i], side[i] = self._inferred(known, row)
                    continue
                if kind in _FATES or (kind == _DROPPED and not (addr or cookie)):
                    sock[i], conn[i], side[i] = self._told(known, row)
                    continue
                who = self._socket_event(kind, known, row, addr, cookie)
            elif addr or cookie:
                if kind == _EXIT and kind not in columns:
                    columns[kind] = _columns(kind, batch.tables[kind])
                last = kind == _EXIT and columns[kind]["call"][rows[i]] != _SOCKET
                who = self._socket(addr, cookie, last=last)
            else:
                continue
            sock[i], side[i] = who.number, who.side
            if who.connection is not None:
                conn[i] = who.connection.number
        heads["sock"], heads["conn"], heads["side"] = sock, conn, side

    def settle(self, batch: Batch) -> None:
        """Give their sockets to the states that were worked out from the packets of the batch last resolved.

        They stand right behind their packet, so they get what was known of its connection's ends at that packet: the
        same as when they are read back from a recording, one by one, whatever the batches were.
        """
        heads = batch.heads
        if not ((heads["source"] == Source.ENGINE) & (heads["sock"] == 0)).any():
            return
        at_packet = iter(self._at_packets)
        known: dict[int, dict[Side, int]] = {}
        sock = heads["sock"].tolist()
        rows = zip(heads["kind"].tolist(), heads["conn"].tolist(), heads["source"].tolist(), strict=True)
        for i, (kind, conn, source) in enumerate(rows):
            if kind in PACKETS:
                known[conn] = next(at_packet)
            elif source == Source.ENGINE and conn and not sock[i]:
                side = Side(int(heads["side"][i]))
                sock[i] = known.get(conn, {}).get(side) or inferred_end(conn, side)
        heads["sock"] = sock

    def _inferred(self, known: dict[str, list[Any]], row: int) -> tuple[int, int, Side]:
        """Socket, connection and side of a state worked out from packets: nothing is attached on its word."""
        local: Endpoint = (*known["saddr"][row], known["sport"][row])
        peer: Endpoint = (*known["daddr"][row], known["dport"][row])
        found = self._find(local, peer, known["netns"][row])
        if found is None:
            return 0, 0, Side.NONE
        side = found.side_of(local)
        return found.sockets.get(side) or inferred_end(found.number, side), found.number, side

    def _told(self, known: dict[str, list[Any]], row: int) -> tuple[int, int, Side]:
        """Of whom something is told that happened to a segment, in whatever namespace: again nothing is attached."""
        local: Endpoint = (*known["saddr"][row], known["sport"][row])
        peer: Endpoint = (*known["daddr"][row], known["dport"][row])
        found = self._find(local, peer, known["netns"][row]) or self._find(local, peer, 0)
        if found is None:
            return 0, 0, Side.NONE
        side = found.side_of(local)
        return found.sockets.get(side, 0), found.number, side

    # Sockets

    def _socket(self, addr: int, cookie: int, *, last: bool = False) -> Socket:
        """The socket that lives at ``addr`` now, or that has ``cookie``; either may be 0, not known.

        The kernel gives a socket its cookie when one is first asked for (sock_gen_cookie()), which may be long after
        its first events: what had only an address until then takes the cookie over. An address that was freed is a
        new socket's, but for the return of the call (close, mostly) during which it was freed: ``last``.
        """
        who = self._by_cookie.get(cookie) if cookie else None
        if who is None and addr:
            who = self._by_addr.get(addr)
            if who is not None and ((cookie and who.cookie) or (who.freed and not last)):
                who = None  # that one is gone: its address has a new tenant
        if who is None:
            who = self._new_socket()
        if cookie:
            who.cookie = cookie
            self._by_cookie[cookie] = who
        if addr and not who.freed:
            self._by_addr[addr] = who
        return who

    def _new_socket(self) -> Socket:
        self._sockets += 1
        who = Socket(self._sockets)
        self._by_number[who.number] = who
        return who

    def _socket_event(self, kind: int, known: dict[str, list[Any]], row: int, addr: int, cookie: int) -> Socket:
        if cookie and kind in _TELLING:
            who = self._by_cookie.get(cookie)
            if who is not None and who.connection is not None and who.connection.client[2]:
                return self._socket(addr, cookie)  # its ends are known: this event adds nothing to that
        local: Endpoint = (*known["saddr"][row], known["sport"][row])
        peer: Endpoint = (*known["daddr"][row], known["dport"][row])
        netns = known["netns"][row]
        old = known["old"][row] if kind == _STATE else 0
        new = known["new"][row] if kind == _STATE else 0
        small = not cookie and ("listener" in known or "substate" in known or old == State.LISTEN)
        who = self._by_end(local, peer, netns) if small or not (addr or cookie) else None
        if who is None:
            who = self._new_socket() if small else self._socket(addr, cookie)
        if small and addr and old == State.LISTEN:
            self._by_addr[addr] = who  # the full socket takes over from its request sock
        if kind == _DESTROY:
            who.freed = True
        if new == State.LISTEN:
            self._listening.add((netns, local[2]))
        if kind in _LISTENERS or new == State.LISTEN or (kind != _STATE and not peer[2]):
            return who
        if new == State.SYN_SENT and old == State.CLOSE:
            self._begin(who, local, peer, netns)
        elif who.connection is None:
            if peer[2] and local[2]:
                born = kind == _REQUEST_BORN
                self._join(who, local, peer, netns, passive=born or old == State.LISTEN, born=born)
        elif local[2] and who.connection.client[2] == 0 and who.side == Side.CLIENT:
            self._bind(who.connection, local)
        if kind == _REQUEST_BORN and cookie:
            self._requests.add(who.number)
        elif kind in (_STATE, _REQUEST_GONE):
            self._requests.discard(who.number)
        return who

    def _by_end(self, local: Endpoint, peer: Endpoint, netns: int) -> Socket | None:
        found = self._find(local, peer, netns)
        number = found.sockets.get(found.side_of(local)) if found else None
        return self._by_number[number] if number else None

    # Connections

    def _begin(self, who: Socket, local: Endpoint, peer: Endpoint, netns: int) -> None:
        """An active open: a new connection, unless a simultaneous open has begun it from the other end."""
        found = self._find(local, peer, netns) if local[2] else None
        if found is None or found.sockets.get(found.side_of(local)) or found.first_seq.get(found.side_of(local)):
            found = self._new(local, peer)
        self._attach(found, who, found.side_of(local), netns)

    def _join(
        self, who: Socket, local: Endpoint, peer: Endpoint, netns: int, *, passive: bool, born: bool = False
    ) -> None:
        found = self._find(local, peer, netns)
        if found is not None:
            mine = found.sockets.get(found.side_of(local))
            # A dump may give a request sock its cookie when the child has just been made without one
            # (inet_csk_clone_lock()): the child's is another one then, and the connection the same.
            child = passive and not born and mine in self._requests
            if mine and mine != who.number and passive and not child:
                found = None  # the tuple lives on in an ended connection; this is its next user
        if found is None:
            served = (netns, local[2]) in self._listening and (netns, peer[2]) not in self._listening
            found = self._new(peer, local) if passive or served else self._new(local, peer)
        self._attach(found, who, found.side_of(local), netns)

    def _attach(self, found: Connection, who: Socket, side: Side, netns: int) -> None:
        who.connection, who.side = found, side
        found.sockets[side] = who.number
        found.netns[side] = netns

    def _bind(self, found: Connection, local: Endpoint) -> None:
        """The kernel has chosen the client's address and port: the tuple is complete."""
        found.client = local
        self._by_pair.setdefault(_pair(found.client, found.server), []).append(found)

    def _new(self, client: Endpoint, server: Endpoint) -> Connection:
        found = Connection(len(self.connections) + 1, client, server)
        self.connections.append(found)
        if client[2]:
            self._by_pair.setdefault(_pair(client, server), []).append(found)
        return found

    def _find(self, local: Endpoint, peer: Endpoint, netns: int) -> Connection | None:
        """The youngest connection of that tuple whose end at ``local`` may lie in namespace ``netns`` (0: any)."""
        for found in reversed(self._by_pair.get(_pair(local, peer), ())):
            if not netns or found.netns.get(found.side_of(local), netns) in (0, netns):
                return found
        return None

    # Packets

    def _packet(
        self, kind: int, known: dict[str, list[Any]], row: int, addr: int, cookie: int
    ) -> tuple[Connection, Side]:
        source: Endpoint = (*known["saddr"][row], known["sport"][row])
        target: Endpoint = (*known["daddr"][row], known["dport"][row])
        netns, flags, seq = known["netns"][row], known["flags"][row], known["seq"][row]
        if kind == _SENT and (addr or cookie):
            who = self._by_cookie.get(cookie) if cookie else self._by_addr.get(addr)
            if who is not None and who.connection is not None and who.side == Side.CLIENT:
                if who.connection.client[2] == 0:
                    self._bind(who.connection, source)
                if flags & SYN:
                    who.connection.first_seq.setdefault(Side.CLIENT, seq)
        found = self._find(source, target, netns) if kind == _SENT else self._find(target, source, netns)
        opens = flags & SYN and not flags & ACK
        if found is not None and opens:
            side = found.side_of(source)
            if found.first_seq.get(side, seq) != seq:
                found = None
        if found is None:
            # Without a SYN the first sender counts as the client, as in Zeek; a SYN-ACK says who was.
            found = self._new(target, source) if flags & SYN and flags & ACK else self._new(source, target)
        side = found.side_of(source)
        if flags & SYN:
            found.first_seq.setdefault(side, seq)
        return found, side


def inferred_end(conn: int, side: Side) -> int:
    """The number of an end of which no socket was seen, only what its packets tell; beyond all counted numbers."""
    return INFERRED_END | (conn << 1 & 0x7FFF_FFFF) | (side == Side.SERVER)


def _pair(one: Endpoint, other: Endpoint) -> tuple[Endpoint, Endpoint]:
    return (one, other) if one <= other else (other, one)


def _columns(kind: int, table: Table) -> dict[str, list[Any]]:
    """The columns that identity needs, as lists: a numpy scalar a lookup would be the slower way by far."""
    wanted = ("saddr", "daddr", "sport", "dport", "netns", "old", "new", "flags", "seq", "listener", "substate", "call")
    names = table.dtype.names or ()
    return {
        name: list(zip(*table[name].T.tolist(), strict=True)) if name in ("saddr", "daddr") else table[name].tolist()
        for name in wanted
        if name in names
    }
