"""The actor called `network`: the wire, as the steps of a script steer it.

`@scenario.step("network", "The server's FIN gets lost.")` and in it `me.drop("server", "FIN", nth=1)`: from then on the
relay does so. Its process never sleeps in a step; it carries packets all the time, between steps and while it is cued.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scenarios import impairments
from scenarios.actor import Actor
from scenarios.impairments import Rule
from scenarios.places import places_of
from scenarios.relay import Relay, fate_message
from scenarios.script import Scenario


class Network(Actor):
    """What the `network`'s steps get to hold."""

    def __init__(self, actor: dict[str, Any], relay: Relay) -> None:
        """`actor` is what every actor is made of."""
        super().__init__(**actor)
        self.relay = relay

    def apply(self, rule: Rule) -> Rule:
        """Let a rule hold from now on, before all others; returns it, for `mend` and `taken`."""
        self.relay.add(rule)
        return rule

    def drop(self, sender: str = "", flags: str = "", **which: Any) -> Rule:
        """Lose packets: see `scenarios.impairments.drop`, and so on for the next five."""
        return self.apply(impairments.drop(sender, flags, **which))

    def delay(self, sender: str = "", flags: str = "", seconds: float = 0.1, **which: Any) -> Rule:
        """Let packets through later."""
        return self.apply(impairments.delay(sender, flags, seconds, **which))

    def hold(self, sender: str = "", flags: str = "", **which: Any) -> Rule:
        """Keep packets until `release()`."""
        return self.apply(impairments.hold(sender, flags, **which))

    def duplicate(self, sender: str = "", flags: str = "", seconds: float = 0.0, **which: Any) -> Rule:
        """Let packets through twice."""
        return self.apply(impairments.duplicate(sender, flags, seconds, **which))

    def reorder(self, sender: str = "", flags: str = "", behind: int = 1, **which: Any) -> Rule:
        """Let later packets overtake."""
        return self.apply(impairments.reorder(sender, flags, behind, **which))

    def damage(self, sender: str = "", flags: str = "", **which: Any) -> Rule:
        """Flip a bit."""
        return self.apply(impairments.damage(sender, flags, **which))

    def cut(self, sender: str = "") -> Rule:
        """Cut the cable: everything is lost from now on (only what that actor sends, if one is named)."""
        return self.apply(impairments.drop(sender))

    def mend(self, rule: Rule | None = None) -> None:
        """Take back a rule, or all."""
        self.relay.remove(rule)

    def release(self, least: int = 1, seconds: float = 1.0) -> int:
        """Let go on what `hold` has kept, in its order; how many packets. What was sent before may not have
        come to the relay yet, on a busy machine: so many at least are waited for, that long."""
        self.relay.carry(lambda: self.relay.held >= least, seconds)
        return self.relay.release()

    def taken(self, rule: Rule) -> int:
        """How many packets a rule that stands has been about."""
        return self.relay.taken(rule)


def open_relay(scenario: Scenario, tell: Callable[..., None]) -> Relay:
    """The relay between a scenario's actors, its rules standing, in the network this process is in. Raises OSError."""
    relay = Relay(lambda fate: tell(kind="fate", **fate_message(fate)), scenario.seed, scenario.rate, scenario.latency)
    for rule in reversed(scenario.impairments):  # the first of them is asked first
        relay.add(rule)
    for name, place in places_of(scenario).items():
        if name not in scenario.children:
            relay.plug(name, place.port, place.mac)
    return relay
