"""Claims about listeners, handshakes and connecting: C01 to C08, C12 to C15."""

from __future__ import annotations

from scenarios.claims.claim import Seen, Verdict, claim, confirmed, held, refined, refuted
from tracer.kinds import Evidence
from tracer.timeline import Event

EPHEMERAL = range(32768, 61000)
"""What the claim says: net.ipv4.ip_local_port_range as shipped."""


@claim("C01", "Opening a listener makes exactly three syscalls: socket, bind, listen", "listen", "asyncio-listener")
def three_syscalls(plain: Seen, asyncio: Seen) -> Verdict:
    told, others = _opening(plain), _opening(asyncio)
    words = f"a plain listener: {', '.join(told)}; asyncio's: {', '.join(others)}"
    if told != ["socket", "bind", "listen"]:
        return refuted(f"it makes {len(told)}", words)
    if others == told:
        return confirmed(words)
    more = [call for call in dict.fromkeys(others) if call not in told]
    return refined(f"three are needed; a runtime makes more of them ({', '.join(more)})", words)


def _opening(seen: Seen) -> list[str]:
    """The server's calls on the descriptor that came to listen, from its socket() to the first epoll_ctl or accept."""
    calls = seen.calls("server")
    listens = next(at for at, call in enumerate(calls) if call.enter.call == "listen")
    fd = calls[listens].enter.fd
    made = max(at for at, call in enumerate(calls[:listens]) if call.enter.call == "socket" and call.result == fd)
    told = [
        call.enter.call for call in calls[made : listens + 1] if call.enter.fd == fd or call is calls[made]
    ]  # fmt: skip
    under_epoll = any(number == fd for _, number, _ in seen.actor("server").registrations())
    return [*told, "epoll_ctl"] if under_epoll else told


@claim(
    "C02", "A listening socket has a SYN queue and an accept queue as two lists", "accept-queue", "accept-queue-abort"
)
def two_lists(queue: Seen, abort: Seen) -> Verdict:
    put, took = _stood(queue), _taken(queue)
    fifo = len(took) > 2 and put == took
    born = [event.conn for event in abort.all_of("request:born")]
    gone = [event.conn for event in abort.all_of("request:gone")]
    overtaken = list(dict.fromkeys(gone)) != list(dict.fromkeys(born))[: len(set(gone))]
    lengths = abort.listener(1).syn_queue()
    words = (
        f"accept queue: in as {put}, out as {took}; request socks: born {born}, gone {gone}, "
        f"counted by the listener {lengths}"
    )
    if not fifo:
        return refuted("the accept queue is no first-in first-out list", words)
    if not overtaken:
        return confirmed(words)
    return refined(
        "the accept queue is a list, first in, first out; of the SYN queue the listener has only a counter (qlen): its "
        "request socks leave in any order, for they lie in the hash of all connections (reqsk_queue_hash_req())",
        words,
    )


def _stood(seen: Seen) -> list[int]:
    """Numbers of the connections in the order in which they came to stand on the server's side."""
    reached = [(each.reached("server", "ESTABLISHED"), each.number) for each in seen.connections()]
    return [number for _, number in sorted((event.order, number) for event, number in reached if event is not None)]


def _taken(seen: Seen) -> list[int]:
    """And in the order in which accept() took them."""
    whose = {event.cookie: event.conn for event in seen.all_of("socket:state") if event.conn}
    return [whose.get(event["child_cookie"], 0) for event in seen.listener().taken()]


@claim("C03", "The server's program takes no part in the handshake", "handshake")
def no_part(seen: Seen) -> Verdict:
    syn, _, last = seen.handshake()
    sleeper = next(
        (name for name in ("accept4", "epoll_wait", "poll") if held(_slept(seen, name, syn, last))), None
    )  # fmt: skip
    if sleeper is None:
        return refuted("its thread was awake meanwhile", _slept(seen, "accept4", syn, last) or "")
    return confirmed(f"its thread was asleep in {sleeper} from the SYN to the last ACK, {_us(syn, last)}")


