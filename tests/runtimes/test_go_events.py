"""Poll descriptors that two threads of a Go program work on at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tracer.events import NUMBER
from tracer.runtimes.go_binary import GoBinary
from tracer.runtimes.go_events import RECORD, WHY, GoWords

NIL, READY, WAIT, SEVEN = 0, 1, 2, 3 | 7 << 2
UNKNOWN = (1 << 64) - 1


def words() -> GoWords:
    nothing = SimpleNamespace(function=lambda _name: None, name_at=lambda _address: "")
    return GoWords(cast("GoBinary", nothing), ("",))


def record(why: str, rg: tuple[int, int], wg: tuple[int, int], desc: int = 0xC000) -> np.ndarray[Any, Any]:
    """One poll descriptor told of: each place (before, after)."""
    row = np.zeros(1, RECORD)
    row["kind"], row["why"], row["value"], row["fd"], row["pid"] = 2, WHY.index(why), desc, 4, 100
    row["rg_was"], row["rg"] = rg
    row["wg_was"], row["wg"] = wg
    return row


def told(*batches: list[np.ndarray[Any, Any]]) -> list[tuple[str, ...]]:
    """(rg before, after, wg before, after) of every record."""
    reader = words()
    tables = [reader.batch(np.concatenate(batch), 0).tables[NUMBER["polldesc:change"]] for batch in batches]
    return [
        tuple(row[name].decode() for name in ("rg_was", "rg", "wg_was", "wg")) for table in tables for row in table
    ]


OPEN = record("open", (UNKNOWN, NIL), (UNKNOWN, NIL))
PARK = record("park", (NIL, SEVEN), (NIL, NIL))
CASES = {
    "writable is told by a thread that had looked before the reader was parked": (
        [OPEN, PARK, record("writable", (NIL, NIL), (NIL, READY))],
        ("7", "7", "nil", "ready"),
    ),
    "or while it was about to be, and the parking thread has seen the notice": (
        [OPEN, record("park", (NIL, SEVEN), (NIL, READY)), record("writable", (NIL, WAIT), (NIL, READY))],
        ("7", "7", "ready", "ready"),
    ),
    "readable, and a writer parked": (
        [OPEN, record("park", (NIL, NIL), (NIL, SEVEN)), record("readable", (NIL, READY), (NIL, NIL))],
        ("nil", "ready", "7", "7"),
    ),
    "both places are the notice's own": (
        [OPEN, PARK, record("both", (NIL, READY), (NIL, READY))],
        ("7", "ready", "nil", "ready"),
    ),
    "a record between was lost: what was looked at is newer than what was told": (
        [OPEN, record("writable", (SEVEN, SEVEN), (NIL, READY))],
        ("7", "7", "nil", "ready"),
    ),
    "the address is another descriptor's since": (
        [PARK, record("close", (SEVEN, NIL), (NIL, NIL)), OPEN, record("writable", (NIL, NIL), (NIL, READY))],
        ("nil", "nil", "nil", "ready"),
    ),
}


@pytest.mark.parametrize(("records", "last"), CASES.values(), ids=CASES)
def test_what_another_thread_has_told_meanwhile_stands(
    records: list[np.ndarray[Any, Any]], last: tuple[str, ...]
) -> None:
    assert told(records)[-1] == last
    assert told(*([one] for one in records))[-1] == last  # each in a batch of its own


def test_descriptors_do_not_mix() -> None:
    other = record("writable", (NIL, NIL), (NIL, READY), desc=0xD000)
    assert told([PARK, other])[-1] == ("nil", "nil", "nil", "ready")
