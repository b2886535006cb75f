"""Calls on sockets: from socket(2) to close(2).

The family of a new socket is the play's (`--family`): AF_INET, AF_INET6, or for `mapped` AF_INET6 on the side that
listens, so that an IPv4 client is seen there as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). The form of an address,
sockaddr_in or sockaddr_in6, is told from its text.
"""

from __future__ import annotations

import ctypes
import socket as _socket
import struct
from typing import Final

from scenarios.calls.core import c_library, make, short, words

AF_INET: Final = 2
AF_INET6: Final = 10
SOCK_STREAM: Final = 1
SOCK_NONBLOCK: Final = 0o4000
SOCK_CLOEXEC: Final = 0o2000000
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
MSG_OOB: Final = 0x1
MSG_PEEK: Final = 0x2
MSG_DONTWAIT: Final = 0x40
MSG_WAITALL: Final = 0x100
MSG_NOSIGNAL: Final = 0x4000
MSG_MORE: Final = 0x8000
MSG_FASTOPEN: Final = 0x20000000
"""Values of include/uapi and of most architectures; written out for scripts are also read where there are none."""

_FAMILY_NAMES: Final = {AF_INET: "AF_INET", AF_INET6: "AF_INET6"}
_SHUT_NAMES: Final = {SHUT_RD: "SHUT_RD", SHUT_WR: "SHUT_WR", SHUT_RDWR: "SHUT_RDWR"}
_MSG_NAMES: Final = {
    MSG_OOB: "MSG_OOB",
    MSG_PEEK: "MSG_PEEK",
    MSG_DONTWAIT: "MSG_DONTWAIT",
    MSG_WAITALL: "MSG_WAITALL",
    MSG_NOSIGNAL: "MSG_NOSIGNAL",
    MSG_MORE: "MSG_MORE",
    MSG_FASTOPEN: "MSG_FASTOPEN",
}

Address = tuple[str, int]


class _Default:
    family: int = AF_INET


def use_family(family: int) -> None:
    """What socket() makes from now on, unless it is told: AF_INET or AF_INET6."""
    _Default.family = family


def text_of(address: Address) -> str:
    """`127.0.0.1:80`, `[::1]:80`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def sockaddr(address: Address) -> bytes:
    """struct sockaddr_in or sockaddr_in6, by the form of the address."""
    host, port = address
    if ":" in host:
        return struct.pack("=H", AF_INET6) + struct.pack("!HI", port, 0) + _socket.inet_pton(10, host) + bytes(4)
    return struct.pack("=H", AF_INET) + struct.pack("!H", port) + _socket.inet_aton(host) + bytes(8)


def _address(raw: bytes) -> Address:
    family = struct.unpack_from("=H", raw)[0]
    port = struct.unpack_from("!H", raw, 2)[0]
    if family == AF_INET6:
        return _socket.inet_ntop(_socket.AF_INET6, raw[8:24]), port
    return _socket.inet_ntop(_socket.AF_INET, raw[4:8]), port


def socket(flags: int = 0, family: int | None = None) -> int:
    """socket(FAMILY, SOCK_STREAM): a descriptor for an endpoint that is nowhere yet, state CLOSE. Close-on-exec."""
    family = _Default.family if family is None else family
    text = f"{_FAMILY_NAMES.get(family, family)}, SOCK_STREAM" + ("|SOCK_NONBLOCK" if flags & SOCK_NONBLOCK else "")
    return make(
        "socket",
        text,
        -1,
        (family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0),
        lambda: c_library().socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0),
    )


def bind(fd: int, address: Address) -> None:
    """bind(2): give the endpoint its local address and port (port 0: the kernel chooses)."""
    raw = sockaddr(address)
    make("bind", f"{fd}, {text_of(address)}", fd, (fd, 0, len(raw)), lambda: c_library().bind(fd, raw, len(raw)))


def listen(fd: int, backlog: int) -> None:
    """listen(2): state LISTEN; the SYN queue and the accept queue come to exist, limited by the backlog."""
    make("listen", f"{fd}, {backlog}", fd, (fd, backlog), lambda: c_library().listen(fd, backlog))


def accept(fd: int, flags: int = 0) -> int:
    """accept4(2) without asking for the peer's address: take the first connection out of the accept queue."""
    text = f"{fd}, NULL, NULL, {'SOCK_NONBLOCK' if flags & SOCK_NONBLOCK else '0'}"
    return make(
        "accept4",
        text,
        fd,
        (fd, 0, 0, SOCK_CLOEXEC | flags),
        lambda: c_library().accept4(fd, None, None, SOCK_CLOEXEC | flags),
    )


