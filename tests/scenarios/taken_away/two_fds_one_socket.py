"""The worker leaves before the others have closed, and calls no shutdown(): FIN comes with the client's close()."""

from __future__ import annotations

from scenarios.actor import Actor
from scenarios.calls import close, recv, recv_exactly, send
from scenarios.resources.two_fds_one_socket import scenario
from tests.scenarios.variants import nothing, taken_away


def closes_both(me: Actor) -> None:
    send(me.copy, b"by the worker")
    close(me.copy)
    close(me.second)


def closes_its_own(me: Actor) -> None:
    close(me.copy)


def reads(me: Actor) -> None:
    recv_exactly(me.first, len(b"by the copy" + b"by the worker"))
    recv(me.first, 4096)
    close(me.first)


def sends(me: Actor) -> None:
    send(me.second, b"and I?")
    close(me.second)


early = taken_away(
    scenario,
    "worker-first",
    change={
        6: {"actor": "worker", "action": closes_both},
        7: {"actor": "client", "action": closes_its_own},
        8: {"action": reads, "asleep_in": ""},
        9: {"action": nothing, "wakes": ()},
        10: {"action": nothing, "asleep_in": ""},
        11: {"action": nothing, "wakes": ()},
        12: {"action": sends},
    },
    fails=("two close() calls of the client", "the client's side leaves"),
)
