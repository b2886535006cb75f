"""What the kernel keeps for a connection: the socket's own memory, and what lies in its queues, idle and busy."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from scenarios.load.measure import buffers

MANY: Final = 50
OBJECTS: Final = {"struct tcp_sock": "tcp_sock", "struct socket and inode": "socket_alloc", "struct file": "file"}
"""What a connection with a descriptor consists of, by the kernel's own description of itself (BTF)."""


def unread(data: bytes | None) -> float:
    """Mean bytes in the queues of a server's socket whose client has sent so much and is not read from; None: all that
    goes."""
    with contextlib.ExitStack() as undo:
        door = undo.enter_context(socket.create_server(("127.0.0.1", 0), backlog=MANY))
        for _ in range(MANY):
            client = undo.enter_context(socket.create_connection(door.getsockname()))
            undo.enter_context(door.accept()[0])
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                if data is not None:
                    client.sendall(data)
                while data is None:
                    client.send(bytes(65536))
        return buffers(door.getsockname()[1]) or 0.0


def objects() -> dict[str, int]:
    """Bytes of each object of a connection. Raises tracer.kernel.btf.BtfError."""
    from tracer.kernel.btf import Btf

    types = Btf.of_kernel()
    sizes = {words: types.size(name) for words, name in OBJECTS.items()}
    return {words: size for words, size in sizes.items() if size}
