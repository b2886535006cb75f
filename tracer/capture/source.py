"""Where a capture's bytes come from: a file, a pipe or an object that can be read, unpacked on the way if need be.

Everything after this module sees one plain stream of capture bytes. Compression is recognised by content, never by
name, and unpacked in bounded steps, so that a few kilobytes that claim to be terabytes cost time but not memory. A
packed stream that ends early or is damaged is not an error here: what came out of it before is kept, and ``damage``
says what was wrong.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import importlib
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

CHUNK: Final = 1 << 18
"""Compressed bytes handed to the decompressor at a time."""

PEEK: Final = 16
"""Bytes looked at to recognise what a stream is: fewer than any header, or a pipe that has just begun would block."""

PIPE_BYTES: Final = 1 << 20
"""Size asked for a pipe (F_SETPIPE_SZ): fewer, larger reads."""

LZMA_MEMORY: Final = 256 << 20
"""xz -9 needs 65 MiB to unpack; more than this is refused rather than granted to an unknown file."""

ZSTD_WINDOW: Final = 1 << 27
"""zstd --long=27, the largest window its own tool accepts without being asked."""


class CaptureError(Exception):
    """A capture that cannot be read at all; the text is one sentence for the person who named it."""


class Readable(Protocol):
    """What a source needs of an object it is given: ``read`` of at most n bytes, empty at the end."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


class _Unpacker(Protocol):
    """The interface of lzma and bz2 decompressors, which zlib is given by a wrapper."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Unpack ``data`` after what is pending; at most ``max_length`` bytes come out."""
        ...


class _Gzip:
    """zlib.decompressobj with the interface of lzma.LZMADecompressor."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)
        self._pending = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._pending and not self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        data = self._pending + data
        before = self._inner.copy()
        try:
            out = self._inner.decompress(data, max_length)
        except zlib.error:
            if max_length <= 1:
                raise
            # zlib keeps to itself what it had unpacked when it met the damage: ask for less, up to there
            self._inner, self._pending = before, data
            return self.decompress(b"", max_length // 2)
        self._pending = self._inner.unconsumed_tail
        return out


_UNPACKERS: Final[tuple[tuple[bytes, str, Callable[[], Any]], ...]] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"\xfd7zXZ\x00", "xz", lambda: lzma.LZMADecompressor(memlimit=LZMA_MEMORY)),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
)
"""Compression by its first bytes."""

_ZSTD: Final = b"\x28\xb5\x2f\xfd"

_LOOKS_LIKE: Final[tuple[tuple[bytes, str], ...]] = (
    (b"snoop\x00\x00\x00", "a Solaris snoop capture"),
    (b"RTSS", "a Microsoft Network Monitor capture"),
    (b"GMBU", "a Microsoft Network Monitor capture"),
    (b"XCP\x00", "a NetXRay or Windows Sniffer capture"),
    (b"TRSNIFF data", "a Sniffer (DOS) capture"),
    (b"btsnoop\x00", "a Bluetooth snoop log"),
    (b"\x04\x22\x4d\x18", "lz4-compressed data (unpack it first: lz4 -d)"),
    (b"PK\x03\x04", "a ZIP archive (unpack it first)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive (unpack it first)"),
    (b"\x7fELF", "an ELF program"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"<", "HTML or XML text"),
    (b"{", "JSON text"),
)
"""What else people hand to a capture reader, by first bytes."""


def looks_like(head: bytes) -> str:
    """What a stream that begins with ``head`` seems to be, in words safe for a terminal."""
    for magic, words in _LOOKS_LIKE:
        if head.startswith(magic):
            return words
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "text"
    return f"unknown data (first bytes {head[:8].hex(' ')})"


class ByteSource:
    """A stream of capture bytes with ``readinto``; counts what was consumed of the underlying file."""

    name: str
    """As the person wrote it; ``standard input`` for ``-``. Untrusted text."""
    compression: str | None
    """gzip, xz, bzip2 or zstd; None where the stream was plain."""
    total: int | None
    """Size of the underlying file in bytes; None for a pipe."""
    done: int
    """Bytes of the underlying file read so far."""
    damage: str | None
    """Why the compressed stream could not be read to its end; None if all is well."""

    def __init__(self, target: str | os.PathLike[str] | Readable) -> None:
        """Open ``target``: a path, ``-`` for standard input, or an object with ``read``.

        Raises:
            CaptureError: it is missing, a directory, unreadable, empty, or needs a module that is not installed.
        """
        self.path: str | None = None
        self.total = None
        self.done = 0
        self.damage = None
        self._owned = True
        if isinstance(target, (str, os.PathLike)):
            self._open(os.fspath(target))
        else:
            self._raw: Any = target
            self._owned = False
            self.name = str(getattr(target, "name", "the given stream"))
            if isinstance(target, io.BytesIO):
                self.total = len(target.getbuffer()) - target.tell()
        self._head = b""
        while len(self._head) < PEEK and (more := self._take(PEEK - len(self._head))):
            self._head += more
        if not self._head:
            self.close()
            raise CaptureError(f"{self.name} is empty")
        self.compression = None
        self._unpack: Callable[[memoryview], int] | None = None
        self._choose_compression()

    def _open(self, path: str) -> None:
        if path == "-":
            self.name = "standard input"
            self._raw = io.FileIO(0, "r", closefd=False)
        else:
            self.name = path
            try:
                self._raw = io.FileIO(path, "r")
            except OSError as error:
                raise CaptureError(f"{path} cannot be read: {_reason(error)}") from None
            except ValueError:
                raise CaptureError(f"{path!r} is not a file name") from None
        mode = os.fstat(self._raw.fileno())
        if stat.S_ISREG(mode.st_mode):
            self.total = mode.st_size
            self.path = path if path != "-" else None
        elif stat.S_ISFIFO(mode.st_mode):
            # the limit for plain users may be lower, and only Linux has this at all
            with contextlib.suppress(OSError, AttributeError, ImportError):
                fcntl: Any = importlib.import_module("fcntl")
                fcntl.fcntl(self._raw.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def _choose_compression(self) -> None:
        for magic, label, make in _UNPACKERS:
            if self._head.startswith(magic):
                self.compression = label
                self._unpack = _Unpacking(self, make).readinto
                return
        if self._head.startswith(_ZSTD):
            self.compression = "zstd"
            try:
                zstandard: Any = importlib.import_module("zstandard")
            except ImportError:
                self.close()
                raise CaptureError(
                    f"{self.name} is compressed with zstd: install the Python package zstandard, "
                    "or unpack it first (zstd -d)"
                ) from None
            reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).stream_reader(
                _Compressed(self), read_size=CHUNK, read_across_frames=True, closefd=False
            )

            def unzstd(target: memoryview) -> int:
                try:
                    return int(reader.readinto(target))
                except zstandard.ZstdError as error:
                    self.damage = f"zstd: {error}"
                    return 0

            self._unpack = unzstd

    def _take(self, size: int) -> bytes:
        try:
            data = self._raw.read(size) or b""
        except OSError as error:
            raise CaptureError(f"{self.name} cannot be read: {_reason(error)}") from None
        self.done += len(data)
        return bytes(data)

    def compressed(self, size: int) -> bytes:
        """At most ``size`` bytes of the underlying stream, before any unpacking; empty at its end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._take(size)

    def readinto(self, target: memoryview) -> int:
        """Fill the front of ``target`` with capture bytes; the number given, 0 at the end of the stream.

        A pipe gives what it has, so that a capture still being written is seen as it comes.
        """
        if self._unpack is not None:
            return 0 if self.damage else self._unpack(target)
        if not self._head and hasattr(self._raw, "readinto"):
            try:
                count = int(self._raw.readinto(target) or 0)
            except OSError as error:
                raise CaptureError(f"{self.name} cannot be read: {_reason(error)}") from None
            self.done += count
            return count
        data = self.compressed(len(target))
        target[: len(data)] = data
        return len(data)

    def again(self, offset: int, size: int) -> bytes:
        """``size`` bytes at ``offset`` of the unpacked stream, from the file opened anew.

        Raises:
            CaptureError: it was no file, is gone, or is shorter than it was.
        """
        anew = self.reopened(offset)
        try:
            buffer = memoryview(bytearray(CHUNK))
            found = b""
            while len(found) < size:
                got = anew.readinto(buffer[: min(size - len(found), CHUNK)])
                if not got:
                    raise CaptureError(f"{self.name} has become shorter since it was read")
                found += buffer[:got]
            return found
        finally:
            anew.close()

    def reopened(self, offset: int) -> ByteSource:
        """The same file opened anew, at ``offset`` of the unpacked stream; a packed one is unpacked up to there.

        Raises:
            CaptureError: it was no file, is gone, or is shorter than it was.
        """
        if self.path is None:
            raise CaptureError(f"{self.name} cannot be read twice, so the bytes of its packets are gone")
        anew = ByteSource(self.path)
        if anew.compression is None and self.compression is None:
            anew._raw.seek(offset)
            anew._head, anew.done = b"", offset
            return anew
        buffer = memoryview(bytearray(CHUNK))
        while offset:
            got = anew.readinto(buffer[: min(offset, CHUNK)])
            if not got:
                anew.close()
                raise CaptureError(f"{self.name} has become shorter since it was read")
            offset -= got
        return anew

    def close(self) -> None:
        """Close what this source opened; an object it was given stays open."""
        if self._owned:
            self._raw.close()


