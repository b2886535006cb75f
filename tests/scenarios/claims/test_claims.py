"""Claims are decided by what happens: on the real kernel, and not where the evidence is missing or made otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from scenarios import registry
from scenarios.claims.claim import CLAIMS, Claim, Verdict, claim, confirmed, refuted
from scenarios.claims.decide import decide, every
from scenarios.performance import perform
from scenarios.sights import Seen
from scenarios.stage import Stage
from tui.cli import synfin

QUICK = ("C03", "C05", "C08", "C18", "C22", "C28", "C48")
"""Claims of quick plays, of every kind of verdict, for a test that plays them for real."""


def test_ids_are_in_order_and_plays_exist() -> None:
    claims = every()
    assert list(claims) == sorted(claims) and len(claims) >= 25
    for each in claims.values():
        assert each.text and each.id[0] == "C"
        assert all(name in registry.names() for name in each.plays), each.id


def test_an_id_is_taken_once() -> None:
    taken = next(iter(every()))
    with pytest.raises(ValueError, match="twice"):
        claim(taken, "again")(lambda: confirmed(""))
    assert CLAIMS[taken].text != "again"


@pytest.mark.kernel
def test_decided_by_the_kernel(tmp_path: Path) -> None:
    known = every()
    decided = {one.claim.id: one for one in decide([known[number] for number in QUICK], tmp_path)}
    kinds = {number: one.verdict.kind for number, one in decided.items()}
    assert kinds == {
        "C03": "confirmed", "C05": "refuted", "C08": "refined", "C18": "confirmed", "C22": "refuted",
        "C28": "confirmed", "C48": "confirmed",
    }  # fmt: skip
    for one in decided.values():
        assert one.verdict.evidence and Path(one.recording).stat().st_size > 1000
        assert (one.verdict.kind in ("refuted", "refined")) == bool(one.verdict.correction)


@pytest.mark.kernel
def test_a_verdict_follows_the_evidence() -> None:
    """The same functions, shown a play in which it is otherwise: what is confirmed there must not be confirmed here."""
    known = every()
    first = Seen(perform(Stage.of("active-close")).timeline)
    both = Seen(perform(Stage.of("simultaneous-close")).timeline)
    assert known["C25"].decide(first, both).kind == "refined"
    assert known["C25"].decide(first, first).kind == "confirmed", "nobody closed at the same time"
    assert known["C25"].decide(both, both).kind == "refuted", "two sides had TIME_WAIT where one was claimed"


def test_without_probes_it_says_what_is_missing(tmp_path: Path) -> None:
    (one,) = decide([every()["C05"]], None, probes=False)
    assert one.verdict.kind == "undecided"
    assert "probes" in one.verdict.evidence or "could not be played" in one.verdict.evidence


def test_a_claim_whose_play_is_not_there_is_undecided() -> None:
    (one,) = decide([Claim("C00", "anything", ("no-such-play",), lambda seen: confirmed("never asked"))], None)
    assert one.verdict == Verdict("undecided", "no-such-play could not be played: there is no such scenario here")


def test_slow_ones_are_left_out_when_asked() -> None:
    (one,) = decide([every()["C23"]], None, slow=False)
    assert one.verdict.kind == "undecided" and "left out" in one.verdict.evidence


@pytest.mark.kernel
def test_command(tmp_path: Path) -> None:
    ran = CliRunner().invoke(synfin, ["verify", "c08", "C03", "--json", "--keep", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(row["id"], row["verdict"]) for row in rows] == [("C08", "refined"), ("C03", "confirmed")]
    assert all(Path(row["recording"]).exists() for row in rows)
    table = CliRunner().invoke(synfin, ["verify", "C08", "--markdown", "--keep", str(tmp_path)]).stdout.splitlines()
    assert table[0].startswith("| id |") and table[2].startswith("| C08 | The accept queue holds backlog connections")


def test_unknown_claim_is_named() -> None:
    from tui.cli_errors import Trouble

    ran = CliRunner().invoke(synfin, ["verify", "C99"])
    assert isinstance(ran.exception, Trouble) and "no claim 'C99'" in str(ran.exception)


def test_refuted_needs_a_correction() -> None:
    assert refuted("it is otherwise", "seen").correction == "it is otherwise"
