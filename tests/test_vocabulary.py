"""The tables of states and events, and what is derived from them."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tracer.events import KIND, NUMBER, PAYLOAD, RING_HEAD, RING_PAYLOAD, c_declarations, c_name
from tracer.kinds import HEAD_FIELDS, KINDS, STRIDE, TYPES
from tracer.reference import PAGES
from tracer.states import SS_GROUPS, STATES, TRANSITIONS, State, Trigger, between, on, parse_state

DOCS = Path(__file__).parent.parent / "docs"


def test_every_state_has_a_row_and_a_code_of_its_own() -> None:
    assert set(STATES) == set(State)
    assert len({row.code for row in STATES.values()}) == len(STATES)
    assert all(len(row.code) == 2 for row in STATES.values())


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("FIN_WAIT1", State.FIN_WAIT1),
        ("fin-wait-1", State.FIN_WAIT1),
        ("CLOSED", State.CLOSE),
        ("Closed", State.CLOSE),
        ("listening", State.LISTEN),
        ("TIME-WAIT", State.TIME_WAIT),
        ("es", State.ESTABLISHED),
    ],
)
def test_states_are_understood_in_every_spelling(word: str, state: State) -> None:
    assert parse_state(word) == state


def test_an_unknown_state_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'fin-wait-3'.*fin-wait-1"):
        parse_state("fin-wait-3")


def test_both_ends_of_a_half_close_walk_through_the_table() -> None:
    client = "CLOSED SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSED"
    server = "LISTEN NEW_SYN_RECV SYN_RECV ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"
    for path in (client, server):
        for before, after in pairwise(map(parse_state, path.split())):
            assert between(before, after), f"{before.name} -> {after.name}"


def test_impossible_steps_have_no_row() -> None:
    assert not between(State.ESTABLISHED, State.SYN_SENT)
    assert not between(State.TIME_WAIT, State.ESTABLISHED)
    assert on(State.TIME_WAIT, Trigger.CLOSE) is None


def test_every_state_can_be_reached_and_left() -> None:
    left, reached = {row.state for row in TRANSITIONS}, {row.next for row in TRANSITIONS}
    assert left == reached == set(State) - {State.UNKNOWN}


def test_ss_groups_follow_its_manual() -> None:
    assert State.LISTEN not in SS_GROUPS["connected"]
    assert State.SYN_SENT not in SS_GROUPS["synchronized"]
    assert SS_GROUPS["bucket"] | SS_GROUPS["big"] == SS_GROUPS["all"]


def test_kinds_are_named_category_and_event_once() -> None:
    assert len(KIND) == len(KINDS)
    assert all(re.fullmatch(r"[a-z]+:[a-z]+", kind.name) for kind in KINDS)
    for kind in KINDS:
        names = [field.name for field in kind.fields]
        assert len(set(names)) == len(names)
        assert all(field.type in TYPES and field.meaning for field in kind.fields)


def test_probe_fields_are_the_leading_part_of_no_text() -> None:
    for kind in KINDS:
        if kind.ring:
            assert not any(field.type == "text" for field in kind.fields)
            assert RING_HEAD.itemsize + RING_PAYLOAD[NUMBER[kind.name]].itemsize + 8 <= STRIDE[kind.ring]


def test_c_and_numpy_lay_records_out_alike(tmp_path: Path) -> None:
    """Compile the structs and ask the compiler for every offset."""
    offsets = RING_HEAD.fields or {}
    checks = [("struct head", f.name, offsets[f.name][1]) for f in HEAD_FIELDS if not f.derived]
    for kind in KINDS:
        if kind.ring:
            offsets = RING_PAYLOAD[NUMBER[kind.name]].fields or {}
            checks += [
                (f"struct {c_name(kind)}", field.name, RING_HEAD.itemsize + offsets[field.name][1])
                for field in kind.fields
                if not field.derived
            ]
    names = {"u8": "unsigned char", "u16": "unsigned short", "u32": "unsigned int", "u64": "unsigned long long",
             "s8": "signed char", "s32": "int", "s64": "long long"}  # fmt: skip
    text = "".join(f"typedef {c} {name};\n" for name, c in names.items()) + c_declarations()
    text += "\n".join(
        f'_Static_assert(__builtin_offsetof({struct}, {name}) == {offset}, "{struct}.{name}");'
        for struct, name, offset in checks
    )
    source = tmp_path / "layout.c"
    source.write_text(text)
    try:
        done = subprocess.run(["cc", "-fsyntax-only", str(source)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no C compiler (cc) on this machine")
    assert done.returncode == 0, done.stderr
    assert len(checks) > 200


def test_timeline_rows_hold_all_fields() -> None:
    for kind in KINDS:
        assert PAYLOAD[NUMBER[kind.name]].names == tuple(field.name for field in kind.fields)


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_pages_say_what_the_tables_say(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"
