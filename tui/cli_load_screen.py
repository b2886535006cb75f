"""Loads on a screen: a thread runs them and fills the feed, the screen draws it; leaving the screen ends the loads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from scenarios.load.compare import Done, compare
from scenarios.load.experiments import Case
from scenarios.load.monitor import Monitor
from scenarios.load.report import LoadFailed, Moment
from tui.cli_signals import show
from tui.load import LoadApp
from tui.load_feed import LoadFeed

if TYPE_CHECKING:
    from tui.cli_load import Request


class _Left(Exception):
    """The screen was left."""


def on_screen(request: Request, monitor: Monitor | None) -> list[Done]:
    """Show the loads until they are over and the screen is left; those that came to their end. Raises LoadFailed."""
    title = f"{request.title}   {monitor.address}" if monitor is not None else request.title
    feed = LoadFeed(title, tuple(case.label for case in request.cases), request.rows, request.runs)
    done: list[Done] = []
    left = threading.Event()

    def watch(case: Case, number: int, moment: Moment) -> None:
        if left.is_set():
            raise _Left
        feed.saw(case.label, number, moment)
        if monitor is not None:
            monitor.see(case.label, moment)

    def run_all() -> None:
        try:
            for one in compare(request.cases, request.runs, watch):
                done.append(one)
                feed.ended(one.case.label, one.figures())
        except LoadFailed as failure:
            feed.failure = str(failure)
        except _Left:
            pass
        feed.over = True

    runner = threading.Thread(target=run_all, name="load")
    runner.start()
    try:
        show(LoadApp(feed, ascii_only=request.ascii_only))
    finally:
        left.set()
        runner.join()
    if feed.failure:
        raise LoadFailed(feed.failure)
    return done
