"""An application that may be told to leave while its screen is still being put together.

Textual takes a screen apart on the way out and mounts nothing more on it, but its `on_mount` is run all the same: what
it looks for is not there. That is no fault of the program, and nobody is to read of it on a terminal just given back.
"""

from __future__ import annotations

from textual.app import App, ReturnType, ScreenStackError
from textual.css.query import NoMatches


class LeavingApp(App[ReturnType]):
    """Passes over a screen that is missing, or something on it, once the application is being left."""

    def _handle_exception(self, error: Exception) -> None:
        if not (self._exit and isinstance(error, NoMatches | ScreenStackError)):
            super()._handle_exception(error)