def _slept(seen: Seen, call: str, begin: Event, end: Event) -> str | None:
    return seen.asleep_during("server", call, begin, end)


@claim(
    "C04",
    "accept() returns after the handshake is complete, and only takes the connection from a queue",
    "accept-queue",
)
def only_takes(seen: Seen) -> Verdict:
    waits = []
    calls = [call for call in seen.calls("server", "accept4") if (call.result or 0) > 0]
    for number, taken, call in zip(_taken(seen), seen.listener().taken(), calls, strict=True):
        one = seen.connection(number)
        during = [e for e in one.packets() if call.leave and call.enter.order < e.order < call.leave.order]
        if during:
            return refuted("it does more", f"{len(during)} packets of the connection left while accept() took it")
        last, stands = one.arrived("client", "ACK", without="SYN")[0], one.reached("server", "ESTABLISHED")
        if wrong := seen.in_order(("the last ACK", last), ("ESTABLISHED", stands), ("accept() takes it", taken)):
            return refuted("it does not", wrong)
        waits.append(seen.seconds(last, taken) * 1e3)
    return confirmed(
        f"{len(waits)} connections had stood for {min(waits):.1f} to {max(waits):.1f} ms when it took them, and it "
        "sent no packet"
    )


@claim("C05", "The kernel creates the full per-client socket when the SYN arrives", "handshake")
def full_socket(seen: Seen) -> Verdict:
    syn = seen.arrived("client", "SYN")[0]
    last = seen.arrived("client", "ACK", without="SYN")[0]
    request = next(event for event in seen.requests() if event.name == "request:born")
    child = next(event for event in seen.of("socket:state", side="server"))
    words = f"request sock {_us(syn, request)} after the SYN, full socket {_us(last, child)} after the last ACK"
    if child.order < last.order:
        return confirmed(words)
    return refuted("the SYN makes a small request sock; the full socket is made when the last ACK arrives", words)


@claim("C06", "The connection reaches ESTABLISHED on the server before accept()", "accept-queue", "handshake")
def before_accept(late: Seen, waiting: Seen) -> Verdict:
    told = []
    for seen, moment in ((late, "was called"), (waiting, "returned, where it had waited")):
        call = seen.calls("server", "accept4")[0]
        accept = call.enter if seen is late else call.leave
        reached = seen.connection(1).reached("server", "ESTABLISHED")
        if (wrong := seen.in_order(("ESTABLISHED", reached), ("accept()", accept))) or not (reached and accept):
            return refuted("it does not", wrong or "")
        told.append(f"{seen.seconds(reached, accept) * 1e6:,.0f} us before accept() {moment}")
    return confirmed("ESTABLISHED " + ", and ".join(told))


@claim(
    "C07",
    "A full accept queue makes the kernel drop the final ACK (or the SYN), and the client believes it is connected",
    "accept-queue-abort", "accept-queue",
)  # fmt: skip
def believes(abort: Seen, queue: Seen) -> Verdict:
    ignored, aborted = abort.connection(3), abort.connection(6)
    answers = ignored.packets("server", "SYN ACK")
    late = queue.connections()[-1]
    syns = late.packets("client", "SYN")
    waited = late.reached("client", "ESTABLISHED")
    resets = aborted.packets("server", "RST")
    sockets = [event for event in ignored.of("socket:state", side="server") if event["new"]]
    if any(event.evidence == Evidence.INFERRED for event in sockets):
        abort.cannot_tell("packets are captured before they are dropped, and do not show whether a socket was made")
    talked = sum(event["length"] for event in ignored.packets("client", data=True))
    words = (
        f"the ACK dropped: {len(answers)} SYN-ACKs, {talked} bytes sent by a client that believed, {len(sockets)} "
        f"sockets for it; with tcp_abort_on_overflow: {len(resets)} RST; a SYN dropped: {len(syns)} SYNs, ESTABLISHED "
        f"{queue.seconds(syns[0], waited) if waited else 0:.1f} s later"
    )
    stayed = len(syns) > 1 and waited is not None and waited.order > syns[1].order
    if len(answers) < 2 or not talked or sockets or not resets or not stayed:
        return refuted("neither is dropped", words)
    return refined(
        "only who was promised a place (SYN-ACK) and comes too late believes so; who finds the queue full with its SYN "
        "stays in SYN_SENT; with tcp_abort_on_overflow the late ACK is answered by RST",
        words,
    )


