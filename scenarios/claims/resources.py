"""Claims about what connections cost and what runs out: C29 to C31, C38."""

from __future__ import annotations

import socket
import time

from scenarios.claims.claim import Seen, Verdict, claim, confirmed, refined, refuted
from scenarios.limits.read_buffer_size import LARGE, SMALL, TOTAL, reads
from scenarios.resources.pool_against_per_request import REQUESTS, both
from scenarios.resources.port_exhaustion import RANGE
from scenarios.sights_actor import CallSeen
from tracer.states import State
from tracer.timeline import Event

ATTEMPTS = 9
"""Times that a cost is measured; the cheapest counts, for what a busy machine does only ever adds."""
MAGNITUDE = 10
"""An order of."""


@claim("C29", "Without close() in the handler the fd leaks and the client's reader blocks for ever", "close-wait-leak")
def leaks(seen: Seen) -> Verdict:
    failed = seen.actor("server").failed("accept", "EMFILE")
    if failed is None or failed.leave is None:
        return refuted("no descriptor was missed", "accept() never failed with EMFILE")
    kept = [one for one in seen.connections() if _in_close_wait(one.path("server"), failed.leave.order)]
    waiter = next((call for call in seen.calls("client", "recv") if _spans(call, failed.leave.order)), None)
    freed = next((call.leave for call in seen.calls("server", "close") if call.leave), None)
    if waiter is None or not kept:
        return refuted("nobody waited", f"{len(kept)} connections in CLOSE_WAIT")
    if wrong := seen.in_order(("EMFILE", failed.leave), ("a close()", freed), ("recv() returns", waiter.leave)):
        return refuted("its wait ended otherwise", wrong)
    return confirmed(
        f"{len(kept)} connections in CLOSE_WAIT when accept() failed with EMFILE; the next client slept in "
        f"recv() for {waiter.seconds * 1e3:.0f} ms, until one of them was closed"
    )


def _in_close_wait(path: list[tuple[State, Event]], order: int) -> bool:
    before = [state.name for state, event in path if event.order < order]
    return before[-1:] == ["CLOSE_WAIT"]


def _spans(call: CallSeen, order: int) -> bool:
    return bool(call.leave and call.enter.order < order < call.leave.order)


@claim(
    "C30", "A pool saves handshake and teardown for every request after the first", "pool-against-per-request"
)  # fmt: skip
def pool_saves(seen: Seen) -> Verdict:
    told = {what: both(seen, what) for what in ("packets", "calls", "sockets", "waits")}
    saved = (told["packets"][1] - told["packets"][0]) / (REQUESTS - 1)
    names = ("packets", "system calls of the client", "sockets", "TIME_WAITs")
    counts = ", ".join(f"{one} and {other} {name}" for (one, other), name in zip(told.values(), names, strict=True))
    words = (
        f"{REQUESTS} requests over one connection and over one each: {counts}; {saved:.1f} packets saved each, and "
        f"{_each(seen, 3):.0f} us each against {_each(seen, 5):.0f} us"
    )
    return confirmed(words) if saved >= 5 and told["waits"][0] < told["waits"][1] else refuted("it saves less", words)


def _each(seen: Seen, step: int) -> float:
    """Microseconds that a request took in a step of the play, by the client's calls."""
    begin, after = seen.step(step), seen.step(step + 1)
    mine = [call for call in seen.calls("client") if begin.order < call.enter.order < after.order]
    last = mine[-1].leave
    return seen.seconds(mine[0].enter, last) / REQUESTS * 1e6 if last else 0.0


@claim("C31", "One connection per request exhausts the client's ports", "port-exhaustion")
def exhausts(seen: Seen) -> Verdict:
    failed = seen.actor("client").failed("connect", "EADDRNOTAVAIL")
    if failed is None:
        return refuted("they were never exhausted", "no connect() failed with EADDRNOTAVAIL")
    held = {
        syn["sport"]
        for one in seen.connections()
        if (wait := one.timewait("client")) and wait.born.order < failed.enter.order
        for syn in one.packets("client", "SYN")
    }
    free, other = sorted(set(RANGE) - held), seen.results("client", "connect")[-1]
    words = (
        f"connect() failed with EADDRNOTAVAIL when TIME_WAIT at the client held {len(held)} of {len(RANGE)} ports; to "
        f"another port of the server it then gave {other}"
    )
    if free:
        return refuted("there were ports left", words)
    return confirmed(words) if other else refined("those for one destination: to another they are free", words)


@claim(
    "C38",
    "A 128-byte buffer makes far more syscalls than 32 KiB and costs an order of magnitude in throughput",
    "read-buffer-size",
)  # fmt: skip
def small_reads(seen: Seen) -> Verdict:
    little, much = (reads(seen, number)[0] for number in (1, 2))
    slow, fast = (min(_untraced(size) for _ in range(ATTEMPTS)) for size in (SMALL, LARGE))
    words = (
        f"{len(little)} calls of {SMALL} bytes against {len(much)} of {LARGE}; without any tracing {slow * 1e3:.2f} ms "
        f"against {fast * 1e3:.2f} ms for the same {TOTAL:,} bytes: {slow / fast:.0f} times"
    )
    if len(little) > MAGNITUDE * len(much) and slow > MAGNITUDE * fast:
        return confirmed(words)
    if len(little) > MAGNITUDE * len(much):
        return refined(f"it costs {slow / fast:.0f} times, less than an order of magnitude", words)
    return refuted("it makes about as many", words)


def _untraced(size: int) -> float:
    """Seconds of processor time that it takes to read TOTAL bytes that lie there, by calls of `size` bytes.

    A probe makes each call dearer than it is, so the play's own times would flatter the claim.
    """
    with socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * TOTAL)
        reader.connect(door.getsockname())
        writer, _ = door.accept()
        with writer:
            writer.sendall(bytes(TOTAL))
        buffer = bytearray(size)
        begin = time.thread_time()
        while reader.recv_into(buffer):
            pass
        return time.thread_time() - begin
