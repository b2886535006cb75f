"""`synfin load` as a user types it: tables, JSON, a monitor's endpoint, clear sentences, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--connections", "20", "--messages", "100", "--duration", "0.4")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tui.cli", "load", *words]


def load(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_models_side_by_side_as_text_and_markdown() -> None:
    done = load("--model", "epoll-level,threads", *SHORT)
    assert done.returncode == 0, done.stderr
    rows = {line[:28].strip(): line[28:].split() for line in done.stdout.splitlines()[2:]}
    assert rows[""] == ["epoll-level", "threads"]
    assert rows["held to the end"] == ["20", "20"] and rows["errors"] == ["0", "0"]
    assert rows["threads"] == ["1", "21"]
    assert "epoll-level: talk" in done.stderr, "progress goes to standard error"
    done = load("--model", "epoll-level", *SHORT, "--markdown", "--runs", "2")
    assert "| held to the end | 20 |" in done.stdout and "the median of 2 runs" in done.stdout


def test_json_is_one_object_a_run() -> None:
    done = load("--model", "epoll-edge", *SHORT, "--messages", "max", "--json", "--buffer", "64")
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert row["model"] == "epoll-edge" and row["held"] == 20 and row["errors"] == {}
    assert row["plan"]["messages"] == "max" and row["options"] == ["--buffer", "64"]
    assert row["messages"] > 40 and row["cpu"] > 0


def test_select_shows_its_own_limit() -> None:
    done = load("--model", "select", "--connections", "1100", "--messages", "50", "--duration", "0.5", "--json")
    row = json.loads(done.stdout)
    assert row["held"] < 1024 and row["turned_away"] == 1100 - row["held"] > 0 and sum(row["errors"].values()) > 0


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--model", "forks"), 2, r"there is no model 'forks'; there are: threads, pool, .*"),
        (("--experiment", "all"), 2, r"there is no experiment 'all'; there are: tasks, .*"),
        (("--messages", "many"), 2, r"--messages takes a number a second, or max, not 'many'"),
        (("--prometheus", "70000"), 3, r"--prometheus: 70000 is no port"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(words: tuple[str, ...], code: int, sentence: str) -> None:
    done = load(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert re.fullmatch(f"synfin: {sentence}\n", done.stderr), done.stderr


@pytest.mark.parametrize(("package", "model"), [("greenlet", "netpoller"), ("uvloop", "uvloop")])
def test_a_missing_package_is_named(package: str, model: str, tmp_path: Path) -> None:
    hide = f"import sys; sys.modules[{package!r}] = None\nimport importlib.util as u\nfind = u.find_spec\n"
    hide += f"u.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest)\n"
    hide += f"sys.argv[1:] = ['load', '--model', {model!r}]\nfrom tui.cli import main\nmain()\n"
    done = subprocess.run(
        [sys.executable, "-c", hide], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 3
    assert f"the model {model} needs the package {package}: pip install 'synfin[servers]'" in done.stderr


def test_a_port_in_use_is_said() -> None:
    pytest.importorskip("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = load("--prometheus", str(port), *SHORT)
    assert done.returncode == 3
    assert done.stderr == f"synfin: --prometheus: port {port} cannot be opened on 127.0.0.1: somebody has it already\n"


class Running:
    """A load under way, with its whole family of processes."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            command(*words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.said: list[str] = []
        for line in self.process.stderr:
            self.said.append(line)
            if ": talk " in line:
                break
        self.family = descendants(self.process.pid)

    def gone(self) -> bool:
        over = time.monotonic() + 10
        while (left := [pid for pid in self.family if alive(pid)]) and time.monotonic() < over:
            time.sleep(0.05)
        return not left


def descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found[1:]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_however_it_ends_nothing_is_left(
    number: signal.Signals, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    running = Running("--model", "reuseport", "--workers", "2", *SHORT, "--duration", "30", "--clients", "2")
    assert len(running.family) == 5, "a server, its two workers, two clients"
    os.kill(running.process.pid, number)
    _, said = running.process.communicate(timeout=20)
    assert running.process.returncode == code, said
    assert "Traceback" not in said
    assert running.gone()
    assert not list(tmp_path.iterdir())


def test_a_monitor_may_look_on() -> None:
    pytest.importorskip("prometheus_client")
    running = Running("--model", "epoll-level", *SHORT, "--duration", "30", "--prometheus", "0")
    try:
        where = re.search(r"http://127\.0\.0\.1:\d+/metrics", running.said[0])
        assert where, running.said
        over = time.monotonic() + 10
        text = ""
        while 'synfin_connections{load="epoll-level"} 20.0' not in text and time.monotonic() < over:
            text = urllib.request.urlopen(where.group(), timeout=5).read().decode()
        assert 'synfin_connections{load="epoll-level"} 20.0' in text
        assert 'synfin_threads{load="epoll-level"} 1.0' in text
        assert re.search(r"^# TYPE synfin_messages_total counter$", text, re.M)
        assert re.search(r'^synfin_cpu_seconds_total{load="epoll-level"} 0*[.\d]+$', text, re.M)
        assert "python_info" not in text, "only what the load tells"
    finally:
        running.process.terminate()
        running.process.communicate(timeout=20)
    assert running.gone()
