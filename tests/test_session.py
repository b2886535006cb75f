"""How often a session asks its sources: seldom once nothing comes, unless a source would miss something by that."""

from __future__ import annotations

import time

import pytest

from tracer import session as module
from tracer.batch import Batch, BatchBuilder
from tracer.kinds import Evidence, Source
from tracer.session import Losses, Session


class Quiet:
    """A source that nothing comes from, unless one event is asked for."""

    def __init__(self, *, rests: bool) -> None:
        self.rests = rests
        self.drains = 0
        self.brings = False
        self._builder = BatchBuilder(Source.TRACER, Evidence.REPORTED)

    def drain(self) -> Batch:
        self.drains += 1
        if self.brings:
            self.brings = False
            self._builder.add("trace:note", time.time_ns(), {"text": "here"})
        return self._builder.take()

    def losses(self) -> Losses:
        return Losses()

    def stop(self) -> None:
        pass


def drained(monkeypatch: pytest.MonkeyPatch, *sources: Quiet) -> Session:
    """A session over them that rests for good after three empty drains."""
    monkeypatch.setattr(module, "RESTS", ((3, 1e9),))
    session = Session(sources)
    session.start()
    until = time.monotonic() + 20
    while sources[0].drains < 3 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.3)
    return session


def test_a_session_rests_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Quiet(rests=True)
    session = drained(monkeypatch, source)
    assert source.drains == 3
    source.brings = True
    session.stop()  # at once, and with what is still there
    assert len(session.timeline) == 1


def test_it_goes_on_asking_a_source_that_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Quiet(rests=True), Quiet(rests=False)
    session = drained(monkeypatch, *sources)
    session.stop()
    assert sources[1].drains > 5
