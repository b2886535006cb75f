"""Compiled programs that do not need their compiler any more: instructions and the maps that they name.

Clang takes most of a second and its result is the same every time for the same text. So what BCC compiled is turned
into an image: in each instruction that loads a map (BPF_LD_IMM64 with BPF_PSEUDO_MAP_FD) the descriptor is replaced by
the number of the map in the image. To use an image, its maps are created and their descriptors put in. Images are kept
by the digest of their text in the user's cache folder; the text holds everything that the result depends on, offsets
of this kernel included. Addresses of functions change with every boot and are put in when an image is used.

An image is code for the kernel, so it is taken from the cache only when file and folder belong to us and nobody else
may write them.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import hashlib
import json
import os
import stat
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from tracer.kernel.attach import AttachError, bpf

_MAP_CREATE, _GET_INFO_BY_FD = 0, 15
_INFO_BYTES: Final = 88
_ARRAY: Final = 2
_INSTRUCTION: Final = np.dtype([("code", "u1"), ("registers", "u1"), ("offset", "<i2"), ("immediate", "<i4")])
_LOAD_64, _PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE = 0x18, 1, 2
_CALL, _PSEUDO_KFUNC_CALL = 0x85, 2
KFUNC: Final = 1 << 30
"""Added to the BTF id of a kernel function, the number that the text calls it by: helpers have small numbers."""
AT: Final = {"settings": 0x5EED_0FAD_5E77_0000}
"""Addresses by which the text may name the only value of an array, by map: it is loaded, not looked up (since 5.2)."""
_VALUE_BYTES: Final = 1 << 12
_KEPT: Final = 6
"""Images in the cache folder; older ones go."""
_VERSION: Final = "3"


@dataclass(frozen=True, slots=True)
class MapSpec:
    """How to make a map (bpf(2), BPF_MAP_CREATE)."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int

    @classmethod
    def of(cls, name: str, fd: int) -> MapSpec:
        """Of a map that exists."""
        info = ctypes.create_string_buffer(_INFO_BYTES)
        bpf(_GET_INFO_BY_FD, struct.pack("<IIQ", fd, _INFO_BYTES, ctypes.addressof(info)))
        kind, _, key_size, value_size, entries, flags = struct.unpack_from("<6I", info)
        return cls(name, kind, key_size, value_size, entries, flags)

    def create(self) -> int:
        """Make it; returns its descriptor. Raises OSError."""
        name = self.name.encode()[:15]
        return bpf(
            _MAP_CREATE,
            struct.pack("<7I16s", self.type, self.key_size, self.value_size, self.max_entries, self.flags, 0, 0, name),
        )


@dataclass(frozen=True, slots=True)
class Image:
    """Programs and maps as data."""

    maps: tuple[MapSpec, ...]
    programs: dict[str, bytes]
    """Instructions by name; an instruction that loads a map holds the map's position in `maps`."""

    @classmethod
    def of(cls, programs: dict[str, bytes], descriptors: dict[str, int]) -> Image:
        """From instructions with descriptors in place and the descriptors by map name."""
        names = sorted(descriptors)
        position = {descriptors[name]: index for index, name in enumerate(names)}
        places = {AT[name]: index for index, name in enumerate(names) if name in AT}
        relocated = {
            name: _load_values(_call_kfuncs(_translate(code, position)), places) for name, code in programs.items()
        }
        return cls(tuple(MapSpec.of(name, descriptors[name]) for name in names), relocated)

    def to_json(self) -> str:
        """As text."""
        programs = {name: base64.b64encode(code).decode() for name, code in self.programs.items()}
        return json.dumps({"maps": [asdict(spec) for spec in self.maps], "programs": programs})

    @classmethod
    def from_json(cls, text: str | bytes) -> Image:
        """From `to_json`. Raises ValueError, KeyError or TypeError on anything else."""
        stored = json.loads(text)
        programs = {name: base64.b64decode(code) for name, code in stored["programs"].items()}
        return cls(tuple(MapSpec(**spec) for spec in stored["maps"]), programs)


