"""Claims about options and limits: C39, C41, C42, C45 to C47."""

from __future__ import annotations

from scenarios.claims.claim import Seen, Verdict, claim, confirmed, held, refined, refuted
from scenarios.limits.deadlines import held as held_for
from scenarios.limits.level_and_edge import told
from scenarios.limits.reuseport import CLIENTS


@claim("C39", "Without deadlines a slow client holds a connection without limit", "deadlines")
def holds(seen: Seen) -> Verdict:
    calls, whole = held_for(seen, 1)
    _, limited = held_for(seen, 3)
    _, deadline = held_for(seen, 4)
    words = (
        f"without: {len(calls)} recv() calls held the server for {whole:.2f} s, as long as the client dripped; with a "
        f"time-out for each call ({limited:.2f} s); a deadline for the whole ended it after {deadline:.2f} s"
    )
    return confirmed(words) if deadline < whole else refuted("it does not", words)


@claim(
    "C41",
    "Level-triggered epoll repeats its notice while data remain; edge-triggered gives it once",
    "level-and-edge",
)
def repeats(seen: Seen) -> Verdict:
    unread, between, edge = (told(seen, step) for step in (4, 5, 6))
    words = (
        f"by level: told {sum(unread)} times of {len(unread)} while nothing was read, and {sum(between)} times between "
        f"reads; by edge: told {sum(edge)} time(s) of {len(edge)}"
    )
    if all(unread) and len(unread) > 1 and edge[:1] == [1] and not any(edge[1:]):
        return confirmed(words)
    return refuted("it is otherwise", words)


@claim("C42", "With edge-triggered epoll a reader that stops early misses data", "level-and-edge")
def misses(seen: Seen) -> Verdict:
    waited = seen.calls("server", "epoll_wait")[-2]
    if waited.leave is None:
        seen.cannot_tell("the wait had not come to its end")
    unread = seen.connection(2).value_before("server", "unread", waited.leave)
    byte = next((event for event in seen.connection(2).arrived("client", data=True) if event["length"] == 1), None)
    last = seen.calls("server", "epoll_wait")[-1].leave
    words = f"{unread} bytes lay unread while epoll_wait gave nothing for {waited.seconds * 1e3:.0f} ms"
    if not unread:
        return refuted("nothing was left", words)
    if held(seen.in_order(("one byte more", byte), ("a notice", last))):
        return refined("it is not told of them until something new arrives: then they can be read with it", words)
    return confirmed(words)


@claim("C45", "tcp_tw_reuse lets an outgoing connection reuse a 4-tuple in TIME_WAIT", "tw-reuse")
def reuses(seen: Seen) -> Verdict:
    wait = seen.connection(2).timewait("client")
    early, off, late, without = seen.results("client", "connect")[2:]
    young = seen.calls("client", "connect")[2]
    if wait is None or wait.end != "cancelled" or late:
        return refuted("it did not", f"connect() gave {late}")
    words = (
        f"with timestamps connect() gave {early} {seen.seconds(wait.born, young.enter):.2f} s "
        f"after TIME_WAIT was born, {late} after {wait.lasted:.2f} s ({off} while it was off); without {without}"
    )
    if early == without == 0:
        return confirmed(words)
    return refined("if the connection had timestamps, and when the TIME_WAIT is at least a second old", words)


@claim("C46", "somaxconn caps the backlog given to listen()", "somaxconn")
def caps(seen: Seen) -> Verdict:
    asked = [call.enter["args"][1] for call in seen.calls("server", "listen")]
    limits = list(dict.fromkeys(event["max_ack_backlog"] for event in seen.listener().queued()))
    words = f"listen() with {asked[0]} made the limit {limits[0]}; with the sysctl raised, and again, {limits[-1]}"
    return confirmed(words) if limits[0] < asked[0] else refuted("it does not", words)


@claim("C47", "SO_REUSEPORT spreads connections over several listeners", "reuseport")
def spreads(seen: Seen) -> Verdict:
    closed = seen.step(4)
    shares = [sum(event.order < closed.order for event in each.queued()) for each in seen.listeners()]
    words = f"{CLIENTS} connections: {', '.join(map(str, shares))} at {len(shares)} listeners"
    return confirmed(words) if all(shares) and sum(shares) == CLIENTS else refuted("it does not", words)
