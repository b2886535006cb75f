"""Recordings: other people's tools read them, replay repeats the live run to the letter, and kill -9 does no harm."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import Ran, Synfin, load, wait_for, world_after
from tracer.kinds import Side
from tracer.recording.reader import RecordingReader
from tracer.timeline import Timeline

PACKET, JOURNAL = "raw", "systemd_journal"
PATH: Final = {
    "client": ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"],
    "server": ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"],
}


def tshark(file: Path, *words: str) -> list[list[str]]:
    """The rows that tshark prints, as lists of fields; that it complains about nothing is asserted."""
    command = ["tshark", "-n", "-r", str(file), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if line and "Running as user" not in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def listed(file: Path) -> list[list[str]]:
    """Time, protocols and Info of every row, as Wireshark would list them."""
    fields = ("frame.time_epoch", "frame.protocols", "_ws.col.Info")
    return tshark(file, "-T", "fields", *(word for name in fields for word in ("-e", name)))


def record(synfin: Synfin, *more: str) -> tuple[Path, Ran]:
    """A live run as JSON lines, and its recording."""
    ran = synfin("run", "half-close", "--json", "-w", "run.pcapng", *more)
    assert ran.code == 0, ran.err
    return synfin.folder / "run.pcapng", ran


# Other people's tools


@pytest.mark.kernel
@pytest.mark.needs("tshark")
def test_tshark_lists_our_events_between_the_packets(synfin: Synfin) -> None:
    file, ran = record(synfin)
    rows = listed(file)
    assert len(rows) == len(ran.events)
    times = [float(moment) for moment, _, _ in rows]
    assert times == sorted(times)
    kinds = [JOURNAL if JOURNAL in protocols else PACKET for _, protocols, _ in rows]
    packets = [event for event in ran.events if event["event"] == "packet:sent"]
    assert kinds.count(PACKET) == len(packets) >= 13
    assert JOURNAL in kinds[kinds.index(PACKET) : len(kinds) - kinds[::-1].index(PACKET)]
    info = [text for _, _, text in rows]
    syn = next(place for place, text in enumerate(info) if "[SYN]" in text)
    born = next(place for place, text in enumerate(info) if "request sock enters the SYN queue" in text)
    reply = next(place for place, text in enumerate(info) if "[SYN, ACK]" in text)
    assert syn < born < reply
    for words in ("CLOSED → SYN_SENT", "accept queue 1/8", "EPOLLIN|EPOLLRDHUP", "TIME_WAIT object takes over"):
        assert any(words in text for text in info), words


@pytest.mark.kernel
@pytest.mark.needs("tshark")
def test_tshark_finds_nothing_wrong_with_the_packets(synfin: Synfin) -> None:
    file, _ = record(synfin)
    assert tshark(file, "-Y", "tcp.analysis.flags") == []
    assert tshark(file, "-Y", "_ws.malformed || _ws.expert.severity == error") == []
    (stream,) = {row[0] for row in tshark(file, "-Y", "tcp", "-T", "fields", "-e", "tcp.stream")}
    assert stream == "0"
    conversation = tshark(file, "-Y", "tcp.len > 0", "-T", "fields", "-e", "tcp.len")
    assert conversation == [["5"], ["5"], ["8"]]


@pytest.mark.kernel
@pytest.mark.needs("capinfos")
def test_capinfos_reports_strict_time_order(synfin: Synfin) -> None:
    file, ran = record(synfin)
    told = subprocess.run(["capinfos", str(file)], capture_output=True, text=True, timeout=60, check=True).stdout
    packets = sum(event["event"] == "packet:sent" for event in ran.events)
    assert re.search(r"Strict time order:\s+True", told), told
    assert re.search(rf"Number of packets:\s+{packets}\b", told), told  # capinfos does not count journal entries


# The live run and its replay


def same_lines(synfin: Synfin, file: Path, live: Ran) -> None:
    """Every line of the replay is the line of the live run."""
    again = synfin("replay", str(file), "--json")
    assert (again.code, again.err) == (0, "")
    assert len(live.out.splitlines()) > 100
    assert again.out.splitlines() == live.out.splitlines()


@pytest.mark.kernel
def test_replay_repeats_the_live_run_line_by_line(synfin: Synfin) -> None:
    file, live = record(synfin)
    same_lines(synfin, file, live)


def test_replay_repeats_a_run_without_kernel_probes(synfin: Synfin) -> None:
    file, live = record(synfin, "--no-kernel")
    same_lines(synfin, file, live)
    assert {event["source"] for event in live.events} <= {"stage", "wire", "table", "engine"}


def test_a_plain_user_gets_packets_sampled_states_and_the_same_replay(nobody: Synfin) -> None:
    file, live = record(nobody)
    assert "kernel probes need CAP_BPF" in live.err
    same_lines(nobody, file, live)
    if "a user namespace of its own" in live.err:
        assert {event["evidence"] for event in live.events} == {"captured", "sampled", "inferred", "reported"}
        assert path_of(live.events, "client") == PATH["client"]
        assert path_of(live.events, "server") == PATH["server"]
    else:  # the machine refuses them: it says so, and what it cannot see
        assert "the host's loopback" in live.err and "without packets" in live.err


def path_of(events: list[dict[str, Any]], side: str) -> list[str]:
    """States of one side as worked out from packets, in order."""
    told = [event for event in events if event["event"] == "socket:state" and event["evidence"] == "inferred"]
    return [event["new"] for event in told if event["side"] == side]


@pytest.mark.kernel
def test_a_recording_can_be_piped(synfin: Synfin) -> None:
    run = synfin.start("run", "half-close", "--text", "-w", "-", stdout=subprocess.PIPE)
    ran_out, ran_err = run.communicate(timeout=60)
    assert run.returncode == 0, ran_err
    (synfin.folder / "piped").write_bytes(ran_out)
    assert load(synfin.folder / "piped")


# kill -9


@pytest.mark.kernel
@pytest.mark.needs("tshark")
@pytest.mark.parametrize("events", [0, 40, 90, 150])
def test_what_kill_9_leaves_can_be_opened(synfin: Synfin, events: int) -> None:
    """Killed when so many lines had been printed: what had been printed is in the file, and a little more perhaps."""
    out = synfin.folder / "out"
    with out.open("w") as printed:
        run = synfin.start("run", "half-close", "--json", "-w", "run.pcapng", "--pace", "0.1", stdout=printed.fileno())
    file = synfin.folder / "run.pcapng"
    wait_for(file.exists, "the recording")
    wait_for(lambda: file.stat().st_size > 0, "the recording's header")
    wait_for(lambda: out.read_text().count("\n") >= events, f"{events} lines")
    run.send_signal(signal.SIGKILL)
    run.wait()
    printed_lines = out.read_text().splitlines()
    again = synfin("replay", "run.pcapng", "--json")
    assert (again.code, again.err) == (0, "")
    replayed = again.out.splitlines()
    whole = [line for line in printed_lines if is_json(line)]
    assert replayed[: len(whole)] == whole
    assert events <= len(replayed) < 230
    assert len(listed(file)) == len(replayed)


def is_json(line: str) -> bool:
    """Whether it is a whole line: the last one may have been cut off."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.kernel
