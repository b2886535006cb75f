"""The request in one piece: there is nothing that Nagle's rule could hold back."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import recv, send
from scenarios.talking.nagle import BODY, HEAD, scenario
from tests.scenarios.variants import taken_away


def in_one_piece(me: Actor) -> None:
    send(me.plain, HEAD + BODY)


def in_one_piece_too(me: Actor) -> None:
    recv(me.plain, 100)
    send(me.nodelay, HEAD + BODY)


one_piece = taken_away(
    scenario,
    "one-piece",
    change={5: {"action": in_one_piece}, 7: {"action": in_one_piece_too}},
    fails=("by Nagle's rule", "that ACK comes", "with TCP_NODELAY"),
)
