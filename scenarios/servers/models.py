"""The server models by name: which file each is, and in one line what it is."""

from __future__ import annotations

from typing import Final, NamedTuple


class Model(NamedTuple):
    """One row of the table."""

    module: str
    """Below scenarios.servers."""
    what: str
    keeps: str
    """What waits for a silent client: a thread, a task, or nothing but memory."""
    package: str = ""
    """What it needs besides Python."""


MODELS: Final[dict[str, Model]] = {
    "threads": Model("threads", "a thread per connection", "a thread"),
    "pool": Model("pool", "a thread pool behind a bounded FIFO", "a thread of the pool, or a place in its queue"),
    "select": Model("select_loop", "an event loop on select()", "memory"),
    "poll": Model("poll_loop", "an event loop on poll()", "memory"),
    "epoll-level": Model("epoll_level", "an event loop on epoll, level-triggered", "memory"),
    "epoll-edge": Model("epoll_edge", "an event loop on epoll, edge-triggered", "memory"),
    "netpoller": Model("netpoll_one", "a netpoller, one task per connection", "a task", "greenlet"),
    "netpoller-two": Model(
        "netpoll_two", "a netpoller, a reading and a writing task per connection", "two tasks", "greenlet"
    ),
    "dispatcher": Model("dispatcher", "an event loop that dispatches time slices to a bounded pool", "memory"),
    "asyncio": Model("asyncio_streams", "asyncio's streams", "a task"),
    "uvloop": Model("uvloop_streams", "asyncio's streams over uvloop", "a task", "uvloop"),
    "reuseport": Model("reuseport", "SO_REUSEPORT workers, an epoll loop each", "memory"),
}
