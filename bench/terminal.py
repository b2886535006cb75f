"""A terminal for benchmarks: a program on a pseudo terminal, its frames and answers timed from outside, as a user sees.

A frame is what Textual brackets by the synchronized-output mode (DEC private mode 2026); it counts when its end has
been read. A key is answered when the frame that holds the expected text has been read to its end. Processor time and
memory come from /proc. Pilot is no frame timer, hence the terminal.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

BEGIN: Final = b"\x1b[?2026h"
END: Final = b"\x1b[?2026l"
_ASKED: Final = b"2026$p"
_YES: Final = b"\x1b[?2026;2$y"
"""This terminal can synchronize output."""
_ESCAPES: Final = re.compile(rb"\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b[()].")
_KEPT: Final = 1 << 18
"""Bytes of the last output that are kept to be searched."""


def bare(output: bytes) -> str:
    """Output without escape sequences."""
    return _ESCAPES.sub(b"", output).decode("utf-8", "replace")


class Stay(NamedTuple):
    """What was seen in some time."""

    seconds: float
    frames: int
    longest: float
    """Seconds without a frame."""
    cpu: float
    """Processor seconds of the program."""

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds

    @property
    def share(self) -> float:
        """Of one processor."""
        return self.cpu / self.seconds


class Terminal:
    """Runs ``act`` in a child on a terminal of ``size`` (columns, lines); to be closed."""

    def __init__(self, act: Callable[[], object], size: tuple[int, int]) -> None:
        self.began = time.monotonic()
        self.frames: list[float] = []
        """When each frame's end was read."""
        self.seen = b""
        """The last output."""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", TEXTUAL_ANIMATIONS="none")
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(0.03)  # until the size is set
                act()
            os._exit(0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it as a user's Ctrl-C would, and by force where that is not heard."""
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGTERM)
            self._drain(5.0)
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)

    def _drain(self, seconds: float) -> None:
        """Read on until it has gone: it would block on a full terminal."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._read(0.1) is not None:
            pass

    def _read(self, seconds: float) -> bytes | None:
        """What comes next, empty after some seconds; None when the program has gone."""
        if not select.select([self._fd], [], [], max(seconds, 0))[0]:
            return b""
        try:
            found = os.read(self._fd, 1 << 20)
        except OSError:
            return None
        if not found:
            return None
        joint = self.seen[-16:]
        ends = (joint + found).count(END) - joint.count(END)
        self.frames += [time.monotonic()] * ends
        if _ASKED in joint + found and _ASKED not in joint:
            os.write(self._fd, _YES)
        self.seen = (self.seen + found)[-_KEPT:]
        return found

    def until(self, text: str, limit: float = 30.0) -> float:
        """Seconds until a frame with ``text`` has been read from now on. Raises TimeoutError."""
        return self._answer(lambda shown: text in shown, text, limit)

    def _answer(self, good: Callable[[str], bool], name: str, limit: float) -> float:
        began, found = time.monotonic(), b""
        while (now := time.monotonic()) - began < limit:
            more = self._read(began + limit - now)
            if more is None:
                break
            found = (found + more)[-_KEPT:]
            if END in found and good(bare(found[: found.rindex(END)])):
                return time.monotonic() - began
        raise TimeoutError(f"no {name!r} within {limit} s; the terminal shows {bare(self.seen)[-300:]!r}")

    def press(self, key: str, answer: str = "", limit: float = 10.0) -> float:
        """Seconds from writing a key until a frame with ``answer`` (any frame, if empty) has been read."""
        while self._read(0):
            pass
        os.write(self._fd, key.encode())
        return self._answer(lambda shown: answer in shown, answer or key, limit)

    def stay(self, seconds: float, keys: Sequence[str] = (), every: float = 0.0) -> Stay:
        """Look on for some seconds; write the keys in turn, one ``every`` so many seconds."""
        begin, used, count = time.monotonic(), cpu(self.pid), len(self.frames)
        sent = 0
        while (rest := begin + seconds - time.monotonic()) > 0:
            if keys:
                due = begin + sent * every - time.monotonic()
                if due <= 0:
                    os.write(self._fd, keys[sent % len(keys)].encode())
                    sent += 1
                rest = min(rest, max(due, 0.0))
            if self._read(rest) is None:
                raise TimeoutError(f"the program has gone: {bare(self.seen)[-300:]!r}")
        moments = [begin, *self.frames[count:]]
        longest = max((b - a for a, b in zip(moments, [*moments[1:], begin + seconds], strict=True)), default=seconds)
        return Stay(seconds, len(self.frames) - count, longest, cpu(self.pid) - used)


def cpu(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def painting(pid: int) -> float:
    """Processor seconds of its first thread so far, the one that paints and answers keys."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def memory(pid: int) -> int:
    """Resident memory in MB, the most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10
