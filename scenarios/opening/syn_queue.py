"""The SYN queue fills: half-open connections, and the cookies that need no memory.

Each SYN that a listener answers costs it a request sock, a small object that waits for the last ACK; its SYN-ACK is
repeated by a timer of its own. Somebody who sends many SYNs and never answers fills this queue; it is full when it is
longer than the backlog (inet_csk_reqsk_queue_is_full()), and then SYNs are dropped, those of honest clients as well.
SYN cookies are the way out (RFC 4987 section 3.6): the server answers without keeping anything, and hides what it has
to know in the sequence number of its SYN-ACK; the ACK brings it back (cookie_v4_check()). Linux does this when the
queue is full and net.ipv4.tcp_syncookies is 1. The flood here is one of forty hand-made SYNs, in a network of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, listen, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen
    from tracer.timeline import Event

BACKLOG = 4
ROOM = BACKLOG + 1
FLOOD = 40

scenario = Scenario(
    name="syn-queue",
    title="A SYN flood fills the SYN queue, and cookies do without it",
    topic="opening",
    place=30,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    peers=("client",),
    sysctls={"net.ipv4.tcp_syncookies": "0"},
    watch=("request socks up to the limit", "SYN-ACKs again by their timers", "answers without any request sock"),
    ports=2,
    questions=(
        ("Where does a half-open connection live?", "In a request sock: no socket, no descriptor, no program"),
        ("What happens to the SYNs that find the queue full?", "They are dropped, without a word"),
        (
            "What do cookies cost?",
            "Options of the SYN are lost unless timestamps carry them; and there is no repetition",
        ),
    ),
)


@scenario.step("server", f"The server listens with a backlog of {BACKLOG}; cookies are off.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, BACKLOG)


@scenario.step("client", f"A flood of {FLOOD} SYNs whose answers nobody takes.", watch="the SYN queue", lasts=0.1)
def floods(me: Actor) -> None:
    me.peer.flood("server", FLOOD, first_port=20000)


@scenario.step("client", "An honest client is not answered either.", watch="no SYN-ACK; after a second SYN-ACKs again")
def honest(me: Actor) -> None:
    talk = me.peer.talk("server")
    talk.send("SYN")
    talk.expect_silence(1.3)


@scenario.step("server", "Another listener, and cookies are on.", watch="tcp_syncookies = 1")
def with_cookies(me: Actor) -> None:
    close(me.listener)
    me.sysctl("net.ipv4.tcp_syncookies", 1)
    me.listener = socket()
    bind(me.listener, me.at("server", 1))
    listen(me.listener, BACKLOG)


@scenario.step("client", "The same flood, and an honest client behind it.", watch="an answer, but no request sock")
def floods_again(me: Actor) -> None:
    me.peer.port += 1
    me.peer.flood("server", FLOOD, first_port=30000)
    me.talk = me.peer.talk("server")
    me.talk.open()
    me.talk.send("PSH ACK", b"I am honest")
    me.talk.expect("ACK", without="SYN")


@scenario.step("server", "The server accepts it: it has come in by its cookie.")
def accepts(me: Actor) -> None:
    me.connection = accept(me.listener)
    close(me.connection)
    close(me.listener)


@scenario.must_see(f"the SYN queue grows to {ROOM} and no further, and only so many SYNs are answered")
def limited(seen: Seen) -> str | None:
    queue = max(seen.listener(1).syn_queue())
    answered = {event["dport"] for event in _synacks(seen) if 20000 <= event["dport"] < 20000 + FLOOD}
    return seen.same((queue, len(answered)), (ROOM, ROOM), "longest SYN queue, and SYNs of the flood answered")


@scenario.must_see("nobody answers: the SYN-ACKs are sent again by the request socks' own timers")
def again(seen: Seen) -> str | None:
    fired = seen.all_of("request:timer")
    repeated = seen.all_of("request:retransmit")
    return None if fired and repeated else f"{len(fired)} timers fired, {len(repeated)} SYN-ACKs were repeated"


@scenario.must_see("the honest client gets no answer while the queue is full")
def shut_out(seen: Seen) -> str | None:
    honest = seen.connection(FLOOD + 1)
    return "it was answered" if honest.packets("server") else None


@scenario.must_see("with cookies every SYN of the flood is answered, with no more request socks than fit")
def cookies(seen: Seen) -> str | None:
    answered = {event["dport"] for event in _synacks(seen) if 30000 <= event["dport"] < 30000 + FLOOD}
    born = [event for event in seen.all_of("request:born") if 30000 <= event["dport"] < 30000 + FLOOD]
    if len(answered) != FLOOD:
        return f"{len(answered)} of {FLOOD} SYNs were answered"
    return None if len(born) <= ROOM else f"there were {len(born)} request socks"


@scenario.must_see("and the honest client gets in although it never had a request sock in the SYN queue")
def gets_in(seen: Seen) -> str | None:
    honest = next((each for each in seen.connections() if each.packets("client", data=True)), None)
    if honest is None:
        return "it never got so far as to say something"
    return honest.went_through("server", "ESTABLISHED") or (
        "it had a request sock" if [event for event in honest.requests() if event.name == "request:born"] else None
    )


def _synacks(seen: Seen) -> list[Event]:
    return [event for each in seen.connections() for event in each.packets("server", "SYN ACK")]
