"""pcap-filter(7) expressions on frames of a file, compiled and run by libpcap.

tcpdump's language is libpcap's: what ``tcp port 80 and net 10/8`` means for each link type is known there, so it is
asked through its C interface (pcap_compile(3PCAP), bpf_filter()) rather than imitated. A frame is judged as captured,
before anything else is done with it, just as tcpdump -r does.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.capture.decoder import Frames
from tracer.capture.linktypes import link_name
from tracer.capture.outcomes import FILTERED, TCP

LIBRARIES: Final = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.A.dylib", "wpcap.dll")
"""What libpcap is called on Fedora, Debian, macOS, Windows (Npcap)."""
SNAPLEN: Final = 262_144
NETMASK_UNKNOWN: Final = 0xFFFFFFFF
CHECKED: Final = (1, 101, 105, 113)
"""Link types on one of which an expression must mean something."""

_DLT: Final = {100: 11, 101: 12}
"""Link types in files (LINKTYPE_) whose number in libpcap's interface (DLT_) is another, on Linux and macOS."""


class FilterRefused(Exception):
    """The expression is wrong: one sentence of libpcap's."""


class LibpcapMissing(Exception):
    """There is no libpcap here; the text says how to get it."""


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_uint), ("instructions", ctypes.c_void_p))


def _load() -> Any:
    for name in (*LIBRARIES, ctypes.util.find_library("pcap")):
        if name:
            with contextlib.suppress(OSError):
                library = ctypes.CDLL(name)
                library.pcap_open_dead.restype = ctypes.c_void_p
                library.pcap_open_dead.argtypes = (ctypes.c_int, ctypes.c_int)
                library.pcap_close.argtypes = (ctypes.c_void_p,)
                library.pcap_geterr.restype = ctypes.c_char_p
                library.pcap_geterr.argtypes = (ctypes.c_void_p,)
                library.pcap_compile.argtypes = (
                    ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32
                )  # fmt: skip
                library.pcap_freecode.argtypes = (ctypes.POINTER(_Program),)
                library.bpf_filter.restype = ctypes.c_uint
                library.bpf_filter.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
                return library
    raise LibpcapMissing("-f needs libpcap, which is not installed (Debian, Ubuntu: libpcap0.8); -Y does without")


class PcapFilter:
    """An expression, compiled for each link type that turns up. Give ``sieve`` to Capture.watch."""

    def __init__(self, expression: str) -> None:
        """Raises LibpcapMissing, or FilterRefused where it is not an expression of pcap-filter(7)."""
        self.expression = expression
        self._library = _load()
        self._programs: dict[int, _Program] = {}
        self._check()

    def _check(self) -> None:
        """It must mean something on one of the common link types: ``wlan`` does not on Ethernet."""
        refused: FilterRefused | None = None
        for link in CHECKED:
            try:
                self._program(link)
                return
            except FilterRefused as failure:
                refused = refused or failure
        if refused is not None:
            raise refused

    def _program(self, link: int) -> _Program:
        known = self._programs.get(link)
        if known is not None:
            return known
        library, program = self._library, _Program()
        handle = library.pcap_open_dead(_DLT.get(link, link), SNAPLEN)
        try:
            text = self.expression.encode("utf-8", "replace")
            if b"\0" in text:
                raise FilterRefused(f"-f {self.expression!r}: it contains a NUL character")
            if library.pcap_compile(handle, ctypes.byref(program), text, 1, NETMASK_UNKNOWN):
                reason = (library.pcap_geterr(handle) or b"").decode("utf-8", "replace")
                raise FilterRefused(f"-f {self.expression!r} on link type {link_name(link)}: {reason}")
        finally:
            library.pcap_close(handle)
        self._programs[link] = program
        return program

    def sieve(self, octets: NDArray[np.uint8], frames: Frames) -> None:
        """Mark the frames that do not match; raises FilterRefused where it means nothing on their link type."""
        base, run = octets.ctypes.data, self._library.bpf_filter
        wanted = np.flatnonzero(frames.outcome == TCP)
        dropped = []
        columns = (frames.start[wanted], frames.caplen[wanted], frames.wire[wanted], frames.link[wanted])
        link, code = -1, 0
        for index, start, caplen, wire, kind in zip(
            wanted.tolist(), *(column.tolist() for column in columns), strict=True
        ):
            if kind != link:
                link, code = kind, self._program(kind).instructions
            if not run(code, base + start, wire & 0xFFFFFFFF, caplen):
                dropped.append(index)
        frames.outcome[dropped] = FILTERED

    def close(self) -> None:
        """Give the programs back."""
        for program in self._programs.values():
            self._library.pcap_freecode(ctypes.byref(program))
        self._programs.clear()
