"""Claims about runtimes and epoll: C09 to C11, C17, C50. asyncio, the netpoller and Go are asked."""

from __future__ import annotations

from scenarios.claims.claim import Seen, Verdict, claim, confirmed, refined, refuted

ADD = 1
"""EPOLL_CTL_ADD."""
RUNTIMES = ("asyncio", "the netpoller", "Go")
SOCKETS = ("socket", "accept", "accept4")
"""Calls that make one."""


@claim(
    "C09",
    "The runtime registers an fd with epoll each time a read would block",
    "asyncio-listener",
    "netpoller-echo",
    "go-echo",
)
def each_time(asyncio: Seen, netpoller: Seen, go: Seen | None = None) -> Verdict:
    told = []
    for name, seen in zip(RUNTIMES, filter(None, (asyncio, netpoller, go)), strict=False):
        added = sum(operation == ADD for operation, _, _ in seen.actor("server").registrations())
        blocked = sum(result == "EAGAIN" for result in seen.results("server", "accept", "recv", "read"))
        told.append((name, added, _again(seen), blocked))
    words = "; ".join(
        f"{name}: {added} times EPOLL_CTL_ADD, {again or 'none'} for a descriptor that was there, {blocked} EAGAIN"
        for name, added, again, blocked in told
    )
    if any(again for _, _, again, _ in told):
        return confirmed(words)
    return refuted("once for each descriptor; when a read would block nothing is registered any more", words)


def _again(seen: Seen) -> int:
    """How often the server put a descriptor under epoll that it had put there since it was given the number."""
    server = seen.actor("server")
    born = {event.order: fd for fd, event in server.opened()}
    under: set[int] = set()
    again = 0
    for event in server.events:
        if event.name == "epoll:ctl" and event["op"] == ADD:
            again += event.fd in under
            under.add(event.fd)
        elif event.order in born:
            under.discard(born[event.order])
    return again


@claim(
    "C10", "Registration is EPOLLIN and edge-triggered for reading", "asyncio-listener", "netpoller-echo", "go-echo"
)  # fmt: skip
def for_reading(asyncio: Seen, netpoller: Seen, go: Seen | None = None) -> Verdict:
    told = {
        name: sorted(_masks(seen)) for name, seen in zip(RUNTIMES, filter(None, (asyncio, netpoller, go)), strict=False)
    }
    words = "; ".join(f"{name}: {', '.join(flags)}" for name, flags in told.items())
    edge = {name: all("EPOLLET" in each for each in flags) for name, flags in told.items()}
    if all(edge.values()):
        return confirmed(words)
    if any(edge.values()):
        return Verdict(
            "refined", words, "it depends on the runtime: by level for reading only, or by edge for both ways"
        )
    return refuted("it is level-triggered", words)


def _masks(seen: Seen) -> set[str]:
    """For what the server put its sockets under epoll (a runtime's own pipe, by which it wakes itself, is none)."""
    server = seen.actor("server")
    sockets = {fd for fd, made in server.opened() if made.call in SOCKETS}
    return {flags for operation, fd, flags in server.registrations() if operation == ADD and fd in sockets}


@claim("C11", "A connecting socket is registered for EPOLLOUT", "go-dial", "asyncio-dial")
def connecting(go: Seen, asyncio: Seen) -> Verdict:
    masks = {name: _while_connecting(seen) for name, seen in (("Go", go), ("asyncio", asyncio))}
    table = [event for event in go.actor("client").events if event.name == "polldesc:change"]
    parked = next(event for event in table if event["wg"].isdigit())
    words = "after EINPROGRESS " + "; ".join(f"{name}: EPOLL_CTL_ADD for {mask}" for name, mask in masks.items())
    words += f"; Go's goroutine parked in wg, and rg was {parked['rg']}"
    if any("EPOLLOUT" not in mask.split("|") for mask in masks.values()):
        return refuted("not by every runtime", words)
    more = [name for name, mask in masks.items() if mask != "EPOLLOUT"]
    if not more:
        return confirmed(words)
    return refined(f"by all for EPOLLOUT; {' and '.join(more)}: for all else at once, as any other socket", words)


def _while_connecting(seen: Seen) -> str:
    """For what the first socket whose connect() gave EINPROGRESS was put under epoll."""
    client = seen.actor("client")
    call = next(call for call in client.calls("connect") if call.error == "EINPROGRESS")
    return next(mask for operation, fd, mask in client.registrations() if operation == ADD and fd == call.enter.fd)


@claim(
    "C17",
    "The poller runs on a thread of its own, always in epoll_wait (one article) / there is no such thread (another)",
    "go-echo",
)
def thread_of_its_own(go: Seen) -> Verdict:
    server = go.actor("server")
    asked = {event.tid for event in server.events if event.name == "poller:asks" and event["delay"]}
    if not asked:
        go.cannot_tell("who asks epoll is seen by probes in the Go program only")
    ran = {event.tid for event in server.events if event.name == "task:state" and event["new"] == "running"}
    waits = [call for call in server.calls("epoll_pwait") if call.enter.tid in asked and call.enter["args"][3]]
    brought = [call.enter.tid for call in waits if (call.result or 0) > 0]
    at_once = sum(
        one.enter.order < other.enter.order and (one.leave is None or one.leave.order > other.enter.order)
        for one in waits
        for other in waits
    )
    words = (
        f"Go: {len(brought)} times a wait in epoll_pwait brought something, to {_count(len(set(brought)), 'thread')}; "
        f"{len(set(brought) & ran)} of these ran goroutines as well; {at_once or 'never'} two waited at once"
    )
    if not set(brought) & ran:
        return Verdict("undecided", f"nobody who waited was seen running a goroutine: {words}")
    return refined("there is no such thread: one that finds nothing to run waits, and runs what it has woken", words)


@claim(
    "C50",
    "Only one goroutine per connection is needed, because reads and writes can alternate",
    "go-both-write",
    "go-echo",
)
def one_is_enough(stuck: Seen, echo: Seen) -> Verdict:
    sent = next(call for call in stuck.calls("client", "send"))
    reader = stuck.calls("reader", "recv")[0].enter
    table = [e for e in stuck.actor("server").events if e.name == "polldesc:change" and e.order < reader.order]
    last = {event.fd: event for event in table}
    held = [event for event in last.values() if event["wg"].isdigit()]
    served = sum(call.result or 0 for call in echo.calls("server", "read") if not call.error)
    rg = held[0]["rg"] if held else "nil"
    words = (
        f"one goroutine echoed {served} bytes; with {sent.enter['args'][2]:,} written before any was read the client "
        f"was {sent.seconds:.1f} s in send and the server's goroutine in wg (rg {rg}), until a second task read"
    )
    if not held or sent.leave is None or sent.leave.order < reader.order:
        return confirmed(words)
    return refined("as long as the peer reads: when both sides only write, both wait for ever", words)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
