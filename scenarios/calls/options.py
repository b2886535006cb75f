"""Socket options by name: setsockopt(2) and getsockopt(2).

A story names an option as the manual does, SO_LINGER or TCP_NODELAY, and need not know at which level the kernel keeps
it: the name's first part says so (socket(7), tcp(7), ipv6(7)).
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import Final, NamedTuple

from scenarios.calls.core import c_library, make


class Option(NamedTuple):
    """Where the kernel keeps an option."""

    level: int
    number: int


SOL_SOCKET: Final = 1
IPPROTO_TCP: Final = 6
IPPROTO_IPV6: Final = 41
IPPROTO_IP: Final = 0

OPTIONS: Final[dict[str, Option]] = {
    "SO_REUSEADDR": Option(SOL_SOCKET, 2),
    "SO_ERROR": Option(SOL_SOCKET, 4),
    "SO_SNDBUF": Option(SOL_SOCKET, 7),
    "SO_RCVBUF": Option(SOL_SOCKET, 8),
    "SO_KEEPALIVE": Option(SOL_SOCKET, 9),
    "SO_OOBINLINE": Option(SOL_SOCKET, 10),
    "SO_LINGER": Option(SOL_SOCKET, 13),
    "SO_REUSEPORT": Option(SOL_SOCKET, 15),
    "SO_RCVLOWAT": Option(SOL_SOCKET, 18),
    "SO_RCVTIMEO": Option(SOL_SOCKET, 20),
    "SO_SNDTIMEO": Option(SOL_SOCKET, 21),
    "SO_ACCEPTCONN": Option(SOL_SOCKET, 30),
    "SO_INCOMING_CPU": Option(SOL_SOCKET, 49),
    "SO_COOKIE": Option(SOL_SOCKET, 57),
    "TCP_NODELAY": Option(IPPROTO_TCP, 1),
    "TCP_MAXSEG": Option(IPPROTO_TCP, 2),
    "TCP_CORK": Option(IPPROTO_TCP, 3),
    "TCP_KEEPIDLE": Option(IPPROTO_TCP, 4),
    "TCP_KEEPINTVL": Option(IPPROTO_TCP, 5),
    "TCP_KEEPCNT": Option(IPPROTO_TCP, 6),
    "TCP_SYNCNT": Option(IPPROTO_TCP, 7),
    "TCP_LINGER2": Option(IPPROTO_TCP, 8),
    "TCP_DEFER_ACCEPT": Option(IPPROTO_TCP, 9),
    "TCP_WINDOW_CLAMP": Option(IPPROTO_TCP, 10),
    "TCP_INFO": Option(IPPROTO_TCP, 11),
    "TCP_QUICKACK": Option(IPPROTO_TCP, 12),
    "TCP_CONGESTION": Option(IPPROTO_TCP, 13),
    "TCP_USER_TIMEOUT": Option(IPPROTO_TCP, 18),
    "TCP_FASTOPEN": Option(IPPROTO_TCP, 23),
    "TCP_NOTSENT_LOWAT": Option(IPPROTO_TCP, 25),
    "TCP_FASTOPEN_CONNECT": Option(IPPROTO_TCP, 30),
    "IP_BIND_ADDRESS_NO_PORT": Option(IPPROTO_IP, 24),
    "IPV6_V6ONLY": Option(IPPROTO_IPV6, 26),
}
"""The options of the stories: include/uapi/asm-generic/socket.h, linux/tcp.h, linux/in.h, linux/in6.h."""

LEVELS: Final = {SOL_SOCKET: "SOL_SOCKET", IPPROTO_TCP: "IPPROTO_TCP", IPPROTO_IPV6: "IPPROTO_IPV6", 0: "IPPROTO_IP"}


def linger(seconds: int | None) -> bytes:
    """struct linger: `linger(0)` makes close() send RST, `linger(5)` makes it wait, `linger(None)` is off."""
    return struct.pack("=ii", int(seconds is not None), seconds or 0)


def timeval(seconds: float) -> bytes:
    """struct timeval, for SO_RCVTIMEO and SO_SNDTIMEO: the deadline of a blocking call."""
    return struct.pack("@ll", int(seconds), round(seconds % 1 * 1e6))


def setsockopt(fd: int, option: str, value: int | bytes) -> None:
    """setsockopt(2) with an int or raw bytes: `setsockopt(fd, "TCP_NODELAY", 1)`. Raises KeyError, OSError."""
    level, number = _find(option)
    raw = value if isinstance(value, bytes) else struct.pack("=i", value)
    text = f"{fd}, {LEVELS[level]}, {option}, {_shown(option, raw)}"
    make("setsockopt", text, fd, (fd, level, number), lambda: c_library().setsockopt(fd, level, number, raw, len(raw)))


def getsockopt(fd: int, option: str) -> int:
    """getsockopt(2) of an int option, SO_ERROR for one. Raises KeyError, OSError."""
    return struct.unpack("=i", getsockopt_bytes(fd, option, 4))[0]  # type: ignore[no-any-return]


def getsockopt_bytes(fd: int, option: str, size: int) -> bytes:
    """getsockopt(2) of any option, at most `size` bytes of it."""
    level, number = _find(option)
    buffer, length = ctypes.create_string_buffer(size), ctypes.c_uint(size)
    make(
        "getsockopt",
        f"{fd}, {LEVELS[level]}, {option}",
        fd,
        (fd, level, number),
        lambda: c_library().getsockopt(fd, level, number, buffer, ctypes.byref(length)),
        lambda _: f"[{_shown(option, buffer.raw[: length.value])}]",
    )
    return buffer.raw[: length.value]


INFO_FIELDS: Final[dict[str, tuple[str, int]]] = {
    "state": ("B", 0),
    "ca_state": ("B", 1),
    "retransmits": ("B", 2),
    "probes": ("B", 3),
    "backoff": ("B", 4),
    "options": ("B", 5),
    "rto": ("I", 8),
    "ato": ("I", 12),
    "snd_mss": ("I", 16),
    "rcv_mss": ("I", 20),
    "unacked": ("I", 24),
    "sacked": ("I", 28),
    "lost": ("I", 32),
    "retrans": ("I", 36),
    "pmtu": ("I", 60),
    "rtt": ("I", 68),
    "rttvar": ("I", 72),
    "snd_ssthresh": ("I", 76),
    "snd_cwnd": ("I", 80),
    "total_retrans": ("I", 100),
    "bytes_acked": ("Q", 120),
    "bytes_received": ("Q", 128),
    "notsent_bytes": ("I", 144),
}
"""Where struct tcp_info (linux/tcp.h) has what stories ask for: format and offset; times in us. It only grows at its
end."""


def tcp_info(fd: int) -> dict[str, int]:
    """getsockopt(TCP_INFO): what the kernel thinks of the connection; fields of INFO_FIELDS, as far as it has them."""
    raw = getsockopt_bytes(fd, "TCP_INFO", 256)
    return {
        name: struct.unpack_from("=" + form, raw, at)[0]
        for name, (form, at) in INFO_FIELDS.items()
        if at + struct.calcsize(form) <= len(raw)
    }


def so_error(fd: int) -> str:
    """getsockopt(SO_ERROR): the pending error by name (`ECONNREFUSED`), empty when there is none; reading clears it."""
    number = getsockopt(fd, "SO_ERROR")
    return errno.errorcode.get(number, str(number)) if number else ""


def _find(option: str) -> Option:
    try:
        return OPTIONS[option]
    except KeyError:
        raise KeyError(f"no option {option!r} among those of the stories: {', '.join(OPTIONS)}") from None


def _shown(option: str, raw: bytes) -> str:
    if option == "SO_LINGER" and len(raw) == 8:
        on, seconds = struct.unpack("=ii", raw)
        return f"{{onoff={on}, linger={seconds}}}"
    if len(raw) == 4:
        value: int = struct.unpack("=i", raw)[0]
        return errno.errorcode.get(value, str(value)) if option == "SO_ERROR" and value else str(value)
    if option == "TCP_CONGESTION":
        return raw.rstrip(b"\0").decode(errors="replace")
    return f"{len(raw)} bytes"
