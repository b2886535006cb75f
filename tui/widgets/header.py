"""The header: one line that says what is watched and whether it can be trusted.

Which run or file, whether the view is live or held, whether it is being recorded, how many events were lost, which
connection is in focus, which filter and which probes are on. The loss counter never gives way to anything: a trace
that lost events and does not say so is worse than none. What does not fit is first shortened, then left out, the
least needed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from textual.content import Content
from textual.widget import Widget

from tui.feed import Probe
from tui.plain import plain

GAP = "   "


@dataclass(frozen=True)
class HeaderFacts:
    """What the header says; immutable, so that it is repainted only when something changed."""

    title: str = ""
    mode: str = "LIVE"
    held: bool = False
    recording: bool = False
    rate: int | None = None
    """Events a second; None where it means nothing."""
    lost: int = 0
    connection: int = 0
    """Number of the connection in focus; 0 none."""
    ends: str = ""
    ends_short: str = ""
    filter: str = ""
    probes: Sequence[Probe] = ()


class _Part(NamedTuple):
    rank: int
    """The higher, the sooner it gives way."""
    text: str
    short: str
    style: str = ""
    first: bool = False
    """Shortened before anything else gives way."""


def header_line(facts: HeaderFacts, width: int) -> Content:
    """The header in at most `width` cells."""
    mode = f"‖ {facts.mode}" if facts.held else facts.mode
    if facts.recording:
        mode += " ● REC"
    lost = f"{facts.lost:,} lost"
    focus = f"#{facts.connection} " if facts.connection else ""
    probes = " ".join(f"{plain(p.group)} {'✓' if p.on else '✗'}" for p in facts.probes)
    sought = plain(facts.filter)
    off = sum(not p.on for p in facts.probes)
    summary = f"probes: {off} off" if off else f"probes: all {len(facts.probes)}"
    parts = [
        _Part(7, "synfin", ""),
        _Part(3, plain(facts.title), plain(facts.title)[: max(8, width // 6)], "bold"),
        _Part(0, mode, mode, "bold"),
        _Part(5, "" if facts.rate is None else f"{facts.rate:,} ev/s", ""),
        _Part(0, lost, lost, "bold reverse" if facts.lost else ""),
        _Part(1, f"{focus}{facts.ends}" if facts.ends else focus.strip(), f"{focus}{facts.ends_short}".strip()),
        _Part(2, f"filter: {sought}", f"/{sought[: max(8, width // 4)]}") if sought else _Part(6, "filter: none", ""),
        _Part(4, f"probes: {probes}" if probes else "", summary, first=True),
    ]
    chosen = _fit([part for part in parts if part.text], width - 2)
    line = Content(" ")
    for i, (text, style) in enumerate(chosen):
        line += Content((GAP if i else "") + "") + Content.styled(text, style)
    return line.truncate(width)


def _fit(parts: list[_Part], width: int) -> list[tuple[str, str]]:
    """Shorten, then drop, by rank, until parts and gaps fit; what need not have been cut comes back."""
    texts = [part.text for part in parts]
    by_rank = sorted(range(len(parts)), key=lambda i: -parts[i].rank)

    def over() -> bool:
        shown = [text for text in texts if text]
        return sum(map(len, shown)) + len(GAP) * (len(shown) - 1) > width

    for i in sorted(by_rank, key=lambda i: not parts[i].first):
        if over():
            texts[i] = parts[i].short
    for i in by_rank:
        if over() and parts[i].rank:
            texts[i] = ""
    for i in reversed(by_rank):
        if texts[i] and texts[i] != parts[i].text:
            texts[i], cut = parts[i].text, texts[i]
            texts[i] = cut if over() else texts[i]
    return [(text, part.style) for text, part in zip(texts, parts, strict=True) if text]


class Header(Widget):
    """One line on top. `show` new facts; equal ones cost nothing."""

    facts = HeaderFacts()

    def show(self, facts: HeaderFacts) -> None:
        """Draw these."""
        if facts != self.facts:
            self.facts = facts
            self.refresh()

    def render(self) -> Content:
        return header_line(self.facts, self.size.width)