class _Compressed:
    """The ``read`` that zstandard's stream reader wants."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source

    def read(self, size: int = -1) -> bytes:
        return self._source.compressed(size if size > 0 else CHUNK)


class _Unpacking:
    """Unpacks a stream of one or more gzip members, xz streams or bzip2 streams, a bounded step at a time."""

    def __init__(self, source: ByteSource, make: Callable[[], _Unpacker]) -> None:
        self._source = source
        self._make = make
        self._inner = make()
        self._between = False
        """One member has ended and nothing has come of the next yet."""
        self._ended = False

    def readinto(self, target: memoryview) -> int:
        while not self._ended:
            data = b""
            if self._inner.eof:
                data = self._inner.unused_data.lstrip(b"\x00") or self._source.compressed(CHUNK).lstrip(b"\x00")
                if not data:
                    self._ended = True
                    break
                self._inner = self._make()
                self._between = True
            elif self._inner.needs_input:
                data = self._source.compressed(CHUNK)
                if not data:
                    self._stop("it ends before its end-of-stream marker")
                    break
            try:
                out = self._inner.decompress(data, len(target))
            except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
                self._stop("something else follows its end" if self._between else str(error))
                break
            if out:
                self._between = False
                target[: len(out)] = out
                return len(out)
        return 0

    def _stop(self, why: str) -> None:
        self._ended = True
        self._source.damage = f"{self._source.compression}: {why}"


def _reason(error: OSError) -> str:
    """An operating system error in words."""
    words = {
        errno.ENOENT: "there is no such file",
        errno.EISDIR: "it is a directory",
        errno.EACCES: "permission denied",
    }
    return words.get(error.errno or 0, (error.strerror or "unknown error").lower())
