"""A session: sources on one side, the timeline on the other, one path between them.

Live probes, packets, tables, actors and files all hand over batches. A session merges what they bring by time, gives
every event its socket and connection, appends it to the timeline and, when asked to, to a recording. Replay is
the same path with a file as its only source: that is why a recording shows what the live run showed.

Sources deliver at their own pace, so a live session holds back the last few milliseconds: an event is only appended
when no source can still bring an earlier one. ``LAG`` is that time; what comes later is appended late, never lost.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from tracer.batch import Batch, BatchBuilder, merge, only, split
from tracer.events import NUMBER
from tracer.identity import Identities
from tracer.kinds import Evidence, Source
from tracer.timeline import Timeline

LAG: Final = 20_000_000
"""ns that a live session waits for slower sources before it puts events in order."""
PERIOD: Final = 0.01
"""Seconds between two drains: 100 Hz, about one in six of which a 15 Hz screen gets to see."""
RECORDING_PERIOD: Final = 0.04
"""The same where nobody looks on: 8,000 events a drain at 200,000 a second, which still fit a processor's cache."""
RESTS: Final = ((240, 0.5), (200, 0.25))
"""After so many empty drains they come so many seconds apart, if no source minds: a hundred a second cost 5 % of a
processor. Counted on the clock that all threads share (time.monotonic), as a screen's looks are: where threads wake at
one moment the processor wakes once, and finds its caches warm."""
COUNT_SECONDS: Final = 0.25
QUIET_COUNT_SECONDS: Final = 1.0
"""Seconds from one look at what was lost to the next, and where nothing has come that could be: the counts of every
processor are asked for."""
RECORDING_NICE: Final = -10
"""Niceness of the recording thread, where that may be had (CAP_SYS_NICE)."""
_PROCESSES: Final = (NUMBER["process:fork"], NUMBER["process:exit"])


@dataclass(frozen=True)
class Losses:
    """What a source wrote and what it had to drop, since its start, in events."""

    written: int = 0
    lost: int = 0
    unseen: int = 0
    """Softirqs in which no probe was run (tracer.kernel.softirqs), known when the source has stopped: no events."""


class EventSource(Protocol):
    """Where events come from."""

    def drain(self) -> Batch:
        """What has come since the last call, in order; empty when there is nothing. Never blocks."""
        ...

    def losses(self) -> Losses:
        """Counts up to now."""
        ...

    def stop(self) -> None:
        """Let go of everything; a last ``drain`` may follow and still bring what was under way."""
        ...


class Sink(Protocol):
    """Where finished events go besides the timeline: a recording, a text printer."""

    def write(self, timeline: Timeline, start: int, stop: int) -> None:
        """Events start..stop are complete now."""
        ...


class BatchSink(Protocol):
    """Where finished events go that need no timeline: a recording."""

    def write_batch(self, batch: Batch) -> None:
        """These events are complete now."""
        ...


