"""The last ACK finds the accept queue full: believed, ignored, or aborted.

While the accept queue has room, SYNs are answered, and only when the last ACK comes does the connection take its place
in the queue. If the room is gone by then, Linux drops that ACK (tcp_v4_syn_recv_sock() finds sk_acceptq_is_full()). The
client does not know: for it the handshake is done, it is ESTABLISHED and sends. The server has a request sock and
nothing else, and repeats its SYN-ACK. With net.ipv4.tcp_abort_on_overflow=1 it sends RST instead, so that the client
learns of it. This play does both, one after the other; the clients speak by hand, so that all their SYNs come before
any of their ACKs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import bind, close, listen, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

BACKLOG = 1
"""Two connections may wait for accept(), and two handshakes may be under way (inet_csk_reqsk_queue_is_full())."""
LATE = 3
"""The third connection of either half is the one that comes too late."""

scenario = Scenario(
    name="accept-queue-abort",
    title="The last ACK finds the accept queue full: ignored, or answered with RST",
    topic="opening",
    place=25,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    peers=("client",),
    sysctls={"net.ipv4.tcp_syncookies": "0"},
    ports=2,
    watch=("a client that believes it is connected", "the SYN-ACK once more", "RST with tcp_abort_on_overflow"),
    questions=(
        ("What does the client notice when its last ACK is ignored?", "Nothing but a second SYN-ACK"),
        ("Why is ignoring the default?", "The queue may have room a moment later, and the connection is saved"),
        ("What makes the kernel say so at once?", "tcp_abort_on_overflow: RST"),
    ),
)


def three_clients(me: Actor) -> None:
    """Three handshakes are begun while there is room; two of them are finished and take all of it."""
    first, second, me.late = (me.peer.talk("server") for _ in range(3))
    for talk in (first, second):
        talk.send("SYN")
        talk.expect("SYN ACK")
    first.send("ACK")
    me.late.send("SYN")
    me.late.expect("SYN ACK")
    second.send("ACK")


@scenario.step("server", "The server listens with a backlog of 1: two connections may wait.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, BACKLOG)


@scenario.step("client", "Three clients begin, while there is room; two of them take it.", watch="the queue is full")
def begin(me: Actor) -> None:
    three_clients(me)


@scenario.step("client", "The third one's ACK is ignored, and its data too.", watch="the SYN-ACK once more")
def is_ignored(me: Actor) -> None:
    me.late.send("ACK")
    me.late.send("PSH ACK", b"hello?")
    me.late.expect("SYN ACK", timeout=5.0)


@scenario.step("server", "Another listener, and now the kernel is told to say so.", watch="tcp_abort_on_overflow = 1")
def listens_again(me: Actor) -> None:
    close(me.listener)
    me.sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    me.listener = socket()
    bind(me.listener, me.at("server", 1))
    listen(me.listener, BACKLOG)


@scenario.step("client", "Three clients again.", watch="the queue is full again")
def begin_again(me: Actor) -> None:
    me.peer.port += 1
    three_clients(me)


@scenario.step("client", "The third one's ACK is answered with RST.", watch="RST")
def is_aborted(me: Actor) -> None:
    me.late.send("ACK")
    me.late.expect("RST")


@scenario.step("server", "The server closes.")
def closes(me: Actor) -> None:
    close(me.listener)


@scenario.must_see("two connections wait in either listener's queue, whose limit is 1")
def full(seen: Seen) -> str | None:
    longest = [max(seen.listener(number).accept_queue()) for number in (1, 2)]
    return seen.same(longest, [BACKLOG + 1, BACKLOG + 1], "the longest accept queues")


@scenario.must_see("the third client's ACK and data do not bring it in, and its SYN-ACK comes again")
def ignored(seen: Seen) -> str | None:
    late = seen.connection(LATE)
    answers = late.packets("server", "SYN ACK")
    return seen.in_order(
        ("the first SYN-ACK", answers[0] if answers else None),
        ("the client's data", late.first("client", data=True)),
        ("the SYN-ACK once more", answers[1] if len(answers) > 1 else None),
    )


@scenario.must_see("its request sock stays in the SYN queue meanwhile, and its side is never ESTABLISHED")
def request_stays(seen: Seen) -> str | None:
    late = seen.connection(LATE)
    answers = late.packets("server", "SYN ACK")
    if len(answers) < 2:
        return "there was no second SYN-ACK"
    gone = [event for event in late.requests() if event.name == "request:gone" and event.order < answers[1].order]
    if gone:
        return "it was gone before the SYN-ACK came again"
    full = [event for event in late.of("socket:state", side="server") if event["new"]]
    return "there is a full socket" if full else None


@scenario.must_see("with tcp_abort_on_overflow the third one's ACK is answered with RST at once")
def aborted(seen: Seen) -> str | None:
    late = seen.connection(2 * LATE)
    acks = late.packets("client", "ACK", without="SYN")
    return seen.in_order(("the ACK", acks[0] if acks else None), ("the RST", late.first("server", "RST")))


@scenario.must_see("the kernel counts an overflow for the ACK, for the data, and for the ACK that was aborted")
def counted(seen: Seen) -> str | None:
    overflows, _ = seen.listener(1).counted()
    return None if overflows >= 3 else f"it counted {overflows}"
