"""Loads of real clients against real servers: what is counted on both sides agrees, and trouble has its name."""

from __future__ import annotations

import math
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scenarios.load.plan import Histogram, Outcome, Plan
from scenarios.load.report import LoadFailed, Moment
from scenarios.load.run import run, settle


def test_plan_is_shared_out_whole() -> None:
    plan = Plan(connections=10, rate=300, messages=math.inf, slow=2, resets=4, clients=3)
    shares = [plan.share(place) for place in range(3)]
    assert [share.connections for share in shares] == [4, 3, 3]
    assert sum(share.slow for share in shares) == 2 and sum(share.resets for share in shares) == 4
    assert sum(share.rate for share in shares) == 300 and shares[0].messages == math.inf
    assert len({share.seed for share in shares}) == 3


def test_percentiles_are_upper_bounds_within_six_per_cent() -> None:
    histogram = Histogram()
    values = [0.0001 * (n + 1) for n in range(1000)]
    for value in values:
        histogram.add(value)
    for percent in (1, 50, 90, 99, 100):
        exact = values[math.ceil(len(values) * percent / 100) - 1]
        assert exact <= histogram.percentile(percent) <= exact * 1.0595
    assert math.isnan(Histogram().percentile(50))


def test_outcomes_add_up() -> None:
    first, second, whole = Outcome(connected=2, messages=3), Outcome(connected=5, messages=4), Outcome()
    for each, error in ((first, "ECONNRESET"), (second, "ECONNRESET")):
        each.errors[error] += 2
        each.round_trip.add(0.5)
        whole.merge(each.told())
    assert (whole.connected, whole.messages, whole.errors["ECONNRESET"], whole.round_trip.count) == (7, 7, 4, 2)


@pytest.mark.parametrize("model", ["threads", "epoll-edge", "netpoller-two", "dispatcher", "reuseport"])
def test_pool(model: str) -> None:
    if model == "netpoller-two":
        pytest.importorskip("greenlet")
    moments: list[Moment] = []
    plan = Plan(connections=120, rate=2000, messages=500, duration=1.0, clients=2, resets=10, slow=3)
    report = run(model, plan, watch=moments.append)
    outcome = report.outcome
    assert (outcome.connected, outcome.held, outcome.errors) == (120, 110, {})
    assert 400 <= outcome.messages <= 500 and outcome.round_trip.count == outcome.messages
    assert report.counted["messages"] == outcome.messages, "each message counted by both sides"
    assert report.counted["accepted"] == 123
    assert report.used.files >= 113 and report.used.own > report.base.own > 0
    assert "closed after their last answer, 0 reset" in report.said
    assert {moment.act for moment in moments} >= {"connect", "talk"}
    figures = report.figures()
    assert figures["round_trip_p50"] <= figures["round_trip_p99"]
    if model == "threads":
        assert report.used.threads == 114 and report.counted["tasks"] == 113


def test_connection_for_each_request() -> None:
    report = run("epoll-level", Plan(connections=50, messages=300, duration=1.0, per_request=True))
    assert report.outcome.errors == {} and report.outcome.messages > 200
    assert report.outcome.connected == report.outcome.messages == report.counted["accepted"]


def test_syscalls_are_counted(pytestconfig: pytest.Config) -> None:
    report = run("epoll-level", Plan(connections=10, messages=200, duration=1.0))
    if report.syscalls is None:
        assert report.notes and "not counted" in report.notes[0]
        pytest.skip(report.notes[0])
    # Each message is at least a recv and a send, and at most an epoll_wait and a recv that finds nothing besides.
    assert 2 * report.outcome.messages <= report.syscalls <= 5 * report.outcome.messages


def test_a_server_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LoadFailed, match=r"threads did not start: .*workers"):
        run("threads", Plan(connections=1), ["--workers", "many"])


def test_too_few_descriptors_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.load.run._descriptors", lambda: 300)
    plan = Plan(connections=250, messages=10, duration=0.3)
    sentence = (
        r"^this machine allows 300 descriptors a process; 250 connections take 3 client processes \(--clients 3\)$"
    )
    with pytest.raises(LoadFailed, match=sentence):
        run("epoll-level", plan)
    report = run("epoll-level", replace(plan, clients=3))
    assert report.outcome.held == 250
    assert "2 processes share the port: each may have 300 descriptors here" in report.notes


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run("epoll-level", Plan(connections=5, messages=10, duration=0.3))
    assert not list(tmp_path.iterdir())


def test_a_server_is_waited_for_until_it_rests() -> None:
    busy = "import time; over = time.monotonic() + 0.3\nwhile time.monotonic() < over: pass\nprint(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-uc", busy], stdout=subprocess.PIPE) as process:
        settle([process.pid])
        assert process.stdout is not None and select.select([process.stdout], (), (), 0)[0], "it still had work to do"
        process.kill()
