"""What goes wrong with a trace: what is missing, what still works, what to do, in one sentence and an exit code."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.e2e.conftest import Synfin, load, wait_for
from tracer.kernel.source import KernelSource
from tui import cli_trace
from tui.cli_errors import FAILED, Trouble
from tui.cli_select import Who, select

pytestmark = [pytest.mark.kernel, pytest.mark.needs("unshare", "mount")]

CHILD = """
import socket, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
client.send(b"hello"); time.sleep(0.3); server.recv(9); client.close(); time.sleep(0.3); server.close()  # to be sampled
"""
TRACED = ("--", sys.executable, "-c", CHILD)


def without(mount: str) -> tuple[str, ...]:
    """Runs what follows where something of the machine is covered up, for it alone."""
    return ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (without("mount -t tmpfs none /sys/kernel/btf"), "without kernel: .*BTF"),
        (("setarch", "--uname-2.6"), r"without kernel: Linux 2\.6\.\d+.*: kernel probes need Linux 5\.8 or newer"),
        (
            without("mount -t tmpfs none /usr/lib/python3/dist-packages/bcc"),
            "without kernel: BCC is not installed: install the Debian package python3-bpfcc",
        ),
    ],
    ids=["no BTF", "old kernel", "no BCC"],
)
def test_where_probes_are_not_to_be_had_the_rest_goes_on(
    synfin: Synfin, tmp_path: Path, before: tuple[str, ...], sentence: str
) -> None:
    synfin.variables["XDG_CACHE_HOME"] = str(tmp_path / "cache")  # nothing remembered from before
    ran = synfin("trace", "--json", *TRACED, before=before)
    assert ran.code == 0, ran.err
    assert re.search(sentence, ran.err), ran.err
    assert len([line for line in ran.err.splitlines() if "without kernel" in line]) == 1
    assert {event["evidence"] for event in ran.events} == {"captured", "inferred", "sampled"}


def test_unreadable_kallsyms_switches_off_what_needs_addresses(synfin: Synfin, tmp_path: Path) -> None:
    synfin.variables["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    ran = synfin("trace", "--json", *TRACED, before=without("mount --bind /dev/null /proc/kallsyms"))
    assert ran.code == 0 and "without timers" in ran.err and "CAP_SYSLOG is needed" in ran.err
    names = {event["event"] for event in ran.events}
    assert "timewait:born" not in names and {"socket:state", "packet:sent", "syscall:exit"} <= names


BUSY = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
for _ in range(2000):
    client = socket.create_connection(listener.getsockname()); server, _ = listener.accept()
    client.close(); server.close()
import time; time.sleep(30)
"""


@pytest.mark.parametrize("form", ["record", "trace"])
def test_a_full_disk_ends_a_recording_that_still_opens(synfin: Synfin, form: str) -> None:
    """A recording that nobody sees ends at once; what is shown goes on to its end. The exit code is the same."""
    small = synfin.folder / "small"
    small.mkdir()
    keep = f"trap 'cp {small}/it.pcapng {synfin.folder}/kept.pcapng' EXIT"  # the disk is gone with its namespace
    outer = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=256k none {small} && {keep}; "$@"', "sh")
    words = [form, "--text"] if form == "trace" else [form]
    limit = ["--duration", "3"] if form == "trace" else []
    began = time.monotonic()
    ran = synfin(*words, *limit, "-w", "small/it.pcapng", "--", sys.executable, "-c", BUSY, before=outer)
    assert ran.code == 74 and "No space left on device" in ran.err, ran.err[-500:]
    assert time.monotonic() - began < 25  # not the 30 s of the command
    assert len(load(synfin.folder / "kept.pcapng")) > 100


def test_a_process_that_ends_while_the_probes_are_put_on() -> None:
    with subprocess.Popen(["sleep", "60"]) as gone:
        selection = select(Who(pids=[gone.pid]))
        gone.kill()
    request = cli_trace.Request(Who(pids=[gone.pid]), "none")
    with (
        pytest.raises(Trouble, match=f"process {gone.pid} has ended while the probes were put on") as told,
        cli_trace._traced(request, selection, KernelSource(), None, None),
    ):
        pass
    assert told.value.code == FAILED


def test_a_process_that_is_over_already(synfin: Synfin) -> None:
    gone = subprocess.Popen(["true"])
    wait_for(lambda: ") Z " in Path(f"/proc/{gone.pid}/stat").read_text(), "its end")
    ran = synfin("trace", "--pid", str(gone.pid))
    gone.wait()
    assert (ran.code, ran.err.count("\n")) == (2, 1) and "has ended already" in ran.err


