"""`synfin verify`: claims about TCP put to the test on this machine, and what came of them."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
from platformdirs import user_data_dir

from scenarios.claims.claim import Claim
from scenarios.claims.decide import Decided, decide, every
from tui.cli_errors import OUTPUT, USAGE, Trouble
from tui.plain import plain

NARROWEST: Final = 60


def verify(ids: Sequence[str], form: str, *, kernel: bool, slow: bool, keep: str | None) -> None:
    """Decide claims and print them as they are decided; `form`: text, json or markdown. Raises Trouble."""
    claims = _chosen(ids)
    folder = Path(keep) if keep else Path(user_data_dir("synfin", appauthor=False)) / "claims"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise Trouble(f"the recordings cannot be kept in {folder}: {failure.strerror}", OUTPUT) from None
    if form == "markdown":
        click.echo("| id | claim | verdict | evidence | recordings |\n|---|---|---|---|---|")
    verdicts: Counter[str] = Counter()
    for one in decide(claims, folder, probes=kernel, slow=slow):
        verdicts[one.verdict.kind] += 1
        for line in {"json": _json, "markdown": _markdown}.get(form, _text)(one):
            click.echo(line)
    if form == "text":
        click.echo(f"\n{len(claims)} claims: " + ", ".join(f"{number} {kind}" for kind, number in verdicts.items()))


def _chosen(ids: Sequence[str]) -> list[Claim]:
    known = every()
    wrong = [each for each in ids if each.upper() not in known]
    if wrong:
        raise Trouble(f"there is no claim {wrong[0]!r}; they go from {min(known)} to {max(known)}", USAGE)
    return [known[each.upper()] for each in ids] or list(known.values())


def _text(one: Decided) -> Iterator[str]:
    width = max(shutil.get_terminal_size().columns, NARROWEST)
    indent = " " * 5
    yield from textwrap.wrap(f"{one.claim.id}  {one.claim.text}", width, subsequent_indent=indent)
    verdict = one.verdict
    said = f"{verdict.kind}: {verdict.correction}" if verdict.correction else verdict.kind
    yield from textwrap.wrap(plain(said), width, initial_indent=indent, subsequent_indent=indent)
    if verdict.evidence:
        yield from textwrap.wrap(plain(verdict.evidence), width, initial_indent=indent, subsequent_indent=indent)
    for path in one.recordings:
        yield f"{indent}synfin replay {_short(path)}"


def _json(one: Decided) -> Iterator[str]:
    row: dict[str, Any] = {
        "id": one.claim.id,
        "claim": one.claim.text,
        "verdict": one.verdict.kind,
        "correction": one.verdict.correction,
        "evidence": one.verdict.evidence,
        "scenarios": list(one.claim.plays),
        "recordings": list(one.recordings),
    }
    yield json.dumps(row)


def _markdown(one: Decided) -> Iterator[str]:
    verdict = f"**{one.verdict.kind}**" + (f": {one.verdict.correction}" if one.verdict.correction else "")
    names = ", ".join(Path(path).name for path in one.recordings)
    cells = (one.claim.id, one.claim.text, verdict, one.verdict.evidence, names)
    yield "| " + " | ".join(plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _short(path: str) -> str:
    home = str(Path.home())
    shown = "~" + path.removeprefix(home) if path.startswith(home + os.sep) else path
    return shown if " " not in shown else f"'{path}'"
