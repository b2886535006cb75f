"""net.core.somaxconn caps the backlog, silently, and at the time of listen().

A program may ask for a backlog of 1,000; what it gets is the smaller of that and net.core.somaxconn (__sys_listen()).
Nobody tells it: listen() returns 0 all the same. And the sysctl is read in listen() and never again. Who raises it
while a server runs has changed nothing for that server, until it calls listen() once more (mostly: until it is
restarted).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SOCK_NONBLOCK, begin_connect, bind, close, connect, listen, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

ASKED, CAP, RAISED = 1000, 2, 4

scenario = Scenario(
    name="somaxconn",
    title="somaxconn: a backlog of 1,000 that is 2",
    topic="limits",
    place=20,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    isolation="required",
    sysctls={"net.core.somaxconn": str(CAP), "net.ipv4.tcp_syncookies": "0"},
    watch=("the limit that listen() really set", "an overflow of a backlog of 1,000", "the sysctl alone does nothing"),
    questions=(
        ("What does listen(fd, 1000) return here?", "0, as if nothing were wrong"),
        ("Does a higher somaxconn help a server that runs?", "Not until it calls listen() again"),
        ("Where is the true limit to be seen?", "ss -ltn, column Send-Q; or here"),
    ),
)


@scenario.step("server", f"listen() with {ASKED:,}; somaxconn is {CAP}.", watch="the limit")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, ASKED)


@scenario.step("client", f"{CAP + 1} connections fill the queue; one more is not answered.", watch="an overflow")
def fills(me: Actor) -> None:
    for _ in range(CAP + 1):
        connect(socket(), me.at("server"))
    begin_connect(socket(SOCK_NONBLOCK), me.at("server"))


@scenario.step("server", f"somaxconn becomes {RAISED}.", watch="the listener's limit is what it was")
def raises(me: Actor) -> None:
    me.sysctl("net.core.somaxconn", RAISED)


@scenario.step("client", "One more: there is still no room.", watch="another overflow")
def no_room(me: Actor) -> None:
    begin_connect(socket(SOCK_NONBLOCK), me.at("server"))


@scenario.step("server", f"listen() again, with {ASKED:,}.", watch="now the limit is the new one")
def listens_again(me: Actor) -> None:
    listen(me.listener, ASKED)


@scenario.step("client", "Now one more gets in.")
def gets_in(me: Actor) -> None:
    connect(socket(), me.at("server"))


@scenario.step("server", "The server closes.")
def ends(me: Actor) -> None:
    close(me.listener)


@scenario.must_see(f"listen() with {ASKED:,} succeeds, and the limit is {CAP}")
def capped(seen: Seen) -> str | None:
    asked = [call.enter["args"][1] for call in seen.calls("server", "listen")]
    if wrong := seen.same((asked, seen.results("server", "listen")), ([ASKED, ASKED], [0, 0]), "listen()"):
        return wrong
    return seen.same([event["max_ack_backlog"] for event in seen.listener().queued()][:1], [CAP], "its limit")


@scenario.must_see(f"the queue overflows at {CAP + 1}, before and after somaxconn is raised")
def overflows(seen: Seen) -> str | None:
    raised, again = seen.step(3), seen.step(5)
    told = [event for event in seen.listener().overflows() if event.order < again.order]
    if not told or told[0].order > raised.order or told[-1].order < raised.order:
        return f"{len(told)} overflows, not one before and one after the sysctl"
    found = {(event["ack_backlog"], event["max_ack_backlog"]) for event in told}
    return seen.same(found, {(CAP + 1, CAP)}, "(length, limit) at the overflows")


@scenario.must_see(f"only the second listen() makes the limit {RAISED}")
def second(seen: Seen) -> str | None:
    again = seen.step(5)
    before = {event["max_ack_backlog"] for event in seen.listener().queued() if event.order < again.order}
    after = {event["max_ack_backlog"] for event in seen.listener().queued() if event.order > again.order}
    return seen.same((before, after), ({CAP}, {RAISED}), "the limits before and after")
