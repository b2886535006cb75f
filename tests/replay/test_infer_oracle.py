"""Inference against a real kernel: every run of corpora/kernel_oracle, state by state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.replay.infer_oracle import REASONS, Result, compare, reasons, runs, table

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.fixture(scope="module")
def results(corpora: Path) -> list[Result]:
    folder = corpora / "kernel_oracle"
    return [result for run in runs(folder) for result in compare(folder, run)]


@pytest.mark.corpora
def test_the_states_are_the_kernels(results: list[Result]) -> None:
    assert len({result.run for result in results}) > 150
    for result in results:
        if not reasons(result.run):
            assert result.same, f"{result.run}: kernel {result.kernel}, inferred {result.ours}"
        elif not result.same:
            assert result.without_queued_close, f"{result.run}: kernel {result.kernel}, inferred {result.ours}"


@pytest.mark.corpora
def test_the_states_are_there_when_the_kernel_is_in_them(results: list[Result]) -> None:
    for result in results:
        if not reasons(result.run) + reasons(result.run, late=True):
            assert not result.late, f"{result.run}: {result.late}"


@pytest.mark.corpora
def test_no_exception_has_outlived_its_reason(results: list[Result]) -> None:
    differ = {result.run.rsplit(".", 1)[0] for result in results if not result.same}
    late = {result.run.rsplit(".", 1)[0] for result in results if result.late}
    assert differ == {name for reason in REASONS for name in reason.differ}
    assert late >= {name for reason in REASONS for name in reason.late}


def test_the_page_lists_the_exceptions() -> None:
    assert table() in (DOCS / "inference.md").read_text(encoding="utf-8")
