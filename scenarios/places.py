"""Where an actor is to be found on the wire: addresses that exist in the play's own networks only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scenarios.script import Family, Scenario

INTERFACE: Final = "eth0"
"""An actor's end of its cable."""


@dataclass(frozen=True)
class Place:
    """Where an actor is on the wire."""

    number: int
    """From 1, in the order of the actors."""

    @property
    def ipv4(self) -> str:
        """Address in a subnet that exists in the play's networks only."""
        return f"10.99.0.{self.number}"

    @property
    def ipv6(self) -> str:
        """A unique local address (RFC 4193)."""
        return f"fd99::{self.number:x}"

    @property
    def mac(self) -> str:
        """Locally administered."""
        return f"02:99:00:00:00:{self.number:02x}"

    @property
    def deaf_mac(self) -> str:
        """What a hand-made peer's own kernel believes it is: not where frames go, so it takes none of them."""
        return f"02:98:00:00:00:{self.number:02x}"

    @property
    def port(self) -> str:
        """Its cable's other end in the place between."""
        return f"port{self.number}"

    def address(self, family: Family) -> str:
        """What goes over the wire in a family."""
        return self.ipv6 if family == "ipv6" else self.ipv4


def places_of(scenario: Scenario) -> dict[str, Place]:
    """Every actor's place; a child is where its parent is."""
    numbers = {name: Place(number) for number, name in enumerate(scenario.actors, 1)}
    return {name: numbers[_ancestor(scenario, name)] for name in scenario.actors}


def _ancestor(scenario: Scenario, name: str) -> str:
    while name in scenario.children:
        name = scenario.children[name]
    return name
