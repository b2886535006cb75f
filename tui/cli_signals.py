"""Ctrl-C, SIGTERM and SIGHUP, at any moment: the command ends by its usual way out, so that nothing is left behind.

A signal becomes an exception in the main thread, and every `finally` runs; once only, for a second Ctrl-C must not cut
taking down short. While a screen is on, its loop takes the signal and leaves as it does for `q`: an exception in the
middle of a message would be drawn as a fault of the program, on a terminal that is not restored.
"""

from __future__ import annotations

import contextlib
import signal
from types import FrameType
from typing import Final, Protocol, TypeVar

from tui.cli_errors import INTERRUPTED, TERMINATED

NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")

_came: list[int] = []
"""Signals that came to end this process."""
_quiet: list[bool] = []
"""Not empty once the end has begun."""
_ours: list[int] = []
"""Signals that `catch` has taken over."""

Result = TypeVar("Result", covariant=True)


class Screen(Protocol[Result]):
    """A Textual application, as far as it matters here."""

    async def run_async(self) -> Result:
        """Show it until it is left."""
        ...

    def exit(self) -> None:
        """Leave it."""
        ...


def catch() -> None:
    """From now on a signal ends the command in order. What was ignored from the beginning (nohup) stays ignored."""
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
            _ours.append(number)


def _end(number: int, frame: FrameType | None) -> None:
    if _quiet:
        return
    quiet()
    _came.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(TERMINATED)


def quiet() -> None:
    """The end has begun: from now on signals are passed over, so that taking down is not cut short itself."""
    # Not by SIG_IGN: a second signal that is under way already would make Python complain of a race.
    _quiet.append(True)


def ended() -> tuple[int, str] | None:
    """Exit code and a word for the signal that ended the command; None when none did."""
    if not _came:
        return None
    return (INTERRUPTED, "interrupted") if _came[0] == signal.SIGINT else (TERMINATED, "terminated")


def show(screen: Screen[Result]) -> Result:
    """Run a screen until it is left, or a signal came."""
    import asyncio  # late: commands without a screen do without its 20 ms

    if _came:  # and what it raised was swallowed, as by a callback: there is no screen to begin
        raise KeyboardInterrupt if _came[0] == signal.SIGINT else SystemExit(TERMINATED)
    return asyncio.run(_show(screen))


async def _show(screen: Screen[Result]) -> Result:
    import asyncio

    from tui.interpreter import prompt

    loop = asyncio.get_running_loop()

    def leave(number: int) -> None:
        quiet()
        _came.append(number)
        screen.exit()

    with contextlib.suppress(NotImplementedError):  # not on Windows
        for number in _ours:
            loop.add_signal_handler(number, leave, number)
    try:
        with prompt():
            return await screen.run_async()
    finally:
        for number in _ours:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, _end)