@claim("C08", "The accept queue holds backlog connections", "accept-queue")
def holds_backlog(seen: Seen) -> Verdict:
    listener = seen.listener()
    longest, limit = max(listener.accept_queue()), listener.limit()
    words = f"listen(fd, {limit}): {longest} connections waited, and the next SYN was dropped"
    if longest == limit:
        return confirmed(words)
    return refined(f"it holds {longest - limit:+d}: it is full when it is longer than the backlog", words)


@claim("C12", "A non-blocking connect returns EINPROGRESS at once", "nonblocking-connect")
def at_once(seen: Seen) -> Verdict:
    calls = seen.calls("client", "connect")
    results = [call.error or call.result for call in calls]
    slowest = max(call.seconds for call in calls)
    answers = [next(iter(each.arrived("server")), None) for each in seen.connections()]
    early = sum(
        answer is None or (call.leave is not None and call.leave.order < answer.order)
        for call, answer in zip(calls, answers, strict=True)
    )
    words = (
        f"{len(calls)} calls gave {', '.join(map(str, results))}, the slowest in {slowest * 1e6:.0f} us; {early} of "
        f"them before an answer had come"
    )
    if set(results) != {"EINPROGRESS"}:
        return refuted("it gives something else", words)
    return confirmed(words) if early == len(calls) else refined("not before the answer where that is quick", words)


@claim("C13", "Writable is the signal for connected", "nonblocking-connect")
def writable(seen: Seen) -> Verdict:
    notices = [(event, flags) for event, entries in seen.actor("client").notices() for _, flags in entries]
    stands = seen.connection(1).reached("client", "ESTABLISHED")
    told = next((each for each in notices if stands is not None and each[0].order > stands.order), None)
    refusal = [flags for _, flags in notices if "EPOLLERR" in flags]
    if stands is None or told is None or "EPOLLOUT" not in told[1]:
        return refuted("it is not", f"ESTABLISHED, and then {told[1] if told else 'nothing'}")
    words = (
        f"connected: {told[1]} {_us(stands, told[0])} after SYN_SENT → ESTABLISHED; refused: "
        f"{', '.join(refusal) or 'nothing'}"
    )
    if not any("EPOLLOUT" in flags for flags in refusal):
        return confirmed(words)
    return refined("writable says that the handshake has ended, well or not: a refusal is writable too", words)


@claim("C14", "After EPOLLOUT the program must read SO_ERROR to know the outcome", "nonblocking-connect")
def must_read(seen: Seen) -> Verdict:
    told = [flags for _, entries in seen.actor("client").notices() for _, flags in entries]
    words = f"events of a connection that stands: {told[0]}; of a refused one: {told[1]}"
    if told[0] == told[1]:
        return confirmed(words)
    return refined("that it failed is told by EPOLLERR and EPOLLHUP in the same event; why, only SO_ERROR says", words)


@claim(
    "C15", "The client's port comes from 32768-60999 and nobody chose it", "accept-queue", "nonblocking-connect"
)  # fmt: skip
def ephemeral(queue: Seen, other: Seen) -> Verdict:
    every = [each for seen in (queue, other) for each in seen.connections()]
    ports = [syn["sport"] for each in every for syn in each.packets("client", "SYN")[:1]]
    bound = [call for seen in (queue, other) for call in seen.calls("client", "bind")]
    even = sum(port % 2 == 0 for port in ports)
    words = f"{len(ports)} ports from {min(ports)} to {max(ports)}, {even} of them even; {len(bound)} chosen by bind()"
    if bound or any(port not in EPHEMERAL for port in ports):
        return refuted("a port was outside, or chosen", words)
    return confirmed(words)


def _us(one: Event, other: Event) -> str:
    return f"{(other.time - one.time) / 1e3:.0f} us"
