"""What a scenario said must be seen, and whether it was: told at the end of `synfin run`.

Beside events the verdicts go to standard error, which holds all that is about the run; with ``--check`` nothing else is
printed, and they go to standard output, as lines or as JSON. What is not seen although the evidence would show it makes
the command fail; what this evidence cannot tell does not.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final, TextIO

from scenarios.sights import Outcome, failed
from tui.cli_errors import FAILED, Trouble
from tui.plain import plain

MARKS: Final = {"seen": "\N{CHECK MARK}", "not seen": "\N{BALLOT X}", "cannot tell": "?"}
ASCII_MARKS: Final = {"seen": "+", "not seen": "x", "cannot tell": "?"}


def tell(outcomes: Sequence[Outcome], *, alone: bool, as_json: bool, ascii_only: bool) -> None:
    """Print what became of each check; ``alone``: on standard output, where nothing else is."""
    out = sys.stdout if alone else sys.stderr
    width = shutil.get_terminal_size().columns if out.isatty() else sys.maxsize
    for outcome in outcomes:
        if alone and as_json:
            print(json.dumps(asdict(outcome)), file=out)
        else:
            line = _line(outcome, ascii_only or not _has_marks(out))
            print("\n".join(textwrap.wrap(line, width, subsequent_indent="  ")), file=out)


def judge(outcomes: Sequence[Outcome]) -> None:
    """Raise Trouble when something was not seen that the evidence would show."""
    if missing := len(failed(outcomes)):
        raise Trouble(f"not seen: {missing} of the {len(outcomes)} things that this scenario shows", FAILED)


def _line(outcome: Outcome, ascii_only: bool) -> str:
    mark = (ASCII_MARKS if ascii_only else MARKS)[outcome.verdict]
    why = f": {plain(outcome.reason)}" if outcome.reason else ""
    return f"{mark} {plain(outcome.text)}{why}"


def _has_marks(out: TextIO) -> bool:
    try:
        "".join(MARKS.values()).encode(out.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
