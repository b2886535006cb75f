"""Plays again what was not seen as a whole.

A kernel may do something without telling any probe (scenarios.sights_basis.unseen); the timeline then proves nothing,
neither way. That it happened is known from elsewhere, never from the check that is to be decided: the wire and the
other end, or, of what only a timer would have shown, the kernel's own count of softirqs (trace:unseen). So nothing that
fails is tried again until it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scenarios.performance import Performance
from scenarios.sights_basis import Basis

TIMES: Final = 3


def whole(play: Callable[[], Performance]) -> Performance:
    """What a play gives, the first time that all of it was seen, or the third."""
    for _ in range(TIMES):
        shown = play()
        basis = Basis(shown.timeline)
        dark = shown.complaints() and any(event.name == "trace:unseen" for event in shown.timeline.events())
        if not basis.lost and not basis.unseen and not dark:
            break
    return shown
