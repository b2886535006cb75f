"""Figures as tables: medians and ranges, units, narrow terminals."""

from __future__ import annotations

from typing import Any

from scenarios.load.table import Row, aligned, cell, count, errors, markdown, size, span, table


def figures(**told: Any) -> dict[str, Any]:
    return {"errors": {}, "server": {}, "notes": []} | told


def test_units() -> None:
    assert [count(value) for value in (0, 3, 3.14159, 12345.6)] == ["0", "3", "3.14", "12,346"]
    assert [size(value) for value in (512, 16_800, 3 << 20, 5 << 30)] == ["512 B", "16.4 KiB", "3.0 MiB", "5.00 GiB"]
    assert [span(value) for value in (12e-6, 3.44e-3, 1.2)] == ["12 us", "3.4 ms", "1.20 s"]


def test_several_runs_give_median_and_range() -> None:
    row = Row("cpu", "processor time", span)
    assert cell(row, [figures(cpu=0.3), figures(cpu=0.1), figures(cpu=0.2)]) == "200.0 ms (100.0 ms to 300.0 ms)"
    assert cell(row, [figures(cpu=0.3)]) == "300.0 ms" and cell(row, [figures(cpu=None)]) == "-"


def test_errors_of_all_runs_and_of_the_server() -> None:
    one = figures() | {"errors": {"ECONNRESET": 2}, "server": {"emfile": 7, "timeouts": 0}}
    assert errors([one, one]) == "14 emfile (server), 4 ECONNRESET" and errors([figures()]) == "0"


def test_columns_that_do_not_fit_go_below() -> None:
    lines = list(table({"a": [figures(held=10)], "b": [figures(held=None)]}, ["held", "cpu"]))
    assert lines == [["", "a", "b"], ["held to the end", "10", "-"], ["errors", "0", "0"]]
    assert list(aligned(lines, 80))[1] == "held to the end  10  -"
    assert [line.split()[-1] for line in aligned(lines, 19) if line] == ["a", "10", "0", "b", "-", "0"]
    assert list(markdown(lines))[:2] == ["|  | a | b |", "|---|---:|---:|"]
    assert list(markdown([["", "a", "b"], ["x", "1", "2"]])) == ["|  | x |", "|---|---:|", "| a | 1 |", "| b | 2 |"]
