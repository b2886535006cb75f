"""The stage: where a play may take place, what is seen from inside, and that nothing stays behind."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scenarios import namespaces
from scenarios.stage import Stage, StageError

from .conftest import Perform

ROOT = Path(__file__).resolve().parents[2]
AUDIENCE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from scenarios.stage import Stage
from scenarios.play import Play
stage = Stage.of("half-close")
ground = stage.open()
play = Play(stage, hold_steps=True)
play.start()
play.next_step(); play.next_step()
while play.position < 2: time.sleep(0.002)
print(stage._holder.pid, *ground.pids.values(), flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_behind_when_the_audience_is_ended(end: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AUDIENCE, str(ROOT)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as audience:
        assert audience.stdout
        pids = [int(word) for word in audience.stdout.readline().split()]
        assert len(pids) == 3
        assert all(alive(pid) for pid in pids)
        audience.send_signal(end)
        audience.wait(10)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(alive(pid) for pid in pids):
        time.sleep(0.01)
    assert [pid for pid in pids if alive(pid)] == []


def test_actors_die_with_a_killed_stage_hand(perform: Perform) -> None:
    play = perform("half-close", hold_steps=True)
    assert play.stage.ground
    assert play.stage._holder
    os.kill(play.stage._holder.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    pids = list(play.stage.ground.pids.values())
    while time.monotonic() < deadline and any(alive(pid) for pid in pids):
        time.sleep(0.01)
    assert not any(alive(pid) for pid in pids)
    with pytest.raises((StageError, OSError)):
        play.stage.socket("diag")


def test_closing_leaves_no_process_and_no_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        stage = Stage.of("half-close")
        ground = stage.open()
        stage.close()
        stage.close()
        assert not any(alive(pid) for pid in ground.pids.values())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_actors_have_descriptors_from_3_and_one_thread(perform: Perform) -> None:
    play = perform("half-close", hold_steps=True)
    play.next_step()
    while play.position < 1:
        time.sleep(0.002)
    assert play.stage.ground
    for name, pid in play.stage.ground.pids.items():
        assert Path(f"/proc/{pid}/comm").read_text().strip() == name
        assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
        numbers = sorted(int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir())
        assert [fd for fd in numbers if 3 <= fd < 200] == ([3] if name == "server" else [])


def test_a_fresh_network_is_not_the_hosts_and_has_lo_up(perform: Perform) -> None:
    play = perform("half-close", ("namespace", "user-namespace"), hold_steps=True)
    ground = play.stage.ground
    assert ground
    assert ground.isolated
    assert set(ground.networks.values()) != {namespaces.inode()}
    pid = ground.pids["client"]
    assert namespaces.inode(f"/proc/{pid}/ns/net") == ground.networks["client"]
    routes = Path(f"/proc/{pid}/net/fib_trie").read_text()
    assert "127.0.0.1" in routes


def test_packets_are_seen_from_inside_by_a_handed_out_socket(perform: Perform) -> None:
    play = perform("half-close", ("namespace", "user-namespace"), hold_steps=True)
    with play.stage.socket("packet") as seat:
        seat.bind((play.stage.interface, 3))
        seat.settimeout(5)
        play.run()
        frame = seat.recv(2048)
    assert frame[12:14] == b"\x08\x00"
    assert frame[14 + 9] == socket.IPPROTO_TCP


def test_a_sysctl_is_set_inside_only(perform: Perform, tmp_path: Path) -> None:
    host = Path("/proc/sys/net/ipv4/tcp_fin_timeout").read_text()
    path = tmp_path / "sysctl.py"
    path.write_text(
        "from scenarios.script import Scenario\n"
        "play = Scenario(name='s', title='', topic='', story='', actors=('one',),"
        " sysctls={'net.ipv4.tcp_fin_timeout': '7'})\n"
        "@play.step('one', 'reads')\n"
        "def _(me):\n    me.say(open('/proc/sys/net/ipv4/tcp_fin_timeout').read().strip())\n"
    )
    play = perform(str(path), ("namespace", "user-namespace"))
    assert play.wait(10)
    assert [r.text for r in play.reports if r.kind == "said"] == ["7"]
    assert Path("/proc/sys/net/ipv4/tcp_fin_timeout").read_text() == host


def test_two_networks_on_a_wire(perform: Perform, tmp_path: Path) -> None:
    pytest.importorskip("pyroute2")
    path = tmp_path / "wire.py"
    path.write_text(
        "from scenarios.calls import *\nfrom scenarios.script import Scenario\n"
        "play = Scenario(name='w', title='', topic='', story='', actors=('a', 'b'), network='veth')\n"
        "@play.step('a', 'listens')\n"
        "def _(me):\n    me.s = socket(); bind(me.s, me.at('a')); listen(me.s, 1)\n"
        "@play.step('b', 'connects')\n"
        "def _(me):\n    me.s = socket(); connect(me.s, me.at('a'))\n"
    )
    play = perform(str(path), ("namespace", "user-namespace"))
    assert play.wait(10)
    assert (play.state, play.failure) == ("finished", "")
    assert play.stage.ground
    assert len(set(play.stage.ground.networks.values())) == 2
    assert play.stage.ground.addresses == {"a": "10.99.0.1", "b": "10.99.0.2"}


def test_a_broken_script_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def (")
    with pytest.raises(SyntaxError):
        Stage.of(str(path))
    path.write_text("import os\nif os.environ.get('X') is None: from scenarios.script import Scenario\n")
    with pytest.raises(LookupError, match="no Scenario in"):
        Stage.of(str(path))


@pytest.mark.parametrize(
    ("sysctl", "value", "number", "words"),
    [
        ("kernel/unprivileged_userns_clone", "0", errno.EPERM, "kernel.unprivileged_userns_clone is 0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", errno.EACCES, "AppArmor takes the rights away again"),
        ("user/max_user_namespaces", "0", errno.ENOSPC, "user.max_user_namespaces is 0"),
        ("user/max_user_namespaces", "100", errno.ENOSPC, "a limit in /proc/sys/user is reached"),
        ("user/max_user_namespaces", "100", errno.EINVAL, "built without user namespaces"),
        ("user/max_user_namespaces", "100", errno.EPERM, "seccomp filter or security module"),
    ],
)
def test_a_refusal_is_explained(tmp_path: Path, sysctl: str, value: str, number: int, words: str) -> None:
    (tmp_path / sysctl).parent.mkdir()
    (tmp_path / sysctl).write_text(value + "\n")
    told = namespaces.why_not("user-namespace", number, tmp_path)
    assert words in told
    assert errno.errorcode[number] in told


def test_a_refused_place_gives_way_to_the_next_and_says_why() -> None:
    """A process that may make no namespace (a limit of 0 in a user namespace of its own) plays on the host's lo."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from scenarios import namespaces\n"
        "from scenarios.stage import Stage\n"
        "namespaces.enter('user-namespace')\n"
        "open('/proc/sys/user/max_user_namespaces', 'w').write('0')\n"
        "open('/proc/sys/user/max_net_namespaces', 'w').write('0')\n"
        "stage = Stage.of('half-close')\n"
        "print(stage.open())\n"
        "stage.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    if "NotAllowed" in done.stderr or "Permission" in done.stderr:
        pytest.skip("user namespaces are refused here, or their limits cannot be set")
    assert done.stdout.startswith("in the host's loopback; "), done.stderr
    assert "a user namespace was refused (ENOSPC): user.max_user_namespaces is 0" in done.stdout
