"""Tasks and poll descriptors in the panes: who does what, who is parked where, lanes."""

from __future__ import annotations

from tests.recorded import read, recorded
from tests.tui.test_panes import Looking
from tracer.batch import BatchBuilder
from tracer.kinds import Evidence, Source
from tracer.timeline import Timeline
from tui.thread_lanes import task_lane

SERVER = 2841


def told() -> Timeline:
    """The recorded half-close, and its server turns out to be of Go: three goroutines, two poll descriptors."""
    timeline = read("half-close")
    time = timeline[len(timeline) - 1].time
    builder = BatchBuilder(Source.RUNTIME, Evidence.OBSERVED)

    def task(number: int, old: str, new: str, why: str = "", fd: int = -1, by: int = 0, name: str = "") -> None:
        nonlocal time
        time += 1000
        own = {"task": number, "old": old, "new": new, "why": why, "by": by, "name": name, "runtime": "go"}
        told = {key: value.encode() if isinstance(value, str) else value for key, value in own.items()}
        builder.add("task:state", time, told, pid=SERVER, tid=SERVER, fd=fd)

    def poll(fd: int, rg: str, wg: str, why: str) -> None:
        own = {"desc": fd, "rg": rg.encode(), "wg": wg.encode(), "why": why.encode(), "runtime": b"go"}
        builder.add("polldesc:change", time, own, pid=SERVER, tid=SERVER, fd=fd)

    task(1, "running", "waiting", "IO wait", 3, 1, "runtime.main")
    poll(3, "1", "nil", "park")
    task(6, "running", "waiting", "IO wait", 5, 6, "main.serve")
    poll(5, "6", "ready", "park")
    task(2, "running", "waiting", "force gc (idle)", -1, 2, "runtime.forcegchelper")
    task(6, "waiting", "runnable", "", 5, 1)
    poll(3, "ready", "nil", "readable")
    task(1, "waiting", "running", "", 3)
    timeline.append(builder.take())
    return timeline


def test_programs_show_tasks_with_what_they_wait_for_and_their_lanes() -> None:
    timeline = told()
    text = Looking(timeline, len(timeline) - 1).text("programs")
    assert "go tasks: 3, 1 running, 1 runnable, 1 waiting" in text
    assert "run queue: 6" in text
    assert "task 1 runtime.main  ▶ running on fd 3" in text
    assert "task 6 main.serve  ▷ runnable on fd 5, by 1" in text
    assert "task 2 runtime.forcegchelper  ‖ waiting: force gc (idle)" in text
    assert text.index("task 1 ") < text.index("task 2 "), "what the runtime itself keeps comes last"


def test_queues_show_the_poll_descriptor_table_of_the_moment() -> None:
    timeline = told()
    text = Looking(timeline, len(timeline) - 1).text("queue-table")
    assert f"poll descriptors of process {SERVER} (go)" in text
    assert "fd 3    rg ● ready   wg nil" in text
    assert "fd 5    rg ‖ 6       wg ● ready   (park)" in text
    first = next(event.order for event in timeline.events() if event.name == "polldesc:change")
    before = Looking(timeline, first, shown=len(timeline) - 1).text("queue-table")
    assert "fd 3    rg ‖ 1       wg nil" in before
    assert "fd 5    rg" not in before, "not known yet"


def test_the_resources_pane_says_when_no_runtime_tells_of_poll_descriptors() -> None:
    timeline = told()
    assert "no source tells" not in Looking(timeline, len(timeline) - 1).text("resources")
    assert "no source tells" in Looking(recorded(), len(recorded()) - 1).text("resources")


def test_the_resources_pane_has_the_poll_descriptor_of_the_recorded_netpoller() -> None:
    timeline = recorded("netpoller-echo")
    lines = Looking(timeline, len(timeline) - 1).text("resources").splitlines()
    (place,) = [at for at, line in enumerate(lines) if "poll descriptor of fd 6" in line]
    assert " open " in lines[place + 1] and "→ close " in lines[place + 1]


def test_a_task_has_a_lane() -> None:
    timeline = told()
    first = len(timeline) - 8
    assert task_lane(timeline, SERVER, 6, first, len(timeline), len(timeline) - 1, 8) == "  ░░░▒▒┃"
    assert task_lane(timeline, SERVER, 1, first, len(timeline), -1, 8) == "░░░░░░░█"
    assert task_lane(timeline, SERVER, 9, first, len(timeline), -1, 4) == "    "
    assert task_lane(timeline, SERVER, 6, first, first, -1, 4) == ""