class Session:
    """Carries events from its sources to the timeline, in a thread of its own or step by step."""

    def __init__(
        self,
        sources: Sequence[EventSource],
        timeline: Timeline | None = None,
        sinks: Sequence[Sink] = (),
        derive: Sequence[Callable[[Batch], Batch]] = (),
        clock: Callable[[], int] = time.time_ns,
        timed: Sequence[Callable[[Batch, int | None], Batch]] = (),
        recorders: Sequence[BatchSink] = (),
        *,
        keep: bool = True,
    ) -> None:
        """``derive`` adds what follows from the events (analysis, inferred states), each taking and giving a batch.

        ``timed`` does so too, and brings what time alone brings about: it also gets the moment up to which there will
        be no more events (None for the last batch), and empty batches. Only for a session whose events are new.
        ``clock`` gives ns since the Unix epoch and is only asked what is too young to be put in order. ``recorders``
        get the events as batches. With ``keep`` False that is all that becomes of them: the timeline only holds
        processes that come and go, so memory stays as it is however long the session lasts, nobody's socket or
        connection is worked out, and drains are rarer.
        """
        self.timeline = Timeline() if timeline is None else timeline
        self.identities = Identities()
        self.failure: BaseException | None = None
        self._sources, self._sinks, self._clock = list(sources), list(sinks), clock
        self._timed = list(timed)
        self._derive, self._recorders = list(derive), list(recorders)
        self._keep, self._period = keep, PERIOD if keep else RECORDING_PERIOD
        self._held = merge([])
        self._lost_before = self._unseen_before = 0
        self._counted = 0.0
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._pumping = threading.Lock()

    def add(self, source: EventSource) -> None:
        """One more source from now on."""
        self._sources.append(source)

    def losses(self) -> Losses:
        """Of all sources together."""
        every = [source.losses() for source in self._sources]
        counts = ((each.written, each.lost, each.unseen) for each in every)
        return Losses(*map(sum, zip(*counts, strict=True)))

    def pump(self, *, final: bool = False) -> int:
        """Drain every source once and append what is old enough (everything if ``final``); how many were appended."""
        with self._pumping:
            horizon = None if final else self._clock() - LAG
            came = [batch for source in self._sources if len(batch := source.drain())]
            since = time.monotonic() - self._counted
            due = final or since >= QUIET_COUNT_SECONDS or (since >= COUNT_SECONDS and came)
            if due and len(notice := self._loss_notice()):
                came.append(notice)
            if not (final or came or len(self._held) or self._timed):
                return 0
            batch = merge([self._held, *came])
            if horizon is None:
                ready, self._held = batch, merge([])
            else:
                keys = np.maximum.accumulate(batch.heads["time"]) if len(batch) else batch.heads["time"]
                ready, self._held = split(batch, int(np.searchsorted(keys, horizon, side="right")))
            if not len(ready) and not self._timed:
                return 0
            for recorder in self._recorders:
                recorder.write_batch(ready)
            if not self._keep:
                processes = only(ready, _PROCESSES)
                if len(processes):
                    self.timeline.append(processes)
                return len(ready)
            self.identities.resolve(ready)
            for work_out in self._derive:
                ready = work_out(ready)
            for work_out_timed in self._timed:
                ready = work_out_timed(ready, horizon)
            if not len(ready):
                return 0
            if self._derive or self._timed:
                self.identities.settle(ready)
            first = self.timeline.append(ready)
            for sink in self._sinks:
                sink.write(self.timeline, first, first + len(ready))
            return len(ready)

    @property
    def lost(self) -> int:
        """Events lost by all sources, as counted last: while it runs a little ago, afterwards exact."""
        return self._lost_before

    def _loss_notice(self) -> Batch:
        """A loss is an event too: drawn where it was noticed, counted exactly."""
        builder = BatchBuilder(Source.TRACER, Evidence.REPORTED)
        self._counted = time.monotonic()
        losses = self.losses()
        lost, unseen = losses.lost, losses.unseen
        if lost > self._lost_before:
            builder.add("trace:lost", self._clock(), {"lost": lost - self._lost_before, "total": lost})
            self._lost_before = lost
        if unseen > self._unseen_before:
            builder.add("trace:unseen", self._clock(), {"softirqs": unseen - self._unseen_before})
            self._unseen_before = unseen
        return builder.take()

    def start(self) -> None:
        """Pump in a thread until ``stop``."""
        self._thread = threading.Thread(target=self._run, name="synfin-session", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if not self._keep:  # a recorder that is starved by what it records loses it
            with contextlib.suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), RECORDING_NICE)
        empty = 0
        try:
            while not self._stopping.wait(0 if self._more() else self._pause(empty)):
                empty = 0 if self.pump() or len(self._held) else empty + 1
        except BaseException as failure:  # the screen shows it; a dead pump must not look like a quiet network
            self.failure = failure

    def _pause(self, empty: int) -> float:
        """Seconds until the next drain, after so many empty ones. A source ``rests`` if it misses nothing by that."""
        period = next((seconds for count, seconds in RESTS if empty >= count), 0.0)
        if not period or not all(getattr(source, "rests", False) for source in self._sources):
            return self._period
        return period - time.monotonic() % period

    def _more(self) -> bool:
        """Whether a source said that its last drain left much."""
        return any(getattr(source, "more", False) for source in self._sources)

    def stop(self) -> None:
        """Stop the sources, bring in what was still under way, end the thread. Raises what ended the pump early."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for source in self._sources:
            source.stop()
        if self.failure is not None:
            raise self.failure
        self.pump(final=True)
