"""Loss is counted to the event, and said wherever the events are: on the timeline, in the recording, in the feed.

The witness is the tracer itself a second time, with rings that are large enough: the same probes over the same
processes at the same time try to write the same records, and lose none. All rings are made too small at once: what
follows a lost record (an epoll's readiness after a lost notice, what a lost packet did to its socket) is tried, and so
counted, all the same.
"""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import Synfin, load, wait_for, world_after
from tracer.kernel.attach import Mode
from tracer.kernel.rings import DEFAULT_BYTES
from tracer.kernel.source import Filter, KernelSource
from tracer.kinds import Evidence, Ring, Source
from tracer.recording.reader import RecordingReader
from tracer.recording.writer import Recorder
from tracer.session import Session

pytestmark = pytest.mark.kernel

TINY: Final = 4096
"""One page: 39 calls, 21 packets or 16 socket records between two drains."""
LOAD: Final = """
import select, socket, sys
sys.stdout.write("ready")
sys.stdout.flush()
sys.stdin.readline()
with socket.create_server(("127.0.0.1", 0)) as listener:
    for _ in range(60):
        with socket.create_connection(listener.getsockname()) as client:
            server, _ = listener.accept()
            with server, select.epoll() as epoll:
                epoll.register(server, select.EPOLLIN)
                client.sendall(b"hello")
                epoll.poll()
                server.sendall(server.recv(10))
                client.recv(10)
sys.stdout.write("done")
sys.stdout.flush()
sys.stdin.readline()
"""


def settled(source: KernelSource) -> None:
    """Wait until it writes nothing more: the last delayed ACK has gone."""
    count, since = source.losses(), time.monotonic()
    while time.monotonic() < since + 0.2:
        time.sleep(0.02)
        if source.losses() != count:
            count, since = source.losses(), time.monotonic()


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_written_and_lost_are_all_that_was_tried(mode: Mode, synfin: Synfin) -> None:
    command = [sys.executable, "-c", LOAD]
    load_process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    large, tiny = KernelSource(mode=mode), KernelSource(mode=mode, ring_bytes=dict.fromkeys(DEFAULT_BYTES, TINY))
    file = synfin.folder / "lossy.pcapng"
    recorder = Recorder(str(file))
    session = Session([tiny], sinks=[recorder])
    try:
        assert load_process.stdin and load_process.stdout
        assert load_process.stdout.read(5) == "ready"
        for source in (large, tiny):
            source.start(Filter(processes=frozenset({load_process.pid})))
        load_process.stdin.write("go\n")
        load_process.stdin.flush()
        while not _readable(load_process):
            session.pump()
            time.sleep(0.02)
        settled(large)
        attempted, counts = large.tallies(), tiny.tallies()
        assert large.losses().lost == 0
    finally:
        large.stop()
        session.stop()
        losses = session.losses()
        recorder.close(losses.written, losses.lost)
        load_process.communicate("\n", timeout=20)

    # an arrival over loopback is a small record, but a whole one where that of its leaving was lost
    for rings in ((Ring.SMALL, Ring.OBJECT), (Ring.SOCKET,)):
        tried = sum(counts[ring].written + counts[ring].lost for ring in rings)
        assert tried == sum(attempted[ring].written for ring in rings)
        assert all(counts[ring].written > 0 and counts[ring].lost > 0 for ring in rings)
    assert sum(count.lost for count in counts.values()) == losses.lost > 100
    assert all(status.missed == 0 for source in (large, tiny) for status in source.status())

    # What was written is on the timeline, all of it; what was lost is said there, and adds up.
    events = list(session.timeline.events())
    notices = [event for event in events if event.name == "trace:lost"]
    assert sum(event.source is Source.KERNEL for event in events) == losses.written
    assert sum(event["lost"] for event in notices) == notices[-1]["total"] == losses.lost
    assert world_after(session.timeline).lost == losses.lost
    assert {event.evidence for event in notices} == {Evidence.REPORTED}

    # The recording says the same, event by event, to whoever replays it.
    assert [event.fields() for event in load(file).events() if event.name == "trace:lost"] == [
        event.fields() for event in notices
    ]
    again = synfin("replay", str(file), "--text")
    assert again.code == 0
    assert f"events lost here, {losses.lost} in all" in again.out
    assert feed_of(file) == losses.lost


def test_what_kill_9_leaves_of_a_recording_under_load_opens(synfin: Synfin) -> None:
    """Thousands of events at a time, in few large writes: the file opens up to its last whole block."""
    load_process = subprocess.Popen(
        [sys.executable, "-c", LOAD.replace("range(60)", "range(4000)")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    file = synfin.folder / "killed.pcapng"
    try:
        assert load_process.stdin and load_process.stdout
        assert load_process.stdout.read(5) == b"ready"
        run = synfin.start("record", "-w", file.name, "--pid", str(load_process.pid))
        wait_for(lambda: file.exists() and file.stat().st_size > 0, "the recording")
        load_process.stdin.write(b"go\n")
        load_process.stdin.flush()
        wait_for(lambda: file.stat().st_size > 1_000_000, "a megabyte of it")
        run.send_signal(signal.SIGKILL)
        run.wait()
    finally:
        load_process.kill()
        load_process.communicate()
    with file.open("rb") as recording:
        reader = RecordingReader(recording)
        assert sum(map(len, reader.batches())) > 1000
    assert len(reader.notes) <= 1 and all("cut off in the middle" in note for note in reader.notes)


def feed_of(file: Path) -> int:
    """Lost events as the screen's header is told them on replay."""
    from tui.cli_replay import ReplayFeed, open_source

    feed = ReplayFeed(open_source(str(file)))
    feed.read_all()
    return feed.lost


def _readable(process: subprocess.Popen[str]) -> bool:
    assert process.stdout
    return bool(select.select([process.stdout], [], [], 0)[0])
