"""What is read of a Go program's file, against what the program's own debug information and symbols say."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.runtimes.go_programs import Programs, built
from tracer.runtimes.go_binary import GoBinary, GoError, _Segment
from tracer.runtimes.go_layout import LAYOUTS, layout_of, measure, measured_reasons, reasons_of
from tracer.runtimes.golang import PLACES


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return built(tmp_path_factory)


@pytest.mark.needs("go")
def test_functions_are_found_where_the_symbols_say_stripped_or_not(programs: Programs) -> None:
    whole, bare = GoBinary(str(programs.plain)), GoBinary(str(programs.stripped))
    moved = GoBinary(str(programs.position_independent))
    with programs.position_independent.open("rb") as file:
        main = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name("main.main")[0]
    assert (moved.function("main.main") or (0, 0))[0] == main["st_value"]
    with programs.plain.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab")
        told = {symbol.name: (symbol["st_value"], symbol["st_size"]) for symbol in symbols.iter_symbols()}
    for name in sorted({place.function for place in PLACES} | {"main.main", "main.serve"}):
        place = whole.function(name)
        assert place is not None
        assert place[0] == told[name][0]
        assert place[1] >= told[name][1], "its bytes, and what fills up to the next function"
        assert whole.name_at(place[0] + 1) == name
        found = bare.function(name)
        assert found is not None
        assert bare.name_at(found[0]) == name
    assert whole.function("main.nobody") is None
    assert whole.name_at(1) == ""
    assert bare.version == whole.version == programs.version


@pytest.mark.needs("go", "objdump")
def test_returns_are_those_that_another_disassembler_finds(programs: Programs) -> None:
    binary = GoBinary(str(programs.plain))
    for name in sorted({place.function for place in PLACES if place.returns}):
        place = binary.function(name)
        assert place is not None
        span = [f"--start-address={place[0]}", f"--stop-address={sum(place)}"]
        text = subprocess.run(
            ["objdump", "-d", "--no-show-raw-insn", *span, str(programs.plain)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        wanted = [int(line.split(":")[0], 16) for line in text.splitlines() if line.split(":")[-1].strip() == "ret"]
        assert binary.returns(name) == wanted
        assert wanted


@pytest.mark.needs("go")
def test_the_table_of_layouts_is_what_debug_information_says(programs: Programs) -> None:
    binary = GoBinary(str(programs.plain))
    measured = measure(str(programs.plain))
    assert measured is not None
    if binary.minor in LAYOUTS:
        assert LAYOUTS[binary.minor] == measured
        assert reasons_of(binary.minor) == measured_reasons(binary)
    assert measure(str(programs.stripped)) is None


@pytest.mark.needs("go")
def test_a_version_that_is_not_known_is_read_from_debug_information_or_refused(
    programs: Programs, tmp_path: Path
) -> None:
    for source, known in ((programs.plain, True), (programs.stripped, False)):
        strange = tmp_path / source.name
        data = source.read_bytes()
        assert programs.version.encode() in data
        other = f"go1.99.{programs.version.rsplit('.', 1)[-1]}"[: len(programs.version)].encode()
        strange.write_bytes(data.replace(programs.version.encode(), other))
        binary = GoBinary(str(strange))
        assert binary.minor == 99
        if known:
            layout, reasons = layout_of(binary)
            assert layout == measure(str(programs.plain))
            assert "IO wait" in reasons
        else:
            with pytest.raises(GoError, match=r"whose runtime is not known here"):
                layout_of(binary)


def test_every_version_of_the_table_has_its_words() -> None:
    for minor in LAYOUTS:
        reasons = reasons_of(minor)
        assert reasons[:3] == ("", "GC assist marking", "IO wait")
        assert {"chan receive", "select", "sleep", "semacquire"} <= set(reasons)
        assert len(set(reasons)) == len(reasons)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"#!/bin/sh\n", "is no ELF program"), (b"", "is no ELF program"), (b"\x7fELF broken", "no Go program")],
)
def test_what_is_no_go_program_is_said(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "program"
    path.write_bytes(content)
    with pytest.raises(GoError, match=words):
        GoBinary(str(path))
    with pytest.raises(GoError, match="No such file"):
        GoBinary(str(tmp_path / "nothing"))


@pytest.mark.skipif(sys.platform != "linux", reason="not Linux")
def test_an_ordinary_program_is_no_go_program() -> None:
    with pytest.raises(GoError, match=r"has no \.go\.buildinfo"):
        GoBinary(shutil.which("sleep") or "/bin/sleep")


@pytest.mark.needs("go")
def test_a_program_cut_off_anywhere_is_refused_in_words(programs: Programs, tmp_path: Path) -> None:
    data = programs.stripped.read_bytes()
    cut = tmp_path / "cut"
    for part in range(1, 16):
        cut.write_bytes(data[: len(data) * part // 16])
        with pytest.raises(GoError):
            GoBinary(str(cut))


def table(magic: int, names: dict[str, int], text: int) -> bytes:
    """A .gopclntab of two functions as runtime.pcHeader and its tables are written (runtime/symtab.go)."""
    blob = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    at = {name: blob.index(b"\0" + name.encode() + b"\0") + 1 for name in names}
    old = magic == 0xFFFF_FFFA
    header = 8 + 8 * (7 if old else 8)
    tables = header + len(blob) + -len(blob) % 8
    pair = "<QQ" if old else "<II"
    size = struct.calcsize(pair)
    functab, bodies = b"", b""
    begin = len(names) * size + size // 2
    for name, entry in names.items():
        place = begin + len(bodies)
        functab += struct.pack(pair, entry if old else entry - text, place)
        bodies += struct.pack("<Qi" if old else "<Ii", entry if old else entry - text, at[name])
    functab += struct.pack(pair[:2], (text + 0x1000) if old else 0x1000)
    words = (
        [len(names), 0, header, 0, 0, 0, tables] if old else [len(names), 0, text, header, 0, 0, 0, tables]
    )  # fmt: skip
    raw = struct.pack("<IBBBB", magic, 0, 0, 1, 8) + struct.pack(f"<{len(words)}Q", *words) + blob
    return raw.ljust(tables, b"\0") + functab + bodies


@pytest.mark.parametrize("magic", [0xFFFF_FFFA, 0xFFFF_FFF0, 0xFFFF_FFF1], ids=["1.16", "1.18", "1.20"])
def test_all_three_layouts_of_the_function_table(magic: int) -> None:
    binary = object.__new__(GoBinary)
    binary.name, binary.version = "made", "go1.17"
    made = table(magic, {"main.main": 0x40_1000, "runtime.gopark": 0x40_1200}, 0x40_1000)
    binary._segments = [_Segment(0x50_0000, 0, made)]
    binary._relocations([])
    binary._functions(0x50_0000, made, 0, 0)
    assert binary.function("main.main") == (0x40_1000, 0x200)
    assert binary.function("runtime.gopark") == (0x40_1200, 0xE00)
    assert binary.name_at(0x40_1201) == "runtime.gopark"
    assert binary.function("park") is None
    with pytest.raises(GoError, match="layout that is not known"):
        binary._functions(0, struct.pack("<IBBBB", 0xFFFF_FFFB, 0, 0, 1, 8) + bytes(64), 0, 0)
