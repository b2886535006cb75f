"""Loads as evidence: spreads, runs that are shared, and verdicts that follow what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from scenarios.claims.claim import Claim, Verdict, confirmed
from scenarios.claims.decide import decide, every
from scenarios.load import evidence, kernel_memory, queueing, switches
from scenarios.load.evidence import Loads, Spread
from scenarios.load.experiments import EXPERIMENTS, Case
from scenarios.load.plan import Plan
from scenarios.load.report import LoadFailed
from scenarios.load.table import ROWS, count
from scenarios.servers.models import MODELS

MEASURED = ("C16", "C32", "C33", "C34", "C35", "C36", "C37", "C40", "C43", "C44")


class Made(Loads):
    """Loads whose figures are made up by a test: key -> value by case."""

    def __init__(self, figures: dict[str, Any]) -> None:
        super().__init__()
        self._made = figures

    def run(self, cases: Any) -> None:
        for case in cases:
            rows = [{key: made(case, at) for key, made in self._made.items()} for at in range(5)]
            self._known[case] = [row | {"errors": {}} for row in rows]


@dataclass
class Done:
    """As scenarios.load.compare.Done, as far as it is asked."""

    case: Case

    def figures(self) -> dict[str, Any]:
        return {"cpu": 1.0, "errors": {"E": 1}}


def test_experiments_name_models_and_figures_there_are() -> None:
    known = {row.key for row in ROWS}
    for name, experiment in EXPERIMENTS.items():
        labels = [case.label for case in experiment.cases]
        assert len(set(labels)) == len(labels) > 1, name
        assert {case.model for case in experiment.cases} <= set(MODELS)
        assert set(experiment.rows) <= known


def test_spreads_that_overlap_decide_nothing() -> None:
    low, high, both = Spread((1.0, 2.0, 3.0)), Spread((4.0, 9.0, 5.0)), Spread((2.0, 5.0))
    assert high.above(low) and not both.above(low) and not high.above(both)
    assert (high.least, high.middle, high.most) == (4.0, 5.0, 9.0)
    assert high.told(count) == "5 (4 to 9)" and Spread((2.0, 2.0)).told(count) == "2"


def test_cases_are_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[Case]] = []
    case = Case("x", "epoll-level", Plan())

    def compare(cases: list[Case], runs: int) -> list[Done]:
        asked.append(list(cases))
        return [Done(each) for each in cases]

    monkeypatch.setattr(evidence, "compare", compare)
    loads = Loads(1)
    assert loads.figure(case, "cpu").values == (1.0,) and loads.errors(case) == 1
    assert asked[0] == [case] and not any(asked[1:])


def test_each_claim_is_there_and_left_out_when_asked() -> None:
    known = every()
    assert all(known[number].measured for number in MEASURED)
    for one in decide([known[number] for number in MEASURED], None, slow=False):
        assert one.verdict.kind == "undecided" and "left out" in one.verdict.evidence


def test_what_cannot_be_measured_is_undecided() -> None:
    def fails(loads: Loads) -> Verdict:
        raise LoadFailed("no")

    (one,) = decide([Claim("C00", "anything", (), fails, measured=True)], None)
    assert one.verdict == Verdict("undecided", "it could not be measured: no")
    (one,) = decide([Claim("C00", "anything", (), lambda loads: confirmed("x"), measured=True)], None)
    assert one.verdict.kind == "confirmed"


@pytest.mark.parametrize(
    ("one", "two", "kind"), [(8.0, 16.0, "confirmed"), (8.0, 10.0, "refined"), (8.0, 8.1, "undecided")]
)
def test_double_the_memory(one: float, two: float, kind: str) -> None:
    def memory(case: Case, at: int) -> float:
        return 1024 * ((two if case.model == "netpoller-two" else one) + 0.1 * at)

    assert every()["C32"].decide(Made({"memory_per_connection": memory})).kind == kind


@pytest.mark.parametrize(("epoll", "poll", "kind"), [(1, 9, "confirmed"), (9, 9, "refuted"), (1, 1, "undecided")])
def test_cost_of_a_wakeup(epoll: int, poll: int, kind: str) -> None:
    def cost(case: Case, at: int) -> float:
        factor = epoll if case.model == "epoll-level" else poll
        return (factor if case.plan.connections > 10 else 1) * 1e-5 + at * 1e-6

    assert every()["C40"].decide(Made({"cpu_per_message": cost})).kind == kind


@pytest.mark.parametrize(
    ("threads", "processes", "lost", "kind"),
    [(9, 1, 0, "confirmed"), (9, 4, 0, "refined"), (0, 1, 0, "refuted"), (9, 1, 5, "undecided")],
)
def test_dispatchers_tasks(threads: int, processes: int, lost: int, kind: str) -> None:
    def share(case: Case, at: int) -> int:
        return processes if case.plan.connections == 60_000 else 1

    figures = {
        "held": lambda case, at: case.plan.connections - lost,
        "threads": lambda case, at: (threads or case.plan.connections) * share(case, at),
        "processes": share,
    }
    assert every()["C44"].decide(Made(figures)).kind == kind


def test_parked_tasks_and_descriptors() -> None:
    def threads(case: Case, at: int) -> int:
        return case.plan.connections + 1 if case.model == "threads" else 1

    figures = {"threads": threads, "tasks": lambda case, at: 1000}
    assert every()["C16"].decide(Made(figures)).kind == "confirmed"
    figures["threads"] = lambda case, at: case.plan.connections
    assert every()["C16"].decide(Made(figures)).kind == "refuted"
    files = {"files_per_connection": lambda case, at: 2.0, "client_files": lambda case, at: 1000}
    assert every()["C33"].decide(Made(files)).kind == "confirmed"
    files["files_per_connection"] = lambda case, at: 1.0
    assert every()["C33"].decide(Made(files)).kind == "refined"


def test_the_kernel_keeps_buffers_for_what_is_there() -> None:
    idle, some, full = (kernel_memory.unread(data) for data in (b"", b"x", None))
    assert idle == 0 < some < full


def test_clients_of_a_full_pool_wait_in_two_queues_in_order() -> None:
    waited = queueing.full_pool(clients=10, queue=2, hold=0.001)
    assert waited.order == list(range(10))
    assert waited.in_program >= 2 and waited.in_kernel >= 5
    assert waited.in_program + waited.in_kernel <= 9


def test_switches_between_threads_cost_more_than_between_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("greenlet")
    monkeypatch.setattr(switches, "ROUNDS", 3000)
    monkeypatch.setattr(switches, "TASK_ROUNDS", 30_000)
    assert (
        0 < min(switches.greenlets() for _ in range(3)) < min(switches.threads() + switches.calls() for _ in range(3))
    )
