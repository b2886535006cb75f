"""Tables written as JSON lines, csv, Parquet and aligned text: the same rows, whatever the division into batches."""

from __future__ import annotations

import csv
import io
import json
import resource
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.replay.test_engine import traffic
from tests.replay.transcript import segments
from tracer.export import row_text
from tracer.export.row_loop import write_rows
from tracer.export.row_text import Layout, RowText
from tracer.export.rows_compiled import CODE
from tracer.export.table import Csv, JsonLines, records
from tracer.export.table_cells import CSV, JSON
from tracer.export.table_parquet import GROUP, Parquet
from tracer.export.table_text import HELD, TextTable
from tracer.filter_rows import Changes, Connections, Packets, Rows, changes
from tracer.filter_tables import COLUMNS
from tracer.kinds import Side
from tracer.replay import Replay
from tracer.replay.infer import Inference
from tracer.replay.lived import LIVED
from tracer.segments import ACK
from tracer.words import clean

TALK = """
> S 0
< SA 0:1
> A 1:1
> PA 1:1 100
> PA 1:1 100
< A 1:101
> FA 101:1
< FA 1:102
> A 102:2
"""


def packets() -> Packets:
    """A talk with a retransmission."""
    rows = segments(TALK)
    analysis = Replay(compiled=False).feed(rows)
    side = np.where(analysis["direction"], Side.SERVER, Side.CLIENT)
    return Packets(rows, analysis, rows["length"] + 54, side, int(rows["time"][0]))


def connections() -> Connections:
    """The same, as a connection; its states are not known."""
    rows, replay = segments(TALK), Replay(compiled=False)
    replay.feed(rows)
    found = replay.connections()
    zeros = np.zeros(len(found), np.int64)
    return Connections(found, zeros, zeros, np.zeros(len(found), LIVED), 0)


def states() -> Changes:
    """The same, as changes of state."""
    rows, inference = segments(TALK), Inference()
    found = inference.feed(rows, np.zeros(len(rows), np.uint32))
    return Changes(changes(found, rows["frame"], 0), int(rows["time"][0]))


TABLES = {"packets": packets, "connections": connections, "states": states}


@pytest.mark.parametrize("table", TABLES)
def test_every_documented_column_is_there_and_of_its_type(table: str) -> None:
    rows: Rows = TABLES[table]()
    columns = COLUMNS[table]  # type: ignore[index]
    wanted = {"int": (int, type(None)), "text": (str,), "texts": (list,), "times": (dict,)}
    found = list(records(rows, columns))
    assert len(found) == len(rows) > 0
    for record in found:
        for column, value in zip(columns, record, strict=True):
            assert type(value) in wanted[column.type], column.name


def test_what_is_not_known_is_null_and_an_empty_field() -> None:
    out, plain = io.StringIO(), io.StringIO()
    JsonLines(out, COLUMNS["packets"], with_file=False).write(packets(), "x")
    writer = Csv(plain, COLUMNS["packets"], with_file=False)
    writer.write(packets(), "x")
    first = json.loads(out.getvalue().splitlines()[0])
    assert (first["rtt"], first["bytes_in_flight"], first["acked_frame"], first["mss"]) == (None, None, None, None)
    row = next(csv.DictReader(io.StringIO(plain.getvalue())))
    assert (row["rtt"], row["acked_frame"], row["analysis"]) == ("", "", "")
    assert row["flags"] == "SYN"


def wild(table: str) -> Rows:
    """Rows with all that may stand in them, states of every kind and number."""
    rows, replay = traffic(3000), Replay(compiled=False)
    analysis = replay.feed(rows)
    if table == "packets":
        return Packets(rows, analysis, rows["length"] + 54, analysis["direction"] + 1, 0)
    found = np.concatenate((replay.finished(), replay.connections()))
    rng = np.random.default_rng(1)
    lived = np.zeros(len(found), LIVED)
    lived["state"], lived["certainty"] = rng.integers(0, 13, (len(found), 2)), rng.integers(0, 4, (len(found), 2))
    lived["count"] = rng.integers(0, 14, (len(found), 2))
    lived["which"] = [np.tile(rng.permutation(13), 2) for _ in found]
    lived["spent"] = rng.integers(0, 1 << 60, (len(found), 26)) >> rng.integers(0, 60, (len(found), 26))
    zeros = np.zeros(len(found), np.int64)
    found["src_hi"][::3] = rng.integers(0, 1 << 63, len(found["src_hi"][::3]))
    return Connections(found, zeros, zeros, lived, 0)


