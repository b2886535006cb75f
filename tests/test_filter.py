"""The display filter: its language, its errors, and that judging columns is judging rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.filter import DEEPEST, FilterError, compile_filter, complete
from tracer.filter_keys import KEY, KEYS, TABLES, Key, TableName, keys_of
from tracer.filter_rows import Changes, Connections, Packets
from tracer.filter_values import TYPES
from tracer.replay import FINDING
from tracer.segments import ACK, RST, SYN, V4_MAPPED
from tracer.states import SS_GROUPS, State

MS = 1_000_000


def v4(text: str) -> tuple[int, int]:
    """An IPv4 address as its two halves."""
    return 0, V4_MAPPED | int.from_bytes(bytes(int(part) for part in text.split(".")))


PACKET: dict[str, Any] = {
    "src": v4("10.1.2.3"), "dst": v4("192.168.0.1"), "sport": 40000, "dport": 8080, "side": 1, "stream": 3,
    "flags": SYN | ACK, "findings": FINDING["retransmission"].bit, "length": 1200, "frame": 7, "frame_length": 1254,
    "seq": 1000, "ack": 2000, "window": 65535, "ttl": 64, "bytes_in_flight": -1, "rtt": 15 * MS, "completeness": 31,
    "time": 1_500 * MS, "text": "40000 → 8080 [SYN, ACK] Seq=0",
}  # fmt: skip
CONNECTION: dict[str, Any] = {
    "src": v4("127.0.0.1"), "dst": (0xFE80 << 48, 1), "sport": 40000, "dport": 80, "stream": 0, "duration": 3_000 * MS,
    "client_state": State.TIME_WAIT, "server_state": State.CLOSE, "packets": 12, "bytes": 70_000, "retransmissions": 0,
    "lost": 1, "conn_state": "SF", "history": "ShADadFf", "completeness": 31, "flags": SYN | ACK | RST,
    "findings": FINDING["out_of_order"].bit | FINDING["window_update"].bit, "rtt": -1, "time": 0, "text": "a → b",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("port:8080", True),
        ("port:80", False),
        ("port=8080", True),
        ("port == 8080", True),
        ("port:80,443,8080", True),
        ("port:8000-8100", True),
        ("sport:8080", False),
        ("port!=8080", False),
        ("port!=80", True),
        ("dport>=8080 dport<=8080", True),
        ("src:10.0.0.0/8", True),
        ("src:10.1.2.3", True),
        ("src:11.0.0.0/8", False),
        ("ip:192.168.0.1,1.1.1.1", True),
        ("src:::/0", False),
        ("src:::ffff:10.1.2.3", True),
        ("src:0.0.0.0/0", True),
        ("flag:syn", True),
        ("flag:SYN,ack", True),
        ("flag:syn,rst", False),
        ("flag:none", False),
        ("analysis:retransmission", True),
        ("analysis:tcp.analysis.retransmission", True),
        ("analysis:any", True),
        ("analysis:dup-ack", False),
        ("severity:note", True),
        ("severity>=warn", False),
        ("severity<error", True),
        ("severity:chat,warning", False),
        ("side:client", True),
        ("stream:3", True),
        ("len>0", True),
        ("len>1.2k", False),
        ("len>=1.2k", True),
        ("len<1Ki", False),
        ("rtt>10ms", True),
        ("rtt>15ms", False),
        ("rtt:15ms", True),
        ("rtt:10ms-20ms", True),
        ("rtt<15000us", False),
        ("rtt<=15000µs", True),
        ("rtt<0.016", True),
        ("time<2s", True),
        ("time<1.5", False),
        ("time>-1s", True),
        ("in_flight>=0", False),
        ("in_flight<0", False),
        ("not in-flight>=0", True),
        ('text:"[syn, ack]"', True),
        ("text:seq=0", True),
        ("text:4*8080*seq", True),
        ("text:seq*4", False),
        ("port:1 or port:8080 and side:server", False),
        ("(port:1 or port:8080) and side:client", True),
        ("port:8080 or port:1 port:2", True),
        ("not port:1 port:8080", True),
        ("not (port:1 or port:8080)", False),
        ("!port:1 && port:8080 || port:9", True),
        ("not not port:8080", True),
        ("NOT port:1 AND port:8080", True),
    ],
)
def test_conditions_on_packets(text: str, holds: bool) -> None:
    assert compile_filter(text, "packets").matches(PACKET) is holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("state:time-wait", True),
        ("state:TIME_WAIT,fin_wait1", True),
        ("state:closed", True),
        ("client_state:closed", False),
        ("server-state:CLOSE", True),
        ("state:synchronized", True),
        ("state:bucket", True),
        ("state:established", False),
        ("dst:fe80::/10", True),
        ("dst:0.0.0.0/0", False),
        ("conn_state:sf", True),
        ("conn_state:s", False),
        ("conn_state:S*", True),
        ("history:ff", True),
        ("bytes>64Ki packets<20", True),
        ("duration:3s", True),
        ("analysis:out-of-order", True),
        ("severity:warn", True),
        ("flag:rst", True),
        ("rtt<1s", False),
        ("rtt!=5ms", True),
        ("lost>0 retransmissions:0", True),
    ],
)
def test_conditions_on_connections(text: str, holds: bool) -> None:
    assert compile_filter(text, "connections").matches(CONNECTION) is holds


def test_ss_spelling_of_syn_recv_is_the_request_sock_too() -> None:
    row = {**CONNECTION, "client_state": State.SYN_SENT, "server_state": State.NEW_SYN_RECV}
    assert compile_filter("state:syn-recv", "connections").matches(row)
    assert not compile_filter("state:established", "connections").matches(row)


@pytest.mark.parametrize("group", SS_GROUPS)
def test_groups_are_those_of_ss(group: str) -> None:
    compiled = compile_filter(f"new:{group}", "states")
    members = {state for state in State if compiled.matches({"state": int(state)})}
    assert members == SS_GROUPS[group]


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("prt:80", 0, "did you mean port?"),
        ("port:80 and", 11, "filter ends"),
        ("(port:80", 0, "not closed"),
        ("port:80)", 7, "closes nothing"),
        ("port:80 or )", 11, "there is ')'"),
        ("port", 0, "lacks a value"),
        ("port:", 5, "lacks a value, as port:80"),
        ("nginx", 0, "write text:nginx"),
        ("port:eighty", 5, "not a number"),
        ("port:90-80", 5, "backwards"),
        ("port<80,90", 5, "one value"),
        ("port:80,,90", 5, "empty"),
        ("side<client", 0, "no order"),
        ("side:clint", 5, "did you mean client?"),
        ("flag:sin", 5, "did you mean SYN?"),
        ("analysis:retransmision", 9, "did you mean retransmission?"),
        ("stream:1 src:300.0.0.1", 13, "not an address"),
        ("rtt>10lightyears", 4, "no unit of time"),
        ("len>1 %", 6, "begins with a key"),
        ('text:"never ends', 5, "not closed"),
        ("event:socket:state", 0, "is a key for events, not for packets"),
        ("frame:99999999999999999999", 6, "too large"),
        ("(" * (DEEPEST + 1) + "port:1", DEEPEST, "parentheses in each other"),
    ],
)
def test_an_error_says_what_and_where(text: str, position: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter(text, "packets")
    assert words in caught.value.sentence
    assert caught.value.position == position
    assert str(caught.value).endswith(f"(at character {position + 1})")


def test_the_nearest_state_is_named() -> None:
    with pytest.raises(FilterError, match="did you mean established"):
        compile_filter("state:establishd", "connections")


def test_much_nesting_and_negation_is_no_danger() -> None:
    assert compile_filter("(" * DEEPEST + "port:8080" + ")" * DEEPEST, "packets").matches(PACKET)
    assert compile_filter("not " * 10_000 + "port:8080", "packets").matches(PACKET)
    assert compile_filter(" or ".join(["port:1"] * 5_000 + ["port:8080"]), "packets").matches(PACKET)


def test_a_pattern_of_stars_takes_linear_time() -> None:
    row = {**PACKET, "text": "a" * 20_000}
    assert not compile_filter("text:" + "*a" * 200 + "*b", "packets").matches(row)


words = st.sampled_from(
    [key.name for key in KEYS]
    + [":", "=", "!=", "<", ">=", "(", ")", "and", "or", "not", "!", '"', "\\", ",", "-", "*", " ", "80", "10ms", "syn",
       "fin-wait-1", "10.0.0.0/8", "::1", "socket:state", "\n", "é", "\0", "µs", "²", "1e999"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(words).map("".join), st.lists(words).map(" ".join)), st.sampled_from(TABLES))
def test_any_text_is_a_filter_or_a_filter_error(text: str, table: TableName) -> None:
    try:
        compiled = compile_filter(text, table)
    except FilterError as wrong:
        assert 0 <= wrong.position <= len(text)
        assert wrong.sentence
    else:
        assert compiled.text == text
    complete(text, table)


# Columns and rows: filters made of real keys and plausible values over plausible rows.

ADDRESSES = [v4("10.1.2.3"), v4("127.0.0.1"), v4("192.168.0.1"), (0xFE80 << 48, 1), (0, 1), (2**64 - 1, 2**64 - 1)]
DTYPES: dict[str, str] = {
    "sport": "u2", "dport": "u2", "side": "u1", "stream": "u4", "flags": "u2", "findings": "u4", "length": "u4",
    "frame": "u4", "seq": "u4", "window": "u4", "ttl": "u1", "completeness": "u1", "client_state": "u1",
    "server_state": "u1", "old": "u1", "state": "u1", "certainty": "u1",
}  # fmt: skip
VALUES: dict[str, list[str]] = {
    "number": ["0", "1", "80", "0-100", "1,2,3", "40000-50000,80", "31"],
    "time": ["0", "10ms", "1us", "0.5s-2s", "3"],
    "bytes": ["0", "1200", "1k", "1Ki-64k"],
    "address": ["10.0.0.0/8", "127.0.0.1,::1", "fe80::/10", "::/0", "0.0.0.0/0", "::ffff:0:0/96", "ffff::/1"],
    "name": ["SF", "s*", "*F*", "s0,rej"],
    "text": ["a", "*b", "a*c", '"b"'],
}


@st.composite
def conditions(draw: st.DrawFn, table: TableName) -> str:
    """A condition that compiles."""
    key: Key = draw(st.sampled_from(keys_of(table)))
    kind = TYPES[key.type]
    choices = list(kind.words) or VALUES[key.type]
    operator = draw(st.sampled_from([":", "=", "!=", *(["<", "<=", ">", ">="] if kind.ordered else [])]))
    value = draw(st.sampled_from(choices))
    if operator[0] in "<>" and ("," in value or "-" in value):
        operator = ":"
    return f"{key.name}{operator}{value}"


def filters(table: TableName) -> st.SearchStrategy[str]:
    """Filters that compile."""
    return st.recursive(
        conditions(table),
        lambda inner: st.one_of(
            inner.map("not {}".format), st.tuples(inner, st.sampled_from([" and ", " or ", " "]), inner).map(
                lambda parts: f"({''.join(parts)})")
        ),
        max_leaves=6,
    )  # fmt: skip


def column(name: str) -> st.SearchStrategy[Any]:
    """A value of a column."""
    if name in ("src", "dst"):
        return st.sampled_from(ADDRESSES)
    if name in ("text", "history", "conn_state"):
        return st.sampled_from(["", "SF", "S0", "REJ", "abc", "axxc", "b"])
    if "state" in name or name == "old":
        return st.sampled_from([int(state) for state in State])
    if name == "findings":
        return st.integers(0, 2**15 - 1)
    if DTYPES.get(name) == "u1":
        return st.integers(0, 2)
    if name in DTYPES:
        return st.sampled_from([0, 1, 2, 16, 18, 31, 80, 443, 1200, 40000, 65535])
    return st.sampled_from([-1, 0, 1, 31, 80, 1000, 10 * MS, 1_000 * MS, 3_000 * MS, 2**40])


@st.composite
def tables(draw: st.DrawFn, table: TableName) -> list[dict[str, Any]]:
    """Rows of a table."""
    names = sorted({name for key in keys_of(table) for name in key.columns(table)})
    return draw(st.lists(st.fixed_dictionaries({name: column(name) for name in names}), max_size=8))


def as_columns(rows: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """The rows as an engine would hold them."""
    columns: dict[str, Any] = {}
    for name in names:
        values = [row[name] for row in rows]
        if name in ("src", "dst"):
            columns[name] = np.array(values, np.uint64).reshape(len(rows), 2)
        elif name in ("text", "history", "conn_state"):
            columns[name] = values
        else:
            columns[name] = np.array(values, DTYPES.get(name, "i8"))
    return columns


@pytest.mark.parametrize("table", ["packets", "connections", "states"])
@given(data=st.data())
def test_judging_columns_is_judging_rows(table: TableName, data: st.DataObject) -> None:
    compiled = compile_filter(data.draw(filters(table)), table)
    rows = data.draw(tables(table))
    names = [name for key in compiled.keys for name in KEY[key].columns(table)]
    mask = compiled.mask(as_columns(rows, names), len(rows))
    assert mask.tolist() == [compiled.matches(row) for row in rows]


# The table of keys


def test_every_key_has_a_type_and_a_place_and_no_two_share_a_name() -> None:
    names = [name for key in KEYS for name in (key.name, *key.aliases)]
    assert len(names) == len(set(names)) == len(KEY)
    assert not {"and", "or", "not"} & set(names)
    for key in KEYS:
        assert key.type in TYPES
        assert key.tables, key.name
        assert key.meaning


@pytest.mark.parametrize("rows", [Packets, Connections, Changes])
def test_every_column_that_a_key_looks_at_exists(rows: type[Packets | Connections | Changes]) -> None:
    table: TableName = {Packets: "packets", Connections: "connections", Changes: "states"}[rows]  # type: ignore[assignment]
    for key in keys_of(table):
        assert set(key.columns(table)) <= set(rows.columns), key.name


@pytest.mark.parametrize(
    ("text", "table", "start", "some"),
    [
        ("", "events", 0, ["port:", "event:"]),
        ("port:80 sta", "connections", 8, ["state:"]),
        ("(state:fin", "events", 7, ["fin-wait-1", "fin-wait-2"]),
        ("event:socket:st", "events", 6, ["socket:state"]),
        ("event:epoll,timew", "events", 12, ["timewait", "timewait:born"]),
        ("flag:syn,a", "packets", 9, ["ack"]),
        ("lane:", "packets", 5, ["wire"]),
    ],
)
def test_completion(text: str, table: TableName, start: int, some: list[str]) -> None:
    at, choices = complete(text, table)
    assert at == start
    assert set(some) <= set(choices)
    assert all(choice.startswith(text[start:].lower()) for choice in choices)
