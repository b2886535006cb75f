"""The netpoller's own account of itself: parking, waking and every change of its table, told to a timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from scenarios.servers.netpoller import Netpoller, PollDesc, Task
from scenarios.servers.telling import Teller

NAMES: Final = {"parked": "waiting"}
REASONS: Final = {"r": "IO wait, to read", "w": "IO wait, to write"}


def observer(poller: Netpoller) -> Callable[..., None]:
    """What a netpoller's `observer` is to be, so that it is told of on standard output."""
    teller = Teller("netpoller")

    def here() -> int:
        return poller.current.number if poller.current is not None else 0

    def task(task: Task, state: str, fd: int, mode: str) -> None:
        name = task.name.rpartition("-")[0] if state == "new" else ""
        teller.task(task.number, NAMES.get(state, state), by=here(), why=REASONS.get(mode, mode), name=name, fd=fd)

    def table(described: PollDesc, why: str) -> None:
        teller.table(described.fd, place(described.rg), place(described.wg), why, task=here())

    tell: dict[str, Callable[..., None]] = {"task": task, "table": table, "idle": teller.flush}
    return lambda what, *about: tell[what](*about)


def place(who: Task | Literal["ready"] | None) -> str:
    """A place of a poll descriptor in a word."""
    return "nil" if who is None else str(who.number) if isinstance(who, Task) else who
