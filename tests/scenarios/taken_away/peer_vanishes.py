"""The cable is whole: the client's words arrive, and its recv is answered."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import close, send
from scenarios.ending.peer_vanishes import scenario
from tests.scenarios.variants import taken_away


def sends_and_closes(me: Actor) -> None:
    send(me.connection, b"is anybody there?")
    close(me.connection)


without_cut = taken_away(
    scenario,
    "without-cut",
    drop=(4,),
    change={5: {"action": sends_and_closes}},
    fails=(
        "the client's kernel sends the same data again",
        "each wait is about twice",
        "the client's recv fails",
        "the server's side stays",
    ),
)
