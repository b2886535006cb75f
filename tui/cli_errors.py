"""How synfin ends: exit codes, and one clear sentence instead of a traceback.

| code | meaning |
|---|---|
| 0 | done |
| 1 | it began and failed: a step of a scenario went wrong, a check did not hold |
| 2 | the command, a name or a file is wrong |
| 3 | this machine or these rights do not allow it |
| 74 | what was to be written could not be (a full disk) |
| 130, 143 | ended by Ctrl-C, by SIGTERM |
"""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
USAGE: Final = 2
CANNOT: Final = 3
OUTPUT: Final = 74
INTERRUPTED: Final = 130
TERMINATED: Final = 143


class Trouble(Exception):
    """Ends the command with one sentence on standard error and an exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code
