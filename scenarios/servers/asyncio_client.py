"""A client on asyncio's streams: it dials, reads what the server has to say to its end, and closes.

`python -m scenarios.servers.asyncio_client HOST PORT`; it prints what became of it.
"""

from __future__ import annotations

import asyncio
import sys


async def dial(host: str, port: int) -> None:
    """One connection, from its handshake to its end."""
    reader, writer = await asyncio.open_connection(host, port)
    print("connected from port", writer.get_extra_info("sockname")[1], flush=True)
    print(await reader.read(), flush=True)
    writer.close()
    await writer.wait_closed()


if __name__ == "__main__":
    asyncio.run(dial(sys.argv[1], int(sys.argv[2])))
