"""`synfin verify`: claims about TCP put to the test on this machine, and what came of them."""

from __future__ import annotations

import json
import os
import re
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
INDENT: Final = " " * 5


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
    for one in decide(claims, folder, probes=kernel, slow=slow, notice=_without_probes):
        verdicts[one.verdict.kind] += 1
        for line in {"json": _json, "markdown": _markdown}.get(form, _text)(one):
            click.echo(line)
    if form == "text":
        click.echo(f"\n{len(claims)} claims: " + ", ".join(f"{number} {kind}" for kind, number in verdicts.items()))


def _without_probes(why: str) -> None:
    click.echo(f"synfin: {plain(why)}. Packets and tables decide what they can without", err=True)


def _chosen(ids: Sequence[str]) -> list[Claim]:
    known = every()
    named = {each: f"C{int(number[1]):02}" if (number := re.fullmatch(r"[Cc]?(\d+)", each)) else each for each in ids}
    wrong = [each for each, meant in named.items() if meant not in known]
    if wrong:
        raise Trouble(f"there is no claim {wrong[0]!r}; they go from {min(known)} to {max(known)}", USAGE)
    return [known[meant] for meant in named.values()] or list(known.values())


def list_claims(ids: Sequence[str]) -> None:
    """Print claims with what decides them, and decide nothing. Raises Trouble."""
    for each in _chosen(ids):
        by = ", ".join(each.plays) if each.plays else "loads, in several runs" if each.measured else "nothing yet"
        for line in (*_claim(each), *_wrapped(f"decided by {by}")):
            click.echo(line)


def _claim(one: Claim) -> list[str]:
    return textwrap.wrap(f"{one.id}  {one.text}", _width(), subsequent_indent=INDENT)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(plain(text), _width(), initial_indent=INDENT, subsequent_indent=INDENT)


def _width() -> int:
    return max(shutil.get_terminal_size().columns, NARROWEST)


def _text(one: Decided) -> Iterator[str]:
    yield from _claim(one.claim)
    verdict = one.verdict
    yield from _wrapped(f"{verdict.kind}: {verdict.correction}" if verdict.correction else verdict.kind)
    if verdict.evidence:
        yield from _wrapped(verdict.evidence)
    for path in one.recordings:
        yield f"{INDENT}synfin replay {_short(path)}"


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