class Loaded:
    """An image whose maps exist. `close` lets them go.

    `constants`: 64-bit values to put in wherever an instruction loads the key, for what is known only at run time;
    `entries`: sizes of maps by name, for those that shall not have the one that was compiled in (rings: bytes);
    `shared`: descriptors of maps that are there already and belong to another. Raises `AttachError` when the kernel has
    no room for them.
    """

    def __init__(
        self, image: Image, constants: Mapping[int, int] | None = None, entries: Mapping[str, int] | None = None,
        shared: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        with contextlib.suppress(OSError, ValueError, ImportError):
            import resource  # not everywhere, as this module may be imported everywhere

            # before 5.11 maps count as locked memory
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._image = image
        self._constants = dict(constants or {})
        self._fds: list[int] = []
        for spec in image.maps:
            wanted = replace(spec, max_entries=(entries or {}).get(spec.name, spec.max_entries))
            try:
                theirs = (shared or {}).get(spec.name)
                self._fds.append(wanted.create() if theirs is None else os.dup(theirs))
            except OSError as refused:
                self.close()
                raise AttachError(_no_room(wanted, refused)) from refused

    def program(self, name: str) -> bytes:
        """Instructions with our maps' descriptors in place. Raises KeyError."""
        return _replace(_translate(self._image.programs[name], dict(enumerate(self._fds))), self._constants)

    def map_fd(self, name: str) -> int:
        """Descriptor of a map. Raises KeyError."""
        for spec, fd in zip(self._image.maps, self._fds, strict=True):
            if spec.name == name:
                return fd
        raise KeyError(name)

    def value_size(self, name: str) -> int:
        """Bytes of one value of a map. Raises KeyError."""
        return {spec.name: spec.value_size for spec in self._image.maps}[name]

    def close(self) -> None:
        """Let the maps go (programs that still run hold theirs). Twice is allowed."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []


def _no_room(spec: MapSpec, refused: OSError) -> str:
    if refused.errno not in (errno.ENOMEM, errno.E2BIG, errno.EPERM):
        return f"the kernel refuses the map {spec.name}: {refused.strerror}"
    each = spec.value_size if spec.type == _ARRAY else spec.key_size + spec.value_size or 1
    size = spec.max_entries * each
    return (
        f"the kernel has no room for the map {spec.name} of {size >> 20} MiB: {refused.strerror}; a smaller one or a "
        "higher limit helps (memory.max of the cgroup; before Linux 5.11 ulimit -l)"
    )


def _translate(code: bytes, numbers: dict[int, int]) -> bytes:
    instructions = np.frombuffer(code, _INSTRUCTION).copy()
    kind = instructions["registers"] >> 4
    named = (kind == _PSEUDO_MAP_FD) | (kind == _PSEUDO_MAP_VALUE)
    loads = np.flatnonzero((instructions["code"] == _LOAD_64) & named)
    instructions["immediate"][loads] = [numbers[number] for number in instructions["immediate"][loads].tolist()]
    return instructions.tobytes()


def _call_kfuncs(code: bytes) -> bytes:
    """Calls of `KFUNC` + id become calls of the kernel function of that BTF id, which clang has no way to say."""
    instructions = np.frombuffer(code, _INSTRUCTION).copy()
    calls = (instructions["code"] == _CALL) & (instructions["registers"] >> 4 == 0)
    calls &= instructions["immediate"] >= KFUNC
    instructions["registers"][calls] = _PSEUDO_KFUNC_CALL << 4
    instructions["immediate"][calls] -= KFUNC
    return instructions.tobytes()


def _load_values(code: bytes, places: Mapping[int, int]) -> bytes:
    """Loads of addresses of `AT`, or of a little more, load the value of the map whose place in the image is given."""
    instructions = np.frombuffer(code, _INSTRUCTION).copy()
    for at, number in _numbers(instructions):
        place = places.get(number & -_VALUE_BYTES)
        if place is not None:
            instructions["registers"][at] |= _PSEUDO_MAP_VALUE << 4
            instructions["immediate"][at : at + 2] = place, number % _VALUE_BYTES
    return instructions.tobytes()


def _replace(code: bytes, constants: dict[int, int]) -> bytes:
    """Every load of a plain number that is a key loads the value instead."""
    instructions = np.frombuffer(code, _INSTRUCTION).copy()
    for at, number in _numbers(instructions):
        if number in constants:
            halves = struct.unpack("<ii", constants[number].to_bytes(8, "little"))
            instructions["immediate"][at : at + 2] = halves
    return instructions.tobytes()


def _numbers(instructions: NDArray[np.void]) -> list[tuple[int, int]]:
    """Where a BPF_LD_IMM64 loads a plain number, and which. It spans two instructions."""
    places = np.flatnonzero((instructions["code"] == _LOAD_64) & (instructions["registers"] >> 4 == 0))
    low, high = (instructions["immediate"][places + i].astype(np.int64) & 0xFFFFFFFF for i in (0, 1))
    return list(zip(places.tolist(), (low | high << 32).tolist(), strict=True))


class Images:
    """The images kept on disk. A folder that is missing, read-only or not ours alone costs time and nothing else."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = Path(user_cache_dir("synfin", appauthor=False)) / "images" if folder is None else folder

    def _file(self, text: str) -> Path:
        return self._folder / (hashlib.sha256((_VERSION + text).encode()).hexdigest()[:32] + ".json")

    def get(self, text: str) -> Image | None:
        """The image of a text, None when there is none to be trusted."""
        try:
            if not _ours_alone(self._folder):
                return None
            with self._file(text).open("rb") as file:
                if not _trusted(os.fstat(file.fileno())):
                    return None
                return Image.from_json(file.read())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, text: str, image: Image) -> bool:
        """Keep an image; False when that was not possible."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".image-")
            with os.fdopen(handle, "w") as out:
                out.write(image.to_json())
            Path(temporary).replace(self._file(text))
            kept = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
            for old in kept[_KEPT:]:
                old.unlink()
        except OSError:
            return False
        return True


def _trusted(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _ours_alone(folder: Path) -> bool:
    return _trusted(folder.stat())
