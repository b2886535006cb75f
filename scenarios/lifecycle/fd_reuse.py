"""Descriptor reuse: a number is free at once, its connection is not.

A descriptor is a place in the process's table, and the kernel always gives out the lowest free one (POSIX, open(2)).
So the number that close() frees is the next socket's number, while the connection behind the old one lives on in the
kernel: in FIN_WAIT2 as long as the peer keeps its side open, then for a minute in TIME_WAIT. Two sockets, one number,
at the same time; only one of them has a program. Who remembers connections by their descriptor will take the one for
the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="fd-reuse",
    title="One descriptor number, two connections",
    topic="lifecycle",
    place=100,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("descriptor 3 twice, with two sockets behind it", "the first connection in FIN_WAIT2, without a program"),
    questions=(
        ("Which number does the next socket get?", "The lowest that is free: the one just closed"),
        ("What is left of the first connection meanwhile?", "An orphan in FIN_WAIT2, which belongs to the kernel"),
        ("What tells two connections apart, if not the number?", "The four-tuple; in the kernel, the socket's cookie"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects.", watch="its descriptor's number")
def connects(me: Actor) -> None:
    me.first = socket()
    connect(me.first, me.at("server"))


@scenario.step("server", "The server accepts.")
def accepts(me: Actor) -> None:
    me.first = accept(me.listener)


@scenario.step("client", "The client closes. The server does not.", watch="FIN_WAIT1, FIN_WAIT2", lasts=0.1)
def closes(me: Actor) -> None:
    close(me.first)


@scenario.step("client", "The client connects again, and gets the same number.", watch="one number, two sockets")
def connects_again(me: Actor) -> None:
    me.second = socket()
    connect(me.second, me.at("server"))


@scenario.step("server", "The server takes the second one and closes the first.", watch="TIME_WAIT of the first")
def closes_the_first(me: Actor) -> None:
    me.second = accept(me.listener)
    close(me.first)


@scenario.step("client", "The client closes the second.", lasts=0.1)
def closes_the_second(me: Actor) -> None:
    close(me.second)


@scenario.step("server", "The server closes everything.")
def closes_all(me: Actor) -> None:
    close(me.second)
    close(me.listener)


@scenario.must_see("both of the client's sockets have the same number")
def same_number(seen: Seen) -> str | None:
    numbers = seen.results("client", "socket")
    return None if len(numbers) == 2 and numbers[0] == numbers[1] else f"their numbers are {numbers}"


@scenario.must_see("the number is given out again after the close() that freed it")
def given_again(seen: Seen) -> str | None:
    reused = [number for number, _, _ in seen.actor("client").reused()]
    return seen.same(reused, seen.results("client", "socket")[:1], "numbers that were used again")


@scenario.must_see("behind it are two connections with two ports")
def two_connections(seen: Seen) -> str | None:
    ports = [connection.packets("client")[0]["sport"] for connection in seen.connections()]
    return None if len(set(ports)) == 2 else f"the client's ports are {ports}"


@scenario.must_see("the first one lives on when the second begins")
def lives_on(seen: Seen) -> str | None:
    return seen.in_order(
        ("FIN_WAIT2 of the first", seen.connection(1).reached("client", "FIN_WAIT2")),
        ("ESTABLISHED of the second", seen.connection(2).reached("client", "ESTABLISHED")),
        ("TIME_WAIT of the first", seen.connection(1).reached("client", "TIME_WAIT")),
    )
