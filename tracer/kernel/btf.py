"""The running kernel's own type information (BTF): where a field lies, what a number is called, what a hook passes.

A kernel built with CONFIG_DEBUG_INFO_BTF describes all of its types in /sys/kernel/btf/vmlinux. That is enough to
read kernel structs without kernel headers: a probe asks "at which offset is sock.sk_ack_backlog *here*", and a field
that another version lacks is simply absent. The section is a run of variable-length entries (btf.rst of the kernel's
documentation): a 12-byte header (name, kind and count, size or type) and then kind-specific words. The length of an
entry follows from its header alone, so numpy computes "where would the next entry begin" for every word at once and
only the walk itself is a loop. Structs are decoded when somebody asks for them.

Answers are kept by build id in the user's cache folder (`KernelTypes`), so that a later start asks the file nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from platformdirs import user_cache_dir

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
NOTES: Final = Path("/sys/kernel/notes")

MAGIC: Final = 0xEB9F
INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = 1, 2, 3, 4, 5, 6, 7, 8
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(9, 20)
"""BTF_KIND_* numbers, include/uapi/linux/btf.h."""

_FIXED_WORDS: Final = {INT: 1, ARRAY: 3, VAR: 1, DECL_TAG: 1}
_WORDS_PER_MEMBER: Final = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, DATASEC: 3, ENUM64: 3}
_ALIASES: Final = frozenset((TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG))


class BtfError(Exception):
    """The kernel offers no BTF, or what it offers is not understood."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where one field of a kernel struct lies."""

    offset: int
    """Bytes from the start of the outermost struct; for a bit field, of the byte that holds its first bit."""
    size: int
    """Bytes to read; for a bit field, enough to cover all its bits from `offset`."""
    bit: int = 0
    """For a bit field: its lowest bit inside the bytes read (little-endian)."""
    bits: int = 0
    """Width of a bit field; 0 for a whole field."""
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a tracepoint."""

    size: int
    """Bytes: 8 for a pointer."""
    pointer: str
    """Name of the struct pointed to, "" for a plain number or an untyped pointer."""


@dataclass(frozen=True, slots=True)
class Prototype:
    """A tracepoint as BTF sees it."""

    btf_id: int
    """Id of the typedef `btf_trace_NAME`: the attach_btf_id of a tp_btf program."""
    args: tuple[Argument, ...]
    """Without the leading `void *__data`."""


class Btf:
    """A parsed BTF section. Raises `BtfError` when the bytes are not one."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) < 24 or struct.unpack_from("<H", raw)[0] != MAGIC:
            raise BtfError("not a BTF section")
        _, _, _, header, type_off, type_len, str_off, str_len = struct.unpack_from("<HBBIIIII", raw)
        begin = header + type_off
        self._strings = raw[header + str_off : header + str_off + str_len]
        words = np.frombuffer(raw, "<u4", type_len // 4, begin)
        self._words = words
        kinds = (words[1:] >> 24) & 31
        fixed = np.zeros(32, "u4")
        per_member = np.zeros(32, "u4")
        for kind, count in _FIXED_WORDS.items():
            fixed[kind] = count
        for kind, count in _WORDS_PER_MEMBER.items():
            per_member[kind] = count
        lengths = (3 + fixed[kinds] + per_member[kinds] * (words[1:] & 0xFFFF)).tolist()
        starts = [0]  # id 0 is void and has no entry
        at, end = 0, len(words)
        while at < end:
            starts.append(at)
            at += lengths[at]
        self._at = np.array(starts, np.int64)
        self._kind = kinds[self._at]
        self._kind[0] = 0
        self._name = words[self._at]
        self._name[0] = 0

    @classmethod
    def of_kernel(cls, path: Path = VMLINUX) -> Btf:
        """The running kernel's BTF."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise BtfError(f"this kernel offers no BTF ({path}: {error.strerror})") from error

    def __len__(self) -> int:
        return len(self._at)

    def _string(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode("ascii", "replace")

    def find(self, name: str, *kinds: int) -> int:
        """Id of the named type of one of the kinds, 0 when there is none."""
        found = self._strings.find(b"\0" + name.encode() + b"\0")
        if found < 0:
            return 0
        hits = np.flatnonzero((self._name == found + 1) & np.isin(self._kind, kinds))
        return int(hits[0]) if len(hits) else 0

    def _strip(self, type_id: int) -> int:
        while self._kind[type_id] in _ALIASES:
            type_id = int(self._words[self._at[type_id] + 2])
        return type_id

    def _size(self, type_id: int) -> int:
        type_id = self._strip(type_id)
        at = int(self._at[type_id])
        match int(self._kind[type_id]):
            case 2:
                return 8
            case 3:
                element, _, count = (int(word) for word in self._words[at + 3 : at + 6])
                return self._size(element) * count
            case 1 | 4 | 5 | 6 | 16 | 19:
                return int(self._words[at + 2])
        return 0

    def _members(self, type_id: int) -> Iterator[tuple[str, int, int, int]]:
        """(name, type id, offset in bits, width of a bit field or 0) of a struct or union."""
        at = int(self._at[type_id])
        info = int(self._words[at + 1])
        for row in self._words[at + 3 : at + 3 + 3 * (info & 0xFFFF)].reshape(-1, 3).tolist():
            name, member, offset = row
            # kind_flag set: the upper 8 bits of the offset are the width of a bit field
            width = offset >> 24 if info >> 31 else 0
            yield self._string(name), member, offset & 0xFFFFFF if info >> 31 else offset, width

    def _member(self, type_id: int, name: str) -> tuple[int, int, int] | None:
        """(type id, bit offset, bit width) of a member, looked for inside anonymous members too."""
        for own, member, offset, width in self._members(type_id):
            if own == name:
                return member, offset, width
            if not own and (inner := self._strip(member)) and self._kind[inner] in (STRUCT, UNION):
                deeper = self._member(inner, name)
                if deeper is not None:
                    return deeper[0], offset + deeper[1], deeper[2]
        return None

    def field(self, path: str) -> Field | None:
        """Where `struct.member[.member...]` lies; None when this kernel has no such field.

        Numbers index arrays (`sock_common.skc_addrpair.0`). Members of anonymous structs and unions are found by
        their own name, as in C.
        """
        root, *steps = path.split(".")
        type_id = self.find(root, STRUCT, UNION)
        if not type_id:
            return None
        bits, width = 0, 0
        for step in steps:
            type_id = self._strip(type_id)
            if step.isdigit() and self._kind[type_id] == ARRAY:
                type_id = int(self._words[self._at[type_id] + 3])
                bits += 8 * self._size(type_id) * int(step)
                continue
            if self._kind[type_id] not in (STRUCT, UNION):
                return None
            found = self._member(type_id, step)
            if found is None:
                return None
            type_id, offset, width = found
            bits += offset
        type_id = self._strip(type_id)
        signed = bool(self._kind[type_id] == INT and int(self._words[self._at[type_id] + 3]) >> 24 & 1)
        if width:
            return Field(bits // 8, (bits % 8 + width + 7) // 8, bits % 8, width, signed)
        return Field(bits // 8, self._size(type_id), signed=signed)

    def size(self, name: str) -> int | None:
        """Bytes of a struct or union, None when this kernel has none of that name."""
        type_id = self.find(name, STRUCT, UNION)
        return self._size(type_id) if type_id else None

    def struct(self, name: str) -> int | None:
        """Id of a struct, None when this kernel has none of that name."""
        return self.find(name, STRUCT) or None

    def enum(self, name: str) -> dict[int, str]:
        """Value -> name of an enum; empty when this kernel has none of that name."""
        type_id = self.find(name, ENUM, ENUM64)
        if not type_id:
            return {}
        at = int(self._at[type_id])
        info = int(self._words[at + 1])
        width = 3 if self._kind[type_id] == ENUM64 else 2
        rows = self._words[at + 3 : at + 3 + width * (info & 0xFFFF)].reshape(-1, width).tolist()
        signed = info >> 31
        names: dict[int, str] = {}
        for row in rows:
            value = row[1] | (row[2] << 32 if width == 3 else 0)
            if signed and width == 2 and value >> 31:
                value -= 1 << 32
            names.setdefault(value, self._string(row[0]))
        return names

    def tracepoint(self, name: str) -> Prototype | None:
        """What the tracepoint passes; None when this kernel has no such tracepoint."""
        type_id = self.find(f"btf_trace_{name}", TYPEDEF)
        if not type_id:
            return None
        target = int(self._words[self._at[type_id] + 2])
        if self._kind[target] != PTR:
            return None
        proto = int(self._words[self._at[target] + 2])
        at = int(self._at[proto])
        count = int(self._words[at + 1]) & 0xFFFF
        args = []
        # tracepoint prototypes carry no argument names: the first word of a pair is 0
        for _, arg in self._words[at + 3 : at + 3 + 2 * count].reshape(-1, 2).tolist()[1:]:
            stripped = self._strip(arg)
            pointer = ""
            if self._kind[stripped] == PTR:
                pointer = self._string(int(self._name[self._strip(int(self._words[self._at[stripped] + 2]))]))
            args.append(Argument(self._size(arg), pointer))
        return Prototype(type_id, tuple(args))

    def function(self, name: str) -> int | None:
        """Id of a function of the kernel (for fentry, for calls of kfuncs); None when it has none of that name."""
        return self.find(name, FUNC) or None


def build_id(notes: Path = NOTES) -> str:
    """What tells this kernel build from another: the GNU build id with release and version of the kernel."""
    with contextlib.suppress(OSError):
        raw = notes.read_bytes()
        at = 0
        while at + 12 <= len(raw):
            name_len, size, kind = struct.unpack_from("<III", raw, at)
            begin = at + 12 + (name_len + 3 & ~3)
            if kind == 3 and raw[at + 12 : at + 15] == b"GNU":
                return raw[begin : begin + size].hex()
            at = begin + (size + 3 & ~3)
    uname = os.uname()
    return hashlib.sha1(f"{uname.release} {uname.version} {uname.machine}".encode()).hexdigest()


class KernelTypes:
    """`Btf` with a memory: every answer is kept, on disk too, under the build id of the kernel.

    A cache folder that is missing, read-only or damaged costs time and nothing else.
    """

    def __init__(self, path: Path = VMLINUX, cache: Path | None = None) -> None:
        self._path = path
        self._btf: Btf | None = None
        folder = Path(user_cache_dir("synfin", appauthor=False)) if cache is None else cache
        self._file = folder / f"btf-{build_id()}.json"
        self._known: dict[str, Any] = {}
        self._dirty = False
        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(self._file.read_bytes())
            # a kernel may be replaced by one of the same build id with other BTF (a rebuilt module set): check its size
            if isinstance(stored, dict) and stored.get("size") == path.stat().st_size:
                self._known = dict(stored["answers"])
        if not self._known and not path.exists():
            raise BtfError(f"this kernel offers no BTF ({path} is missing; CONFIG_DEBUG_INFO_BTF is needed)")

    @property
    def btf(self) -> Btf:
        """The parsed section itself, read at the first question that the cache cannot answer."""
        if self._btf is None:
            self._btf = Btf.of_kernel(self._path)
        return self._btf

    def _ask(self, question: str) -> Any:
        if question in self._known:
            return self._known[question]
        kind, _, name = question.partition(" ")
        answer: Any
        match kind:
            case "field":
                answer = None if (field := self.btf.field(name)) is None else asdict(field)
            case "size":
                answer = self.btf.size(name)
            case "struct":
                answer = self.btf.struct(name)
            case "enum":
                answer = {str(value): text for value, text in self.btf.enum(name).items()}
            case "tracepoint":
                answer = None if (proto := self.btf.tracepoint(name)) is None else asdict(proto)
            case _:
                answer = self.btf.function(name)
        self._known[question] = answer
        self._dirty = True
        return answer

    def field(self, path: str) -> Field | None:
        """As `Btf.field`."""
        answer = self._ask(f"field {path}")
        return None if answer is None else Field(**answer)

    def size(self, name: str) -> int | None:
        """As `Btf.size`."""
        answer = self._ask(f"size {name}")
        return None if answer is None else int(answer)

    def struct(self, name: str) -> int | None:
        """As `Btf.struct`."""
        answer = self._ask(f"struct {name}")
        return None if answer is None else int(answer)

    def enum(self, name: str) -> dict[int, str]:
        """As `Btf.enum`."""
        return {int(value): str(text) for value, text in self._ask(f"enum {name}").items()}

    def tracepoint(self, name: str) -> Prototype | None:
        """As `Btf.tracepoint`."""
        answer = self._ask(f"tracepoint {name}")
        if answer is None:
            return None
        return Prototype(answer["btf_id"], tuple(Argument(**argument) for argument in answer["args"]))

    def function(self, name: str) -> int | None:
        """As `Btf.function`."""
        answer = self._ask(f"function {name}")
        return None if answer is None else int(answer)

    def save(self) -> bool:
        """Write new answers to the cache; False when that was not possible (never raises for it)."""
        if not self._dirty:
            return False
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._file.parent, prefix=".btf-")
            with os.fdopen(handle, "w") as out:
                json.dump({"size": self._path.stat().st_size, "answers": self._known}, out)
            Path(temporary).replace(self._file)  # atomic: a second synfin never reads half a file
        except OSError:
            return False
        self._dirty = False
        return True
