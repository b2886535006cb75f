"""`--step`: a person at the terminal holds the play, and lets it go on with Enter."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Synfin, Terminal

pytestmark = pytest.mark.kernel


def test_enter_lets_the_actor_take_one_step(synfin: Synfin) -> None:
    terminal = Terminal(synfin, "run", "half-close", "--text", "--step", columns=120)
    terminal.until("[1/15] server: The server opens its door: socket, bind, listen.  (Enter)")
    assert "listen(" not in terminal.quiet(0.25)  # held: nobody acts

    terminal.type(b"\r")
    terminal.until("listen(3, 8) = 0")
    terminal.until("[2/15] server: It puts the listener under epoll")
    terminal.type(b"\r")
    terminal.until("epoll_wait(4)")
    terminal.until("[3/15] client: The client connects")
    assert "SYN" not in terminal.quiet(0.25).replace("SYN queue", "")

    terminal.type(b"\r")
    terminal.until("SYN_SENT → ESTABLISHED")
    terminal.until("accept queue 1/8")
    terminal.until("[4/15] server: The server collects")
    assert "accept(" not in terminal.quiet(0.25)  # the connection waits in the queue, for as long as one likes

    terminal.type(b"\r" * 12)
    terminal.until("TIME_WAIT object takes over")
    assert terminal.end() == 0
    asked = re.findall(r"\[(\d+)/15\]", terminal.text)
    assert [int(number) for number in asked] == list(range(1, 16))


def test_end_of_input_lets_it_run_to_the_end(synfin: Synfin) -> None:
    terminal = Terminal(synfin, "run", "half-close", "--text", "--step")
    terminal.until("[1/15]")
    terminal.type(b"\x04")
    terminal.until("TIME_WAIT object takes over")
    assert terminal.end() == 0


def test_ctrl_c_while_it_is_held(synfin: Synfin) -> None:
    terminal = Terminal(synfin, "run", "half-close", "--text", "--step")
    terminal.until("[1/15]")
    terminal.type(b"\r")
    terminal.until("[2/15]")
    terminal.type(b"\x03")
    assert terminal.end() == 130
    assert "synfin: interrupted; what was seen until then is above" in terminal.text


def test_the_screen_holds_too(synfin: Synfin) -> None:
    """On the screen the step that is due is named, and nothing happens by itself."""
    terminal = Terminal(synfin, "run", "half-close", "--step", columns=120, rows=40)
    terminal.until("opens its door")
    held = terminal.quiet(0.6)
    assert "Nothing has happened yet" in terminal.text
    assert "socket()" not in held and "bind(" not in held
    terminal.type(b"q")
    assert terminal.end() == 0