@pytest.mark.needs("tshark")
def test_a_file_cut_off_anywhere_opens_up_to_there(synfin: Synfin) -> None:
    file, _ = record(synfin)
    data = file.read_bytes()
    whole = load(file)
    cut = synfin.folder / "cut.pcapng"
    for size in range(1500, len(data), len(data) // 7):
        cut.write_bytes(data[:size])
        again = synfin("replay", str(cut), "--json")
        assert again.code == 0
        events = again.events
        assert [event["event"] for event in events] == [event.name for event in whole.events(0, len(events))]
        assert 0 < len(events) < len(whole)
        if "cut off" not in again.err:
            assert size in boundaries(data)
        else:
            assert again.err == (
                f"synfin: cut off in the middle of a block at byte {max(b for b in boundaries(data) if b <= size)}; "
                "all before it was read\n"
            )


def boundaries(data: bytes) -> list[int]:
    """Where blocks begin, and where the last one ends."""
    places = [0]
    while places[-1] < len(data):
        at = places[-1]
        places.append(at + int.from_bytes(data[at + 4 : at + 8], "little"))
    return places


@pytest.mark.kernel
def test_the_recording_says_what_was_on_and_where(synfin: Synfin) -> None:
    file, ran = record(synfin)
    with file.open("rb") as opened:
        reader = RecordingReader(opened)
        count = sum(len(batch) for batch in reader.batches())
    assert count == len(ran.events)
    assert reader.meta["scenario"] == "half-close"
    assert reader.meta["kernel"] == os.uname().release
    assert {row["group"]: row["on"] for row in reader.meta["probes"]}["states"] is True
    timeline: Timeline = load(file)
    end = world_after(timeline).end(1, Side.CLIENT)
    assert end is not None
    assert end.waits
