"""Claims about runtimes and epoll: C09 to C11, C17, C50. asyncio and the netpoller are asked; Go has no play yet."""

from __future__ import annotations

from scenarios.claims.claim import Seen, Verdict, claim, confirmed, refuted

ADD = 1
"""EPOLL_CTL_ADD."""
RUNTIMES = ("asyncio", "the netpoller")


@claim(
    "C09", "The runtime registers an fd with epoll each time a read would block", "asyncio-listener", "netpoller-echo"
)
def each_time(asyncio: Seen, netpoller: Seen) -> Verdict:
    told = []
    for name, seen in zip(RUNTIMES, (asyncio, netpoller), strict=True):
        added = [fd for operation, fd, _ in seen.actor("server").registrations() if operation == ADD]
        blocked = sum(result == "EAGAIN" for result in seen.results("server", "accept", "recv"))
        told.append((name, len(added), len(set(added)), blocked))
    words = "; ".join(
        f"{name}: {added} times EPOLL_CTL_ADD for {fds} descriptors, {blocked} calls that would block"
        for name, added, fds, blocked in told
    )
    if any(added > fds for _, added, fds, _ in told):
        return confirmed(words)
    return refuted("once for each descriptor; when a read would block nothing is registered any more", words)


@claim(
    "C10", "Registration is EPOLLIN and edge-triggered for reading", "asyncio-listener", "netpoller-echo"
)  # fmt: skip
def for_reading(asyncio: Seen, netpoller: Seen) -> Verdict:
    told = {
        name: sorted({flags for operation, _, flags in seen.actor("server").registrations() if operation == ADD})
        for name, seen in zip(RUNTIMES, (asyncio, netpoller), strict=True)
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


@claim("C11", "A connecting socket is registered for EPOLLOUT")
def connecting() -> Verdict:
    return _no_play("in which a runtime connects: a Go program that dials, under `synfin trace --go`, would show it")


@claim(
    "C17",
    "The poller runs on a thread of its own, always in epoll_wait (one article) / there is no such thread (another)",
)
def thread_of_its_own() -> Verdict:
    return _no_play("of a Go program: `synfin trace --go -- PROGRAM` shows who asks epoll (poller:asks)")


@claim("C50", "Only one goroutine per connection is needed, because reads and writes can alternate")
def one_is_enough() -> Verdict:
    return _no_play("of a Go program in which both sides only write")


def _no_play(what: str) -> Verdict:
    return Verdict("not run", f"there is no scenario yet {what}")