def memory_controller() -> Path | None:
    """A folder in which memory cgroups can be made, of version 1 (which this kernel may not have)."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, options = line.split()[:4]
        if kind == "cgroup" and "memory" in options.split(","):
            return Path(folder)
    return None


def test_a_ring_that_does_not_fit_says_so() -> None:
    """A memory limit stands for a small machine: the map is charged to it."""
    root = memory_controller()
    if root is None:
        pytest.skip("needs test: no memory controller of cgroup version 1")
    place = root / f"synfin-test-{uuid.uuid4().hex[:12]}"
    place.mkdir()
    text = """
import sys
from tracer.kernel.source import *
from tracer.kinds import Ring
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
source = KernelSource(ring_bytes={**DEFAULT_BYTES, Ring.SOCKET: 1 << 30})
usual = dict(DEFAULT_BYTES)
source.start(Filter()); assert source.ring_bytes == usual, "not the usual sizes instead"; source.stop()
DEFAULT_BYTES[Ring.SOCKET] = 1 << 30  # a machine on which not even these fit
source = KernelSource(ring_bytes=dict(DEFAULT_BYTES))
try: source.start(Filter())
except KernelError as error: print(error)
"""
    try:
        (place / "memory.limit_in_bytes").write_text(str(600 << 20))
        ran = subprocess.run([sys.executable, "-c", text, str(place)], capture_output=True, timeout=60, check=True)
    finally:
        wait_for(lambda: not (place / "cgroup.procs").read_text(), "an empty cgroup")
        place.rmdir()
    said = ran.stdout.decode()
    assert said.startswith("the kernel has no room for the map socket_ring of 1024 MiB: Cannot allocate memory; "), said
    assert said.count("\n") == 1


def test_two_tracers_at_once_both_see_everything_and_say_so(synfin: Synfin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        first = synfin.start("record", "--port", str(port), "-w", "first.pcapng")
        file = synfin.folder / "first.pcapng"
        wait_for(lambda: file.exists() and b"LISTEN" in file.read_bytes(), "the first tracer")
        client = f'import socket; s = socket.create_connection(("127.0.0.1", {port})); s.send(b"x"); s.close()'
        second = synfin("record", "-w", "second.pcapng", "--", sys.executable, "-c", client)
        time.sleep(0.1)
        os.kill(first.pid, signal.SIGINT)
        synfin.end(first)
    assert re.search(r"synfin: \d+ more synfin traces? here: each sees everything", second.err), second.err

    def packets(name: str) -> list[tuple[int, int]]:
        events = load(synfin.folder / name).events()
        return [(event["seq"], event["flags"]) for event in events if event.name == "packet:sent"]

    assert packets("first.pcapng")[:5] == packets("second.pcapng")[:5] != []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cgroup", "no/such"], "there is no cgroup 'no/such' below /"),
        (["--cgroup", "/etc"], "'/etc' is not a cgroup of version 2, which is mounted at /"),
        (["--pid", "1", "--cgroup", "x"], "--pid and --cgroup do not go together"),
        (["--", "/tmp"], "cannot run '/tmp': it is a folder"),
    ],
)
def test_wrong_places_get_one_sentence(synfin: Synfin, words: list[str], sentence: str) -> None:
    ran = synfin("trace", "--text", *words)
    assert ran.code == 2 and sentence in ran.err and ran.err.count("\n") == 1, ran.err


def test_no_cgroups_of_version_2(synfin: Synfin) -> None:
    gone = without("umount -a -t cgroup2")
    ran = synfin("trace", "--text", "--cgroup", "x", before=gone)
    assert ran.code == 3 and "cgroup version 2 is not mounted here" in ran.err and "mount -t cgroup2" in ran.err


def test_a_port_that_nobody_uses_yet(synfin: Synfin) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ran = synfin("trace", "--text", "--port", str(free.getsockname()[1]), "--duration", "0.2")
    assert ran.code == 0 and "nobody has a TCP socket there yet: port" in ran.err


def test_a_recording_goes_through_a_pipe_into_a_replay(synfin: Synfin) -> None:
    recording = synfin.start("record", "-w", "-", *TRACED)
    assert recording.stdout is not None
    ran = synfin.end(synfin.start("replay", "-", "--text", stdin=recording.stdout))
    recording.stdout.close()
    recording.wait(20)
    assert ran.code == 0, ran.err
    assert "CLOSED → SYN_SENT" in ran.out and "FIN_WAIT1" in ran.out and "socket()" in ran.out
