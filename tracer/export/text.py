"""Events as aligned lines.

    time ms  conn side    what
      0.041  #1   client  SYN_SENT → ESTABLISHED ...

Times are relative to the first event. A mark after the time says how the event is known where that is not by sight:
``~`` sampled from a table, ``?`` inferred from packets. Lines are cut to the width asked for, never wrapped, so that
columns stay columns; without a width they are whole.
"""

from __future__ import annotations

from typing import Final

from tracer.kinds import EVIDENCE_MARK, Evidence, Lane, Side
from tracer.timeline import Event
from tracer.words import message

HEADER: Final = f"{'time ms':>11}  {'conn':<5}{'side':<7}{'lane':<8} what"
_SIDE: Final = {Side.NONE: "", Side.CLIENT: "client", Side.SERVER: "server"}


def line(event: Event, first: int, width: int | None = None) -> str:
    """One event as one line of at most ``width`` characters; ``first`` is the time that counts as zero, in ns."""
    mark = EVIDENCE_MARK[event.evidence] or ("r" if _reported_call(event) else " ")
    conn = f"#{event.conn}" if event.conn else ""
    when = (event.time - first) / 1e6
    text = f"{when:>11.3f}{mark} {conn:<5}{_SIDE[event.side]:<7}{event.kind.lane.name.lower():<8} {message(event)}"
    if width is not None and len(text) > width:
        return text[: width - 1] + "…"
    return text


def _reported_call(event: Event) -> bool:
    """A call that no probe saw: an actor says so, which is less."""
    return event.evidence == Evidence.REPORTED and event.kind.lane == Lane.PROGRAM and bool(event.call)
