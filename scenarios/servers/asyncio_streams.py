"""asyncio: coroutines over Python's own event loop, written with its streams.

How it works. Each client is served by a coroutine; `await` is where it may be suspended. Below it is an event loop on
epoll (level-triggered), which reads from the socket as soon as something arrives, keeps it in the stream's buffer, and
wakes the coroutine through a future. drain() waits when the transport's write buffer is above its mark.

What it costs. A task, a transport and two stream objects for each connection, some ten kilobytes; several Python calls
between the arrival of a byte and the line that asked for it.

When to use it. When the rest of the program is asyncio too: it is the common ground of Python's network libraries.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

from scenarios.servers.asyncio_told import follow
from scenarios.servers.service import LENGTH, MAX_MESSAGE, OUT_OF_DESCRIPTORS, RESET, ProtocolError, Service


async def message(service: Service, reader: asyncio.StreamReader) -> bytes:
    """The next message. Raises IncompleteReadError at the end of input, ProtocolError."""
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > MAX_MESSAGE:
        raise ProtocolError(f"a message of {length} bytes was announced")
    return await reader.readexactly(length)


async def serve(service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One client, from its first message to its last."""
    deadline = service.options.deadline or None
    # A socket object of our own for the transport's descriptor (uvloop's stand-in lacks shutdown).
    connection = socket.socket(fileno=writer.get_extra_info("socket").fileno())
    service.welcome(connection)
    service.counters.add(tasks=1)
    try:
        while not service.stopping:  # who always has another message would never come to its end
            async with asyncio.timeout(deadline):
                payload = await message(service, reader)
            if service.options.work:
                await asyncio.sleep(service.options.work)
            writer.write(service.answered(payload))
            await writer.drain()
    except TimeoutError:
        service.counters.add(timeouts=1)
    except asyncio.IncompleteReadError:
        pass  # the client has finished
    except (OSError, ProtocolError):
        service.counters.add(errors=1)
    except asyncio.CancelledError:  # the grace is over
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        service.cut_off += 1
        raise
    finally:
        service.connections.discard(connection)
        connection.detach()  # the descriptor is the transport's to close
        service.counters.add(tasks=-1, closed=1)
        writer.close()


def complain(service: Service, context: dict[str, Any]) -> None:
    """Out of descriptors, asyncio leaves the client in the queue and looks again after a second."""
    failure = context.get("exception")
    if isinstance(failure, OSError) and failure.errno in OUT_OF_DESCRIPTORS:
        service.counters.add(emfile=1)


async def run(service: Service) -> None:
    """Serve until told to stop."""
    loop = asyncio.get_running_loop()
    if service.options.report:
        follow(loop)
    loop.set_exception_handler(lambda _, context: complain(service, context))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    options = service.options
    server = await asyncio.start_server(
        lambda reader, writer: serve(service, reader, writer), sock=service.listener, limit=options.buffer,
        backlog=options.backlog,
    )  # fmt: skip
    await stop.wait()
    server.close()
    service.stopping = True
    for connection in tuple(service.connections):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)
    over = time.monotonic() + options.grace
    while service.connections and time.monotonic() < over:
        await asyncio.sleep(0.01)


def main(runner: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run, story: str = __doc__) -> None:
    """Serve until told to stop, with a loop of the caller's choice."""
    service = Service(story, blocking=False)
    runner(run(service))
    service.farewell()


if __name__ == "__main__":
    main()
