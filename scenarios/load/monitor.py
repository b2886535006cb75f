"""A load under way as Prometheus metrics on loopback: what `run` tells a few times a second, to be fetched.

What only grows while a server lives is a counter (its name ends in _total, a new server begins at nothing again, which
Prometheus' rate() knows how to take); what comes and goes is a gauge. Each has the label `load`: the model's name or,
in an experiment, the case's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final

from scenarios.load.report import LoadFailed, Moment

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    Family = CounterMetricFamily | GaugeMetricFamily

HOST: Final = "127.0.0.1"
LABEL: Final = "load"
USED: Final = {
    "memory": ("memory_bytes", "resident memory of the server (PSS)"),
    "threads": ("threads", "threads of the server"),
    "files": ("files", "file descriptors of the server"),
    "tcp_memory": ("tcp_memory_bytes", "the kernel's TCP buffers on this machine"),
}
USED_SO_FAR: Final = {
    "cpu": ("cpu_seconds", "processor time of the server"),
    "wakeups": ("wakeups", "voluntary context switches of the server"),
    "preemptions": ("preemptions", "involuntary context switches of the server"),
}
COUNTED: Final = {"tasks": "that serve", "queued": "connections that wait for a thread of the pool"}
COUNTED_SO_FAR: Final = ("accepted", "closed", "messages", "bytes", "turned_away", "emfile", "timeouts", "errors")


class Monitor:
    """The endpoint; `see` takes each moment."""

    def __init__(self, port: int) -> None:
        """`port` 0: any free one. Raises LoadFailed when it cannot be opened."""
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            sentence = "--prometheus needs the package prometheus-client: pip install 'synfin[servers]'"
            raise LoadFailed(sentence) from None
        registry = CollectorRegistry()
        self._seen: dict[str, Moment] = {}
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, HOST, registry)
        except OverflowError:
            raise LoadFailed(f"--prometheus: {port} is no port") from None
        except OSError as failure:
            taken = "somebody has it already" if failure.errno == errno.EADDRINUSE else failure.strerror
            raise LoadFailed(f"--prometheus: port {port} cannot be opened on {HOST}: {taken}") from None
        self.address = f"http://{HOST}:{self._server.server_port}/metrics"

    def see(self, load: str, moment: Moment) -> None:
        """How a load stands now."""
        self._seen = {**self._seen, load: moment}  # replaced as a whole: another thread reads it

    def collect(self) -> Iterator[Family]:
        """For prometheus_client: everything as it stands."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        def gauge(name: str, words: str, values: dict[str, float]) -> Family:
            return _filled(GaugeMetricFamily(f"synfin_{name}", words, labels=[LABEL]), values)

        def counter(name: str, words: str, values: dict[str, float]) -> Family:
            return _filled(CounterMetricFamily(f"synfin_{name}", words, labels=[LABEL]), values)

        seen = self._seen
        for field, (name, words) in USED.items():
            yield gauge(name, words, {load: getattr(now.used, field) for load, now in seen.items()})
        for field, (name, words) in USED_SO_FAR.items():
            yield counter(name, words, {load: getattr(now.used, field) for load, now in seen.items()})
        for name, words in COUNTED.items():
            yield gauge(name, words, {load: now.counted[name] for load, now in seen.items()})
        for name in COUNTED_SO_FAR:
            told = f"{name.replace('_', ' ')}, as the server counts"
            yield counter(name, told, {load: now.counted[name] for load, now in seen.items()})
        standing = {load: now.counted["accepted"] - now.counted["closed"] for load, now in seen.items()}
        yield gauge("connections", "connections that the server has", dict(standing))
        waiting = {load: now.accept_queue for load, now in seen.items()}
        yield gauge("accept_queue", "connections that wait for accept()", dict(waiting))

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _filled(family: Family, values: dict[str, float]) -> Family:
    for load, value in values.items():
        family.add_metric([load], value)
    return family
