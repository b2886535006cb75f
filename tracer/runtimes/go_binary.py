"""A Go program's file: which Go made it, where its functions are, where they return. Works on stripped programs too.

Go keeps what its own stack traces need in every program, stripped or not: ``.go.buildinfo`` names the version, and
``.gopclntab`` (runtime.pclntab) maps code to function names. The table has had three layouts: Go 1.16 (absolute
addresses, 8 bytes), 1.18 (32-bit distances from the start of the text) and 1.20 (the same under another magic number).
Since 1.26 the table does not say any more where the text starts; runtime.firstmoduledata does, which has a section of
its own, .go.module. In a position-independent program both are filled in by relocations when it is loaded.

A return address on a Go stack must not be replaced (the runtime walks its stacks, and moves them), which rules
uretprobes out. So a function's ends are probed one by one, at its RET instructions. Those are found by disassembly: a
byte that looks like a RET may be in the middle of another instruction, and a breakpoint there would change the program.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BUILDINFO: Final = b"\xff Go buildinf:"
_POINTERS: Final = 8
_LAYOUTS: Final = {0xFFFF_FFFA: 16, 0xFFFF_FFF0: 18, 0xFFFF_FFF1: 20}
"""Magic number of the table -> minor version since which it is written so (internal/abi.PCLnTabMagic)."""
_MODULE_TEXT: Final = range(160, 260, 8)
"""Where in runtime.moduledata the field text may lie: minpc, maxpc and text follow one another."""
_RELATIVE: Final = 8
"""R_X86_64_RELATIVE."""
MACHINES: Final = ("EM_X86_64",)
"""Whose registers and instructions are known here."""


class GoError(Exception):
    """This program's goroutines cannot be followed; one sentence says why."""


class NotGo(GoError):
    """It is no Go program, or none that can be read."""


@dataclass(frozen=True, slots=True)
class _Segment:
    address: int
    offset: int
    data: bytes


