"""A claim: a sentence that somebody has written about TCP, and the function that decides it.

The function is handed what was seen of one or more plays and returns a verdict with the evidence in a line; nothing in
it may be known beforehand. What the evidence at hand cannot show makes it undecided, with what would be needed: then a
check of the timeline raises CannotTell, as it does in a scenario.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from scenarios.sights import Seen

Kind = Literal["confirmed", "refuted", "refined", "undecided", "not run"]
"""refined: true with a correction. undecided: not on this machine, or not with these rights. not run: nothing decides
it yet, or it was left out."""


@dataclass(frozen=True)
class Verdict:
    """What became of a claim."""

    kind: Kind
    evidence: str
    """In a line: what was measured; of an undecided one: what is missing."""
    correction: str = ""
    """What is true instead, of a refuted or refined claim."""


def confirmed(evidence: str) -> Verdict:
    """It is as the claim says."""
    return Verdict("confirmed", evidence)


def refuted(correction: str, evidence: str) -> Verdict:
    """It is not."""
    return Verdict("refuted", evidence, correction)


def refined(correction: str, evidence: str) -> Verdict:
    """It is nearly so."""
    return Verdict("refined", evidence, correction)


Decide = Callable[..., Verdict]
"""Handed a `Seen` for each of the claim's plays, in their order."""


@dataclass(frozen=True)
class Claim:
    """One row of the list."""

    id: str
    text: str
    plays: tuple[str, ...]
    """Scenarios it is decided by; the first one's recording is the one to look at. Last may stand some whose program is
    not on every machine (Go's): without it the claim is decided by those before, if there are any."""
    decide: Decide
    measured: bool = False
    """Decided by loads in several runs (scenarios.load.evidence.Loads, which it is handed), not by plays."""


CLAIMS: Final[dict[str, Claim]] = {}
"""All claims by their id; filled by the modules beside this one (scenarios.claims.every)."""


def claim(number: str, text: str, *plays: str) -> Callable[[Decide], Decide]:
    """Add the decorated function as what decides a claim."""

    def add(decide: Decide) -> Decide:
        if number in CLAIMS:
            raise ValueError(f"{number} is claimed twice")
        CLAIMS[number] = Claim(number, text, plays, decide)
        return decide

    return add


def measured(number: str, text: str) -> Callable[[Decide], Decide]:
    """Add the decorated function as what decides a claim by measuring: it is handed Loads, and takes a minute or so."""

    def add(decide: Decide) -> Decide:
        claim(number, text)(decide)
        CLAIMS[number] = replace(CLAIMS[number], measured=True)
        return decide

    return add


def held(wrong: str | None) -> bool:
    """What a check of `Seen` says: None when it holds."""
    return wrong is None


__all__ = ["CLAIMS", "Claim", "Seen", "Verdict", "claim", "confirmed", "held", "measured", "refined", "refuted"]
