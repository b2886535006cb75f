"""Plain functions as machine code: the same answers, kept on disk, and no harm where that cannot be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest

from tracer import machine_code
from tracer.machine_code import CACHE, Entry, Group, MachineCode

pytest.importorskip("numba", reason="numba is not installed")

PAIR = np.dtype([("left", "i8"), ("right", "u4")])
SOURCE = """
FACTOR = 3

def times(number):
    return number * FACTOR

def total(table, limit):
    found = 0
    for i in range(min(len(table.pairs), limit)):
        found += times(table.pairs[i].left) - table.pairs[i].right
        table.numbers[i] = i
    return found

def both(numbers):
    return numbers[0], len(numbers)

def boom(numbers):
    if numbers[0] == 0:
        raise ValueError("never")
"""


class Table(NamedTuple):
    pairs: object
    numbers: object


GROUP = Group(Table, (PAIR, np.dtype("i4")))


def made(source: str = SOURCE) -> MachineCode:
    module = ModuleType("some_module")
    exec(source, vars(module))
    entries = {"total": Entry((GROUP, int), 1), "both": Entry((np.dtype("i8"),), 2)}
    return MachineCode("some_module", [(module, ["times", "total", "both"])], entries)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path / "kept"))
    return tmp_path / "kept"


def table() -> Table:
    return Table(np.array([(5, 1), (-2, 4)], PAIR), np.zeros(2, np.int32))


def test_it_answers_what_the_plain_functions_answer_and_is_kept(folder: Path) -> None:
    first = made()
    assert first.load() is None
    code = first.compile()
    assert code is not None
    rows = table()
    assert code["total"](rows, 9) == 3 * (5 - 2) - 5
    assert rows.numbers.tolist() == [0, 1]  # type: ignore[attr-defined]
    assert code["both"](np.array([7, 8], np.int64)) == (7, 2)
    (kept,) = folder.iterdir()
    again = made().load()
    assert again is not None and again["total"](table(), 1) == 14

    changed = made(SOURCE.replace("FACTOR = 3", "FACTOR = 4"))
    assert changed.load() is None, "a constant is part of the code"
    assert changed.compile() is not None
    assert [path.name for path in folder.iterdir()] != [kept.name], "what nothing will load any more is removed"


@pytest.mark.skipif(shutil.which("ld") is None, reason="there is no linker")
def test_what_was_compiled_is_loaded_without_llvm(folder: Path) -> None:
    assert made().compile() is not None
    code = made()
    assert code.load() is not None and code._engine is None


@pytest.mark.parametrize("without", ["linker", "memory that can be run"])
def test_an_object_file_serves_where_a_library_cannot(
    folder: Path, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    if without == "linker":
        monkeypatch.setenv("PATH", "/nowhere")
    else:
        monkeypatch.setattr(machine_code, "_opened", lambda library, names: None)
    assert made().compile() is not None
    code = made()
    assert code.load() is not None and code._engine is not None
    assert code.load()["total"](table(), 1) == 14  # type: ignore[index]


def test_what_is_damaged_or_anothers_is_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made().compile()
    (kept,) = folder.iterdir()
    data = kept.read_bytes()
    for broken in (b"", data[:-1], data[:100] + b"\x00\x01" + data[102:]):
        kept.write_bytes(broken)
        assert made().load() is None
    kept.write_bytes(data)
    assert made().load() is not None
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    if kept.stat().st_uid:
        assert made().load() is None


def test_arrays_of_another_kind_are_refused(folder: Path) -> None:
    code = made().compile()
    assert code is not None
    for wrong in (np.zeros(4, np.int32), np.zeros((2, 2), np.int64), np.zeros(4, np.int64)[::2]):
        with pytest.raises(TypeError):
            code["both"](wrong)


def test_code_that_would_call_the_interpreter_is_not_kept(folder: Path) -> None:
    module = ModuleType("some_module")
    exec(SOURCE.replace("return numbers[0], len(numbers)", "return list(numbers)[0], len(numbers)"), vars(module))
    code = MachineCode("some_module", [(module, ["both"])], {"both": Entry((np.dtype("i8"),), 2)})
    assert code.compile() is None
    assert not folder.exists()


def test_an_index_never_counts_from_the_end(folder: Path) -> None:
    module = ModuleType("some_module")
    exec("def item(numbers, place):\n    return numbers[place]", vars(module))
    code = MachineCode("some_module", [(module, ["item"])], {"item": Entry((np.dtype("i8"), int), 1)}).compile()
    assert code is not None
    assert code["item"](np.arange(10, dtype=np.int64)[4:], -1) == 3, "no comparison is spent on it"


def test_an_exception_inside_is_one_outside(folder: Path) -> None:
    module = ModuleType("some_module")
    exec(SOURCE, vars(module))
    code = MachineCode("some_module", [(module, ["boom"])], {"boom": Entry((np.dtype("i8"),))}).compile()
    assert code is not None
    code["boom"](np.ones(1, np.int64))
    with pytest.raises(RuntimeError):
        code["boom"](np.zeros(1, np.int64))


def test_where_no_directory_can_be_written_a_temporary_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Path("/dev/null/none")
    monkeypatch.setenv(CACHE, str(nowhere))
    monkeypatch.setenv("XDG_CACHE_HOME", str(nowhere))
    monkeypatch.setattr(machine_code, "BESIDE", nowhere)
    try:
        assert made().load() is None
        assert made().compile() is not None
        assert made().load() is not None
        assert [path.suffix for path in machine_code._temporary().iterdir()] == [".o"]
    finally:
        shutil.rmtree(machine_code._temporary())
        machine_code._temporary.cache_clear()


def test_a_child_compiles_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept"
    (tmp_path / "some_module.py").write_text(
        "import sys\nfrom tests.test_machine_code import made\nCODE = made()\n", encoding="utf-8"
    )
    monkeypatch.setenv(CACHE, str(kept))
    monkeypatch.chdir(tmp_path)  # python -m looks for modules there
    assert (child := made().aside()) is not None
    assert child.wait(60) == 0
    code = made().load()
    assert code is not None and code["total"](table(), 1) == 14