class GoBinary:
    """One executable. Raises `NotGo` when it is none of Go's, `GoError` when it cannot be followed."""

    def __init__(self, path: str, name: str | None = None) -> None:
        """``name`` stands for the path in what is said."""
        try:
            from elftools.common.exceptions import ELFError
            from elftools.elf.elffile import ELFFile
        except ImportError:
            raise GoError(
                "Go programs are read by pyelftools, which is not installed (pip install pyelftools)"
            ) from None
        self.path, self.name = path, name or path
        try:
            with Path(path).open("rb") as file:
                if file.read(4) != b"\x7fELF":
                    raise NotGo(f"{self.name} is no ELF program")
                self._read(ELFFile(file))
        except OSError as refused:
            raise NotGo(f"{self.name}: {refused.strerror}") from None
        except (ELFError, struct.error, IndexError, ValueError) as broken:
            raise NotGo(f"{self.name} is no Go program that can be read: {broken}") from None

    def _read(self, elf: Any) -> None:
        sections = {section.name: section for section in elf.iter_sections()}
        self._segments = [
            _Segment(part["p_vaddr"], part["p_offset"], part.data())
            for part in elf.iter_segments()
            if part["p_type"] == "PT_LOAD"
        ]
        info = next((sections[name] for name in (".go.buildinfo",) if name in sections), None)
        if info is None:
            raise NotGo(f"{self.name} is no Go program: it has no .go.buildinfo")
        if elf["e_machine"] not in MACHINES:
            raise GoError(f"{self.name}: goroutines are followed on x86-64 only")
        self.version = self._version(info.data())
        table = next((sections[name] for name in sections if name.endswith(".gopclntab")), None)
        if table is None:
            raise GoError(f"{self.name} has no .gopclntab: its functions cannot be found")
        self._relocations(section.data() for section in sections.values() if section["sh_type"] == "SHT_RELA")
        module, text = sections.get(".go.module"), sections[".text"]["sh_addr"]
        self._functions(table["sh_addr"], table.data(), module["sh_addr"] if module is not None else 0, text)

    @property
    def minor(self) -> int:
        """19 for go1.19.8; 0 where the version is not of that form (a development version)."""
        found = re.match(r"go1\.(\d+)", self.version)
        return int(found[1]) if found else 0

    def _version(self, data: bytes) -> str:
        at = data.find(_BUILDINFO)
        if at < 0:
            raise GoError(f"{self.name}: .go.buildinfo holds no version")
        if data[at + 15] & 2:  # since 1.18: a varint and the text itself
            length, begin = _varint(data, at + 32)
            return data[begin : begin + length].decode("ascii", "replace")
        header = self.at(struct.unpack_from("<Q", data, at + 16)[0], 16)
        address, length = struct.unpack("<QQ", header)
        return self.at(address, min(length, 64)).decode("ascii", "replace")

    def at(self, address: int, length: int) -> bytes:
        """Bytes as loaded; fewer where the file has no more. Raises ValueError outside of every segment."""
        for segment in self._segments:
            begin = address - segment.address
            if 0 <= begin < len(segment.data):
                return segment.data[begin : begin + length]
        raise ValueError(f"nothing is loaded at {address:#x}")

    def offset(self, address: int) -> int:
        """Where in the file an address lies: uprobes are put there."""
        for segment in self._segments:
            if 0 <= address - segment.address < len(segment.data):
                return address - segment.address + segment.offset
        raise ValueError(f"nothing is loaded at {address:#x}")

    def _relocations(self, tables: Iterable[bytes]) -> None:
        """What the loader writes where (Elf64_Rela): the sum of the load address and r_addend."""
        entries = np.concatenate([np.zeros((0, 3), "<u8"), *(np.frombuffer(t, "<u8").reshape(-1, 3) for t in tables)])
        entries = entries[entries[:, 1] == _RELATIVE]
        entries = entries[np.argsort(entries[:, 0], kind="stable")]
        self._filled, self._filling = entries[:, 0], entries[:, 2]

    def _word(self, address: int) -> int:
        """A word as it is when the program is loaded at address 0."""
        index = int(np.searchsorted(self._filled, address))
        if index < len(self._filled) and self._filled[index] == address:
            return int(self._filling[index])
        return int(struct.unpack("<Q", self.at(address, 8))[0])

    def release(self) -> None:
        """Let the program's bytes go: from now on only functions have their names (`name_at`, `function`)."""
        self._segments = []

    # Functions

    def _functions(self, address: int, data: bytes, module: int, text: int) -> None:
        magic, _, pointer = struct.unpack_from("<IHxB", data)
        layout = _LAYOUTS.get(magic)
        if layout is None or pointer != _POINTERS:
            raise GoError(f"{self.name}: the function table of {self.version} has a layout that is not known here")
        words = struct.unpack_from("<8Q", data, 8)
        count = words[0]
        if layout == 16:
            names, table = words[2], words[6]
            entries = np.frombuffer(data, "<u8", 2 * count + 1, table)
            self._starts: NDArray[np.int64] = entries[::2].astype(np.int64)
            at = entries[1::2].astype(np.int64) + table + 8
        else:
            names, table = words[3], words[7]
            short = np.frombuffer(data, "<u4", 2 * count + 1, table)
            start = self._word(address + 24) or self._text_start(module, int(short[0]), text)
            self._starts = short[::2].astype(np.int64) + start
            at = short[1::2].astype(np.int64) + table + 4
        raw = np.frombuffer(data, np.uint8)
        self._names = (raw[at[:, None] + np.arange(4)].copy().view("<i4")[:, 0]).astype(np.int64) + names
        self._table = data

    def _text_start(self, module: int, first: int, text: int) -> int:
        """runtime.firstmoduledata.text, where there is one, else where the section of that name begins."""
        for place in _MODULE_TEXT if module else ():
            low, high, start = (self._word(module + place + 8 * i) for i in range(3))
            if text <= start == low - first < high:
                return start
        return text

    def function(self, name: str) -> tuple[int, int] | None:
        """Address and length of a function; None where the program has none of that name."""
        at = self._table.find(b"\0" + name.encode() + b"\0")
        found: list[int] = np.flatnonzero(self._names == at + 1).tolist() if at >= 0 else []
        if not found:
            return None
        index = found[0]
        return int(self._starts[index]), int(self._starts[index + 1] - self._starts[index])

    def name_at(self, address: int) -> str:
        """The function that an address is in, as `package.function`; "" where there is none."""
        index = int(np.searchsorted(self._starts, address, side="right")) - 1
        if not 0 <= index < len(self._names):
            return ""
        begin = int(self._names[index])
        return self._table[begin : self._table.index(b"\0", begin)].decode("utf-8", "replace")

    def returns(self, name: str) -> list[int]:
        """Addresses of the RET instructions of a function."""
        try:
            import capstone
        except ImportError:
            raise GoError("ends of Go functions are found by capstone: pip install 'synfin[go]'") from None
        place = self.function(name)
        if place is None:
            return []
        code = self.at(*place)
        found: list[int] = []
        end = place[0]
        for address, size, mnemonic, _ in capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64).disasm_lite(code, end):
            if mnemonic == "ret":
                found.append(address)
            end = address + size
        # what cannot be read to its end is not probed: nothing is certain behind the first byte not understood
        return found if end - place[0] >= len(code.rstrip(b"\xcc\x00")) else []


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
