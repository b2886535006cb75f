"""Listen: three system calls open a door, and no packet passes.

socket() makes an endpoint that is nowhere (state CLOSE), bind() gives it an address and a port, listen() turns it into
a listener: state LISTEN, with room for a queue of requests and a queue of finished connections (RFC 9293 section
3.10.1, passive OPEN). The backlog that listen() is given limits the second queue; calling listen() again changes the
limit and nothing else. All of it happens inside one machine: the network learns of a listener only when somebody
knocks. A port has one listener at a time: a second socket that asks for it is refused with EADDRINUSE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import bind, close, fails, listen, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

BACKLOG = 8
SMALLER = 2

scenario = Scenario(
    name="listen",
    title="A listener opens, without a packet",
    topic="lifecycle",
    place=10,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server",),
    watch=("the state: CLOSE, then LISTEN", "two empty queues and the limit of one of them", "the empty wire"),
    questions=(
        ("Which of the three calls makes the port answer?", "listen(): until then a SYN gets RST"),
        ("What does the number given to listen() limit?", "The accept queue: connections that are finished, not taken"),
        ("How does the network learn that the port is open?", "Not at all, until a SYN comes"),
    ),
)


@scenario.step("server", "socket: an endpoint that is nowhere yet.", watch="state CLOSE, no port")
def makes_an_endpoint(me: Actor) -> None:
    me.listener = socket()


@scenario.step("server", "bind: it gets an address and a port.", watch="still CLOSE: who knocks now gets RST")
def takes_a_port(me: Actor) -> None:
    bind(me.listener, me.at("server"))


@scenario.step("server", "listen: the door is open.", watch="LISTEN; both queues empty; the limit is the backlog")
def opens(me: Actor) -> None:
    listen(me.listener, BACKLOG)


@scenario.step("server", "A second socket wants the same port, and is refused.", watch="EADDRINUSE")
def cannot_have_it_twice(me: Actor) -> None:
    other = socket()
    fails("EADDRINUSE", bind, other, me.at("server"))
    close(other)


@scenario.step("server", "listen once more, with a smaller backlog: only the limit changes.", watch="the limit")
def lowers_the_limit(me: Actor) -> None:
    listen(me.listener, SMALLER)


@scenario.step("server", "close: the door is shut, and nothing is left.", watch="LISTEN ends at once: no FIN, no wait")
def shuts(me: Actor) -> None:
    close(me.listener)


@scenario.must_see("exactly three calls open it: socket, bind, listen")
def three_calls(seen: Seen) -> str | None:
    calls = [call.enter.call for call in seen.calls("server")]
    return seen.same(calls[: calls.index("listen") + 1], ["socket", "bind", "listen"], "calls until the first listen()")


@scenario.must_see("the limit is the backlog of the first listen(), then that of the second")
def limits(seen: Seen) -> str | None:
    return seen.same(seen.listener().limits(), [BACKLOG, SMALLER], "limits of the accept queue")


@scenario.must_see("both queues stay empty")
def empty_queues(seen: Seen) -> str | None:
    listener = seen.listener()
    return seen.same((listener.syn_queue(), listener.accept_queue()), ([0], [0]), "lengths of the two queues")


@scenario.must_see("a second socket is refused the port")
def refused(seen: Seen) -> str | None:
    return seen.same(seen.results("server", "bind"), [0, "EADDRINUSE"], "results of bind")


@scenario.must_see("no packet passes, and close() ends the listener at once")
def silent(seen: Seen) -> str | None:
    packets = seen.all_of("packet:sent", "packet:captured")
    if packets:
        return f"{len(packets)} packets passed"
    return None if seen.listener().closed else "the listener was not closed"
