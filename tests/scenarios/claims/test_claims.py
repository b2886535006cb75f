"""Claims are decided by what happens: on the real kernel, and not where the evidence is missing or made otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from scenarios import registry
from scenarios.claims import decide as decide_module
from scenarios.claims.claim import CLAIMS, Claim, Verdict, claim, confirmed, refuted
from scenarios.claims.decide import decide, every
from scenarios.performance import perform
from scenarios.sights import Seen
from scenarios.stage import Stage, StageError
from tracer.kernel.source import KernelError
from tracer.recording.source import RecordingSource
from tracer.session import Session
from tracer.timeline import Timeline
from tui.cli import synfin

QUICK = ("C03", "C05", "C08", "C18", "C22", "C28", "C48")
"""Claims of quick plays, of every kind of verdict, for a test that plays them for real."""


def replayed(path: Path) -> Timeline:
    """A recording's timeline."""
    with path.open("rb") as file:
        session = Session([RecordingSource(file)])
        while session.pump(final=True):
            pass
    return session.timeline


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


@pytest.mark.kernel(own_network=True)
def test_decided_by_the_kernel(tmp_path: Path) -> None:
    known = every()
    decided = {one.claim.id: one for one in decide([known[number] for number in QUICK], tmp_path)}
    kinds = {number: one.verdict.kind for number, one in decided.items()}
    assert kinds == {
        "C03": "confirmed", "C05": "refuted", "C08": "refined", "C18": "confirmed", "C22": "refuted",
        "C28": "confirmed", "C48": "confirmed",
    }  # fmt: skip
    for one in decided.values():
        assert one.verdict.evidence and len(one.recordings) == len(one.claim.plays)
        again = one.claim.decide(*(Seen(replayed(Path(path))) for path in one.recordings))
        assert again == one.verdict, "the recordings to look at show what was decided"
        assert (one.verdict.kind in ("refuted", "refined")) == bool(one.verdict.correction)


@pytest.mark.kernel(own_network=True)
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


def test_what_packets_and_tables_cannot_tell_is_not_refuted() -> None:
    """States worked out from packets come with the packet, and a packet is captured before it is dropped."""
    known = every()
    decided = {one.claim.id: one.verdict for one in decide([known["C07"], known["C21"]], None, probes=False)}
    assert decided["C07"].kind in ("undecided", "refined"), decided["C07"]
    assert decided["C21"].kind in ("undecided", "confirmed"), decided["C21"]


def performances(monkeypatch: pytest.MonkeyPatch, *complaints: list[str]) -> list[str]:
    """From now on plays go as told or not, one after another; the list grows with each."""
    played: list[str] = []
    went = iter(complaints)

    class Made:
        timeline = Timeline()

        def __init__(self) -> None:
            self._wrong = next(went)

        def complaints(self) -> list[str]:
            return self._wrong

    def performed(stage: Stage, **_: object) -> Made:
        played.append(stage.scenario.name)
        return Made()

    monkeypatch.setattr("scenarios.claims.decide.perform", performed)
    return played


def test_a_play_that_went_otherwise_gets_one_more_performance(monkeypatch: pytest.MonkeyPatch) -> None:
    yes = Claim("C00", "anything", ("refused",), lambda seen: confirmed("it was asked"))
    played = performances(monkeypatch, ["held up"], [])
    assert [one.verdict.kind for one in decide([yes], None)] == ["confirmed"] and len(played) == 2
    played = performances(monkeypatch, ["held up"], ["again"], [])
    (one,) = decide([yes], None)
    assert (one.verdict.kind, len(played)) == ("undecided", 2) and "did not go as told: again" in one.verdict.evidence


def test_where_no_probe_may_look_plays_are_watched_without_and_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    played = performances(monkeypatch, [], [])
    performed = vars(decide_module)["perform"]

    def refuses(stage: Stage, *, probes: bool, **more: object) -> object:
        if probes:
            raise KernelError("kernel probes need CAP_BPF\nand more")
        result: object = performed(stage, **more)
        return result

    monkeypatch.setattr("scenarios.claims.decide.perform", refuses)
    told: list[str] = []
    claims = [Claim("C00", "anything", (name,), lambda seen: confirmed("seen")) for name in ("refused", "listen")]
    assert [one.verdict.kind for one in decide(claims, None, notice=told.append)] == ["confirmed", "confirmed"]
    assert (played, told) == (["refused", "listen"], ["kernel probes need CAP_BPF"])


def test_what_a_table_told_now_and_then_refutes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubting(verdict: Verdict) -> Claim:
        def ask(seen: Seen) -> Verdict:
            seen.basis.doubt = "it was sampled"
            return verdict

        return Claim("C00", "anything", ("refused",), ask)

    performances(monkeypatch, [], [])
    (no,) = decide([doubting(refuted("it is otherwise", "not there"))], None)
    assert no.verdict == Verdict("undecided", "not there; but it was sampled")
    (yes,) = decide([doubting(confirmed("there"))], None)
    assert yes.verdict == confirmed("there (it was sampled)")


def test_why_a_play_could_not_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(stage: Stage, **_: object) -> None:
        raise StageError("no namespace\nand a long story")

    monkeypatch.setattr("scenarios.claims.decide.perform", refuses)
    (one,) = decide([Claim("C00", "anything", ("refused",), lambda seen: confirmed("never"))], None)
    assert one.verdict.evidence == "refused could not be played: no namespace"


def test_a_claim_whose_play_is_not_there_is_undecided() -> None:
    (one,) = decide([Claim("C00", "anything", ("no-such-play",), lambda seen: confirmed("never asked"))], None)
    assert one.verdict == Verdict("undecided", "no-such-play could not be played: there is no such scenario here")


def test_slow_ones_are_left_out_when_asked() -> None:
    (one,) = decide([every()["C23"]], None, slow=False)
    assert one.verdict.kind == "undecided" and "left out" in one.verdict.evidence


@pytest.mark.kernel(own_network=True)
def test_command(tmp_path: Path) -> None:
    ran = CliRunner().invoke(synfin, ["verify", "c08", "C03", "--json", "--keep", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(row["id"], row["verdict"]) for row in rows] == [("C08", "refined"), ("C03", "confirmed")]
    assert all(Path(path).exists() for row in rows for path in row["recordings"])
    table = CliRunner().invoke(synfin, ["verify", "C08", "--markdown", "--keep", str(tmp_path)]).stdout.splitlines()
    assert table[0].startswith("| id |") and table[2].startswith("| C08 | The accept queue holds backlog connections")


def test_claims_are_listed_without_deciding_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.claims.decide.perform", None)
    ran = CliRunner().invoke(synfin, ["verify", "--list", "8", "c03", "C16"], env={"COLUMNS": "80"})
    assert ran.stdout.splitlines() == [
        "C08  The accept queue holds backlog connections",
        "     decided by accept-queue",
        "C03  The server's program takes no part in the handshake",
        "     decided by handshake",
        "C16  A parked task costs no thread",
        "     decided by loads, in several runs",
    ]


def test_unknown_claim_is_named() -> None:
    from tui.cli_errors import Trouble

    ran = CliRunner().invoke(synfin, ["verify", "C99"])
    assert isinstance(ran.exception, Trouble) and "no claim 'C99'" in str(ran.exception)


def test_refuted_needs_a_correction() -> None:
    assert refuted("it is otherwise", "seen").correction == "it is otherwise"
