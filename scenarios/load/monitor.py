"""A load under way as Prometheus metrics on loopback: what `run` tells a few times a second, to be fetched."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Final

from scenarios.load.report import LoadFailed, Moment

HOST: Final = "127.0.0.1"
USED: Final = {
    "cpu": ("synfin_cpu_seconds", "processor time of the server so far"),
    "memory": ("synfin_memory_bytes", "resident memory of the server"),
    "threads": ("synfin_threads", "threads of the server"),
    "files": ("synfin_files", "file descriptors of the server"),
    "wakeups": ("synfin_wakeups", "voluntary context switches of the server so far"),
    "tcp_memory": ("synfin_tcp_memory_bytes", "the kernel's TCP buffers on this machine"),
}
COUNTED: Final = ("accepted", "messages", "bytes", "turned_away", "emfile", "timeouts", "errors", "tasks", "queued")


class Monitor:
    """The endpoint; `see` takes each moment."""

    def __init__(self, port: int) -> None:
        """`port` 0: any free one. Raises LoadFailed when it cannot be opened."""
        try:
            from prometheus_client import CollectorRegistry, Gauge, start_http_server
        except ImportError:
            sentence = "--prometheus needs the package prometheus-client: pip install 'synfin[servers]'"
            raise LoadFailed(sentence) from None
        registry = CollectorRegistry()

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(name, words, ["model"], registry=registry)

        self._used = {field: gauge(*named) for field, named in USED.items()}
        self._counted = {name: gauge(f"synfin_{name}", f"{name}, as the server counts") for name in COUNTED}
        self._open = gauge("synfin_connections", "connections that the server has")
        self._queue = gauge("synfin_accept_queue", "connections that wait for accept()")
        try:
            self._server, self._thread = start_http_server(port, HOST, registry)
        except OverflowError:
            raise LoadFailed(f"--prometheus: {port} is no port") from None
        except OSError as failure:
            taken = "somebody has it already" if failure.errno == errno.EADDRINUSE else failure.strerror
            raise LoadFailed(f"--prometheus: port {port} cannot be opened on {HOST}: {taken}") from None
        self.address = f"http://{HOST}:{self._server.server_port}/metrics"

    def see(self, moment: Moment) -> None:
        """How the load stands now."""
        for name, gauge in self._used.items():
            gauge.labels(moment.model).set(getattr(moment.used, name))
        for name, gauge in self._counted.items():
            gauge.labels(moment.model).set(moment.counted[name])
        self._open.labels(moment.model).set(moment.counted["accepted"] - moment.counted["closed"])
        self._queue.labels(moment.model).set(moment.accept_queue)

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
