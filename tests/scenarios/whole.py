"""Plays again what was not seen as a whole.

A kernel may do something without telling any probe (scenarios.sights_basis.unseen); the timeline then proves nothing,
neither way. That it happened is known from elsewhere, never from the check that is to be decided: the wire and the
other end, or, of what only a timer would have shown, the kernel's own count of softirqs (trace:unseen). So nothing that
fails is tried again until it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypedDict

from scenarios.performance import Performance
from scenarios.sights_basis import Basis

TIMES: Final = 3


class Account(TypedDict):
    """Of one test."""

    plays: int
    again: list[str]
    """A line for each play that was not seen as a whole: why, and what was wrong with it."""


def whole(
    play: Callable[[], Performance],
    account: Account,
    wrong: Callable[[Performance], list[str]] = Performance.complaints,
) -> Performance:
    """What a play gives, the first time that all of it was seen, or the third. `wrong`: what one is to fail for."""
    for _ in range(TIMES):
        shown = play()
        account["plays"] += 1
        if not (why := gaps(shown, wrong(shown))):
            break
        account["again"].append("; ".join([f"{shown.scenario.name}, {shown.ground.family}: {why}", *wrong(shown)]))
    return shown


def gaps(shown: Performance, wrong: list[str]) -> str:
    """What of a play nobody saw, so that it proves nothing, in words; empty when it does."""
    basis = Basis(shown.timeline)
    if basis.lost:
        return f"{basis.lost} events were lost"
    if basis.unseen:
        return f"{basis.unseen} segments or changes of state were seen in part"
    dark = sum(event["softirqs"] for event in basis.events if event.name == "trace:unseen")
    return f"{dark} softirqs of the machine ran without probes" if dark and wrong else ""