def connect(fd: int, address: Address) -> None:
    """connect(2): send the SYN; a blocking socket sleeps until the handshake is over or has failed.

    A non-blocking one raises BlockingIOError (EINPROGRESS): see `begin_connect`.
    """
    raw = sockaddr(address)
    make("connect", f"{fd}, {text_of(address)}", fd, (fd, 0, len(raw)), lambda: c_library().connect(fd, raw, len(raw)))


def begin_connect(fd: int, address: Address) -> bool:
    """connect(2) of a non-blocking socket: True when it is under way (EINPROGRESS), False when it was done at once."""
    try:
        connect(fd, address)
    except BlockingIOError:
        return True
    return False


def send(fd: int, data: bytes, flags: int = 0) -> int:
    """send(2): copy into the send buffer; returns how many bytes were taken."""
    # No MSG_NOSIGNAL: Python ignores SIGPIPE, so a broken pipe comes back as EPIPE.
    text = f"{fd}, {short(data)}, {len(data)}" + (f", {words(flags, _MSG_NAMES)}" if flags else "")
    return make("send", text, fd, (fd, 0, len(data), flags), lambda: c_library().send(fd, data, len(data), flags))


def sendto(fd: int, data: bytes, flags: int, address: Address) -> int:
    """sendto(2): with MSG_FASTOPEN connect and send in one, data in the SYN (RFC 7413)."""
    raw = sockaddr(address)
    text = f"{fd}, {short(data)}, {len(data)}, {words(flags, _MSG_NAMES)}, {text_of(address)}"
    call = lambda: c_library().sendto(fd, data, len(data), flags, raw, len(raw))  # noqa: E731
    return make("sendto", text, fd, (fd, 0, len(data), flags), call)


def recv(fd: int, size: int, flags: int = 0) -> bytes:
    """recv(2): take bytes out of the receive buffer; empty bytes mean that the peer's FIN has been reached."""
    buffer = ctypes.create_string_buffer(size)
    count = make(
        "recv",
        f"{fd}, {size}" + (f", {words(flags, _MSG_NAMES)}" if flags else ""),
        fd,
        (fd, 0, size, flags),
        lambda: c_library().recv(fd, buffer, size, flags),
        lambda n: short(buffer.raw[:n]) if n else "end of file",
    )
    return buffer.raw[:count]


def send_all(fd: int, data: bytes) -> None:
    """send(2) again and again until all is in the send buffer; a blocking socket sleeps while it is full."""
    while data:
        data = data[send(fd, data) :]


def recv_exactly(fd: int, size: int) -> bytes:
    """recv(2) again and again until so many bytes have come. Raises EOFError when the peer ends before."""
    got = b""
    while len(got) < size:
        chunk = recv(fd, size - len(got))
        if not chunk:
            raise EOFError(f"the end came after {len(got)} of {size} bytes")
        got += chunk
    return got


def recv_to_end(fd: int, size: int = 65536) -> bytes:
    """recv(2) again and again until the peer's FIN."""
    got = b""
    while chunk := recv(fd, size):
        got += chunk
    return got


def shutdown(fd: int, how: int) -> None:
    """shutdown(2): close one direction of the connection (SHUT_WR sends FIN) and keep the descriptor."""
    make("shutdown", f"{fd}, {_SHUT_NAMES[how]}", fd, (fd, how), lambda: c_library().shutdown(fd, how))


def getsockname(fd: int) -> Address:
    """getsockname(2): the local address and port, which the kernel may have chosen."""
    return _name("getsockname", fd)


def getpeername(fd: int) -> Address:
    """getpeername(2): the other end's. Raises OSError (ENOTCONN)."""
    return _name("getpeername", fd)


def _name(call: str, fd: int) -> Address:
    raw, size = ctypes.create_string_buffer(28), ctypes.c_uint(28)
    function = getattr(c_library(), call)
    make(
        call,
        f"{fd}",
        fd,
        (fd, 0, 0),
        lambda: function(fd, raw, ctypes.byref(size)),
        lambda _: text_of(_address(raw.raw)),
    )
    return _address(raw.raw)


def close(fd: int) -> None:
    """close(2): free the number; the kernel's socket may live on."""
    make("close", f"{fd}", fd, (fd,), lambda: c_library().close(fd))
