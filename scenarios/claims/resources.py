"""Claims about what connections cost and what runs out: C29 to C31, C38."""

from __future__ import annotations

from scenarios.claims.claim import Seen, Verdict, claim, confirmed, refuted
from scenarios.limits.read_buffer_size import LARGE, SMALL, reads
from scenarios.resources.pool_against_per_request import REQUESTS, both
from scenarios.sights_actor import CallSeen
from tracer.states import State
from tracer.timeline import Event

MAGNITUDE = 10
"""An order of."""


@claim("C29", "Without close() in the handler the fd leaks and the client's reader blocks for ever", "close-wait-leak")
def leaks(seen: Seen) -> Verdict:
    failed = seen.actor("server").failed("accept", "EMFILE")
    if failed is None or failed.leave is None:
        return refuted("no descriptor was missed", "accept() never failed with EMFILE")
    kept = [one for one in seen.connections() if _in_close_wait(one.path("server"), failed.leave.order)]
    waiter = next((call for call in seen.calls("client", "recv") if _spans(call, failed.leave.order)), None)
    if waiter is None or not kept:
        return refuted("nobody waited", f"{len(kept)} connections in CLOSE_WAIT")
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
    words = f"{REQUESTS} requests over one connection and over one each: {counts}; {saved:.1f} packets a request"
    return confirmed(words) if saved >= 5 and told["waits"][0] < told["waits"][1] else refuted("it saves less", words)


@claim("C31", "One connection per request exhausts the client's ports", "port-exhaustion")
def exhausts(seen: Seen) -> Verdict:
    failed = seen.actor("client").failed("connect", "EADDRNOTAVAIL")
    if failed is None:
        return refuted("they were never exhausted", "no connect() failed with EADDRNOTAVAIL")
    waits = [one.timewait("client") for one in seen.connections()]
    held = [wait for wait in waits if wait is not None and wait.born.order < failed.enter.order]
    return confirmed(
        f"connect() failed with EADDRNOTAVAIL when {len(held)} TIME_WAITs at the client held all ports of the range "
        f"(for one destination: to another port of the server it went on)"
    )


@claim(
    "C38",
    "A 128-byte buffer makes far more syscalls than 32 KiB and costs an order of magnitude in throughput",
    "read-buffer-size",
)  # fmt: skip
def small_reads(seen: Seen) -> Verdict:
    (little, slow), (much, fast) = (reads(seen, number) for number in (1, 2))
    words = (
        f"{len(little)} calls of {SMALL} bytes took {slow * 1e3:.1f} ms, {len(much)} of {LARGE} {fast * 1e3:.2f} ms: "
        f"{slow / fast:.0f} times (traced, which makes each call dearer)"
    )
    if len(little) > MAGNITUDE * len(much) and slow > MAGNITUDE * fast:
        return confirmed(words)
    return refuted("it costs less", words)
