"""Go programs of plays: built once and kept, and a sentence where that cannot be. Also what "at rest" means."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from scenarios import go_programs, procfs
from scenarios.claims.claim import Claim, confirmed
from scenarios.claims.decide import decide, every
from scenarios.go_programs import GoProgramMissing, built
from scenarios.stage import ProgramMissing, Stage
from tui.cli import synfin
from tui.cli_errors import CANNOT, Trouble


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache folder of this test."""
    monkeypatch.setattr(go_programs, "user_cache_dir", lambda *_, **__: str(tmp_path))
    return tmp_path / "go"


@pytest.fixture
def without_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which there is no Go."""
    monkeypatch.setattr("scenarios.go_programs.shutil.which", lambda name: None)


def test_without_go_the_play_says_what_is_missing_and_what_to_do(without_go: None) -> None:
    with pytest.raises(ProgramMissing, match=r"go-echo cannot be played: there is no go .*: install it"):
        Stage.of("go-echo").open()
    with pytest.raises(Trouble, match=r"install it \(Debian: apt install golang-go\)") as trouble:
        CliRunner().invoke(synfin, ["run", "go-echo", "--text"], catch_exceptions=False)
    assert trouble.value.code == CANNOT


def test_without_go_its_claims_are_not_run(without_go: None) -> None:
    known = every()
    for one in decide([known[number] for number in ("C11", "C17", "C50")], None):
        assert one.verdict.kind == "not run" and "there is no go" in one.verdict.evidence


@pytest.mark.kernel(own_network=True)
def test_without_go_the_others_decide_where_it_comes_last(without_go: None, tmp_path: Path) -> None:
    asked = Claim("C00", "anything", ("refused", "go-echo"), lambda refused, go=None: confirmed(f"Go's: {go}"))
    (one,) = decide([asked], tmp_path)
    assert one.verdict == confirmed("Go's: None")
    assert [path.name for path in tmp_path.iterdir()] == ["refused.pcapng"], (
        "nothing is recorded of what was not played"
    )


@pytest.mark.kernel(own_network=True)
@pytest.mark.needs("go")
def test_with_go_they_are_decided(tmp_path: Path) -> None:
    known = every()
    for one in decide([known[number] for number in ("C17", "C50")], tmp_path):
        assert one.verdict.kind == "refined", one.verdict
        assert one.verdict.correction and len(one.recordings) == len(one.claim.plays)


@pytest.mark.needs("go")
def test_a_program_is_built_once_and_again_when_its_source_is_another(cache: Path, tmp_path: Path) -> None:
    source = tmp_path / "hello.go"
    source.write_text('package main\n\nfunc main() { println("hello") }\n')
    first = built(source)
    made = first.stat().st_mtime_ns
    assert subprocess.run([first], capture_output=True, check=True).stderr == b"hello\n"
    assert built(source) == first and first.stat().st_mtime_ns == made
    source.write_text(source.read_text().replace("hello", "again"))
    second = built(source)
    assert second != first and not first.exists(), "the old one is not kept"
    assert subprocess.run([second], capture_output=True, check=True).stderr == b"again\n"
    source.write_text("package main\n\nfunc main() { nothing() }\n")
    with pytest.raises(GoProgramMissing, match=r"go cannot build hello.go: .*undefined: nothing"):
        built(source)
    assert sorted(path.name for path in cache.iterdir()) == [second.parent.name], "nothing half-made stays"


@pytest.mark.needs("go")
def test_what_others_may_write_is_not_run(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(GoProgramMissing, match="may be written by others"):
        built(go_programs.FOLDER / "echo.go")


@pytest.mark.skipif(sys.platform != "linux", reason="not Linux")
@pytest.mark.parametrize(("work", "rests"), [("time.sleep(60)", True), ("\nwhile True: pass", False)])
def test_who_is_at_rest_has_all_threads_asleep(work: str, rests: bool) -> None:
    program = f"import threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); print(); {work}"
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout and process.stdout.readline()
            at_rest, give_up = procfs.AtRest(process.pid), time.monotonic() + (20 if rests else 0.2)
            while not (rested := at_rest()) and time.monotonic() < give_up:
                time.sleep(0.01)
            assert rested == rests
        finally:
            process.kill()
    assert procfs.turns(process.pid) is None, "it is gone"
