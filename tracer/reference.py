"""The reference pages, made from the tables: ``python -m tracer.reference DIR`` writes the pages of PAGES there.

A test compares what is in docs/ with what the tables say now, so the pages cannot grow old.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tracer.filter_reference import filters
from tracer.kinds import HEAD_FIELDS, KINDS, TYPES, Evidence, Field
from tracer.lints import LINTS
from tracer.states import STATES, TRANSITIONS


def events() -> str:
    """Every kind of event and its fields, as Markdown."""
    return "\n".join(_events()) + "\n"


def states() -> str:
    """Every state and every lawful transition, as Markdown."""
    return "\n".join(_states()) + "\n"


def _events() -> Iterator[str]:
    yield "# Events\n"
    yield "Made from `tracer/kinds.py` by `make docs`; do not edit.\n"
    yield "Every event carries its evidence: " + ", ".join(f"*{one.name.lower()}*" for one in Evidence) + ".\n"
    yield "## The head of every event\n"
    yield from _fields(HEAD_FIELDS)
    for kind in KINDS:
        yield f"\n## `{kind.name}`\n"
        yield f"{kind.meaning[0].upper()}{kind.meaning[1:]}. Lane: {kind.lane.name.lower()}.\n"
        yield from _fields(kind.fields)


def _fields(fields: tuple[Field, ...]) -> Iterator[str]:
    yield "| field | type | unit | meaning |"
    yield "|---|---|---|---|"
    for one in fields:
        worked_out = " *(worked out in user space)*" if one.derived else ""
        length = "".join(f"[{size}]" for size in TYPES[one.type].shape)
        yield f"| `{one.name}` | {one.type}{length} | {one.unit} | {one.meaning}{worked_out} |"


def _states() -> Iterator[str]:
    yield "# States\n"
    yield "Made from `tracer/states.py` by `make docs`; do not edit.\n"
    yield "| state | kernel | ss | code | meaning |"
    yield "|---|---|---|---|---|"
    for info in STATES.values():
        yield f"| {info.label} | {info.state.name} | {info.ss} | {info.code} | {info.meaning} |"
    yield "\n## Transitions\n"
    yield "| from | trigger | to | sends | source | why |"
    yield "|---|---|---|---|---|---|"
    for row in TRANSITIONS:
        trigger = row.trigger.name.lower().replace("_", " ")
        before, after = STATES[row.state].label, STATES[row.next].label
        yield f"| {before} | {trigger} | {after} | {row.sends} | {row.rfc} | {row.why} |"


def lints() -> str:
    """Every lint, as Markdown."""
    return "\n".join(_lints()) + "\n"


def _lints() -> Iterator[str]:
    yield "# Lints\n"
    yield "Made from `tracer/lints/` by `make docs`; do not edit.\n"
    yield "`synfin trace --lints` lists at its end what looks like trouble, `synfin` on the screen under its problems."
    yield "Each finding names the event that shows it.\n"
    for lint in LINTS:
        yield f"## {lint.name} ({lint.severity})\n"
        yield f"{lint.meaning[0].upper()}{lint.meaning[1:]}.\n"
        yield f"- Shown by: {lint.shows}."
        yield f"- What to do: {lint.advice}.\n"


PAGES = {"events.md": events, "states.md": states, "filters.md": filters, "lints.md": lints}
"""File name and what makes it."""

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (folder / name).write_text(make(), encoding="utf-8")
        print(folder / name)