@pytest.mark.parametrize("name", ["plain.pcap", 'a "b",\x1b[31m;é\udcff.pcap'])
@pytest.mark.parametrize("table", ["packets", "connections", "states"])
def test_json_and_csv_are_what_python_would_write_value_by_value(table: str, name: str) -> None:
    rows, columns = states() if table == "states" else wild(table), COLUMNS[table]  # type: ignore[index]
    for with_file in (False, True):
        names = [*(["file"] if with_file else []), *(column.name for column in columns)]
        found, out = list(records(rows, columns, name if with_file else None)), io.StringIO()
        JsonLines(out, columns, with_file=with_file).write(rows, name)
        dump = json.JSONEncoder(separators=(",", ":")).encode
        assert out.getvalue() == "".join(dump(dict(zip(names, row, strict=True))) + "\n" for row in found)

        out, plain = io.StringIO(), io.StringIO()
        Csv(out, columns, with_file=with_file).write(rows, name)
        writer = csv.writer(plain, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([field(value) for value in row] for row in found)
        assert out.getvalue() == plain.getvalue()


def field(value: Any) -> Any:
    """What csv is given."""
    if isinstance(value, list):
        return ";".join(value)
    if isinstance(value, dict):
        return ";".join(f"{state}={ns}" for state, ns in value.items())
    return clean(value) if isinstance(value, str) else value


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("table", ["packets", "connections", "states"])
def test_the_loop_writes_what_columns_of_bytes_do(table: str, form: str) -> None:
    rows, columns = states() if table == "states" else wild(table), COLUMNS[table]  # type: ignore[index]
    if isinstance(rows, Packets):
        odd = np.array([10**18, -1, 0, 9, 10, 99, 100, 2**63 - 1, -10, 10**9, 1 - 2**63])
        rows.wire = np.resize(odd, len(rows))
    kind = CSV if form == "csv" else JSON
    layout = Layout(columns, kind, ["{é", *[","] * (len(columns) - 1)], "}\n")
    expected = b"".join(RowText().parts(rows, layout))
    assert expected.count(b"\n") == len(rows)
    few = rows.pick(np.arange(len(rows)) < 300)
    assert expected.startswith(b"".join(RowText(write_rows).parts(few, layout)))
    if pytest.importorskip("numba"):
        assert b"".join(RowText(CODE.compile()["write_rows"]).parts(rows, layout)) == expected  # type: ignore[index]


def test_a_large_table_changes_to_the_loop_and_nobody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    assert CODE.compile() is not None
    rows, columns = wild("packets"), COLUMNS["packets"]
    expected, found = io.StringIO(), io.BytesIO()
    for _ in range(3):
        Csv(expected, columns, with_file=False).write(rows, "x")
    whole = expected.getvalue().splitlines()
    header, lines = whole[0], [line for line in whole if not line.startswith("frame")]
    monkeypatch.setattr(row_text, "WORTH", 2 * len(rows))
    out = io.TextIOWrapper(found, "utf-8")
    writer = Csv(out, columns, with_file=False)
    for _ in range(3):
        writer.write(rows, "x")
    assert writer._text._loop is not None
    writer.close()
    assert found.getvalue().decode().splitlines() == [header, *lines]


def test_a_csv_of_nothing_has_its_columns() -> None:
    out = io.StringIO()
    Csv(out, COLUMNS["states"], with_file=True).close()
    assert out.getvalue().strip().split(",") == ["file", *(column.name for column in COLUMNS["states"])]


@given(st.lists(st.integers(0, 9), max_size=4))
def test_division_into_batches_changes_nothing(cuts: list[int]) -> None:
    whole = packets()
    edges = sorted({0, len(whole), *cuts})
    outs: list[str] = []
    for bounds in ([0, len(whole)], edges):
        for make in (JsonLines, Csv):
            out = io.StringIO()
            writer = make(out, COLUMNS["packets"], with_file=True)
            for first, last in pairwise(bounds):
                part = np.zeros(len(whole), np.bool_)
                part[first:last] = True
                writer.write(whole.pick(part), "a.pcap")
            writer.close()
            outs.append(out.getvalue())
    assert outs[:2] == outs[2:]


def test_picked_rows_are_those_rows() -> None:
    whole = packets()
    mask = (whole["flags"] & ACK > 0) & (whole["length"] > 0)
    every = list(records(whole, COLUMNS["packets"]))
    assert list(records(whole.pick(mask), COLUMNS["packets"])) == [every[n] for n in np.flatnonzero(mask).tolist()]
    assert mask.sum() == 2


def test_parquet_is_written_in_groups_and_named_when_whole(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "out.parquet"
    many = np.tile(states().rows, GROUP // len(states()) + 1)
    writer = Parquet(str(path), COLUMNS["states"], with_file=True)
    for _ in range(2):
        writer.write(Changes(many, 0), "a.pcap")
        assert not path.exists()
    writer.write(Changes(many[:3], 0), "b.pcap")
    writer.close()
    told = parquet.ParquetFile(path)
    assert told.metadata.num_row_groups == 3
    assert told.metadata.num_rows == 2 * len(many) + 3
    last = told.read_row_group(2).to_pylist()
    names = ["file", *(column.name for column in COLUMNS["states"])]
    wanted = records(Changes(many[:3], 0), COLUMNS["states"], "b.pcap")
    assert last == [dict(zip(names, row, strict=True)) for row in wanted]
    assert list(tmp_path.iterdir()) == [path]


def test_an_abandoned_parquet_leaves_what_was_there(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "out.parquet"
    path.write_bytes(b"older")
    writer = Parquet(str(path), COLUMNS["states"], with_file=False)
    writer.write(states(), "")
    writer.abandon()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("out.parquet", b"older")]


def test_where_the_end_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    writer = Parquet(str(tmp_path / "x.parquet"), COLUMNS["packets"], with_file=False)
    writer.write(packets(), "")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        with pytest.raises(OSError):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_written_to_not_replaced() -> None:
    pytest.importorskip("pyarrow")
    writer = Parquet("/dev/null", COLUMNS["states"], with_file=False)
    writer.write(states(), "")
    writer.close()
    assert Path("/dev/null").is_char_device()


def lines(*batches: list[list[str]]) -> list[str]:
    """What a table of two columns prints."""
    out = io.StringIO()
    table = TextTable(out, ["Name", ">Count"])
    for batch in batches:
        table.write(batch)
    table.flush()
    return out.getvalue().splitlines()


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert lines([["a", "1"], ["longer", "100000"]]) == ["Name     Count", "a            1", "longer  100000"]
    assert lines() == ["Name  Count"]


def test_rows_are_not_held_for_ever_and_columns_grow_from_there_on() -> None:
    out = io.StringIO()
    table = TextTable(out, ["Name", ">Count"])
    table.write([["a", "1"]] * (HELD - 1))
    assert out.getvalue() == ""
    table.write([["a", "1"]])
    assert out.getvalue().count("\n") == HELD + 1
    table.write([["much longer", "2"]])
    table.write([["b", "3"]])
    assert out.getvalue().splitlines()[-2:] == ["much longer      2", "b                3"]


@given(st.text(), st.text())
def test_no_text_from_outside_reaches_the_terminal_as_it_is(name: str, count: str) -> None:
    assert lines([[name, count]])[1:] == [
        (clean(name).ljust(4 if len(name) < 4 else len(name)) + "  " + clean(count).rjust(max(5, len(count)))).rstrip()
    ]


def test_values_of_a_table_are_plain_data() -> None:
    found: list[Any] = list(records(packets(), COLUMNS["packets"], "a.pcap"))
    assert found[0][0] == "a.pcap"
    assert found[4][COLUMNS["packets"].index(next(c for c in COLUMNS["packets"] if c.name == "analysis")) + 1] == [
        "retransmission"
    ]
