"""The system calls of the stories, one Python function each, and not one system call more.

Python's own socket objects are kinder than a story can bear: `accept` is followed by a getsockname, a time-out turns
every recv into poll and recv. Here a socket is what it is to the kernel, a file descriptor, and every function makes
just the call it is named after (through the C library) or raises OSError with the kernel's errno. A few helpers at
whose end stands no manual page (`send_all`, `recv_to_end`, `begin_connect`, `fails`) only repeat or judge such calls.
"""

from scenarios.calls.core import Call, c_library, fails, report_to
from scenarios.calls.options import (
    OPTIONS,
    getsockopt,
    getsockopt_bytes,
    linger,
    setsockopt,
    so_error,
    tcp_info,
    timeval,
)
from scenarios.calls.processes import SIGKILL, SIGTERM, dup, dup2, fork, kill, limit_descriptors, set_nonblocking
from scenarios.calls.readiness import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLERR,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLHUP,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLPRI,
    EPOLLRDHUP,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDHUP,
    epoll_create,
    epoll_ctl,
    epoll_wait,
    event_type,
    flag_words,
    poll,
    select,
)
from scenarios.calls.sockets import (
    AF_INET,
    AF_INET6,
    MSG_DONTWAIT,
    MSG_FASTOPEN,
    MSG_MORE,
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    MSG_WAITALL,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    Address,
    accept,
    begin_connect,
    bind,
    close,
    connect,
    getpeername,
    getsockname,
    listen,
    recv,
    recv_exactly,
    recv_to_end,
    send,
    send_all,
    sendto,
    shutdown,
    socket,
    use_family,
)

__all__ = [
    "AF_INET", "AF_INET6", "EPOLLERR", "EPOLLET", "EPOLLEXCLUSIVE", "EPOLLHUP", "EPOLLIN", "EPOLLONESHOT", "EPOLLOUT",
    "EPOLLPRI", "EPOLLRDHUP", "EPOLL_CTL_ADD", "EPOLL_CTL_DEL", "EPOLL_CTL_MOD", "MSG_DONTWAIT", "MSG_FASTOPEN",
    "MSG_MORE", "MSG_NOSIGNAL", "MSG_OOB", "MSG_PEEK", "MSG_WAITALL", "OPTIONS", "POLLERR", "POLLHUP", "POLLIN",
    "POLLOUT", "POLLPRI", "POLLRDHUP", "SHUT_RD", "SHUT_RDWR", "SHUT_WR", "SIGKILL", "SIGTERM", "SOCK_CLOEXEC",
    "SOCK_NONBLOCK", "SOCK_STREAM", "Address", "Call", "accept", "begin_connect", "bind", "close", "connect", "dup",
    "dup2", "epoll_create", "epoll_ctl", "epoll_wait", "fails", "flag_words", "fork", "getpeername", "getsockname",
    "getsockopt", "getsockopt_bytes", "kill", "limit_descriptors", "linger", "listen", "poll", "prepare", "recv",
    "recv_exactly", "recv_to_end", "report_to", "select", "send", "send_all", "sendto", "set_nonblocking",
    "setsockopt", "shutdown", "so_error", "socket", "tcp_info", "timeval", "use_family",
]  # fmt: skip


def prepare() -> None:
    """Do what would otherwise be done, with system calls of its own, at the first call of a story."""
    c_library()
    event_type()
