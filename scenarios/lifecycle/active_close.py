"""Active close: who closes first waits longest.

The side whose program calls close() first sends the first FIN and goes through FIN_WAIT1 (its FIN is under way),
FIN_WAIT2 (it is acknowledged) and, when the other side's FIN has come, TIME_WAIT (RFC 9293 section 3.6). There it stays
for a minute (TCP_TIMEWAIT_LEN), lest its last ACK be lost and an old segment meet a new connection. The program has
long gone on. Its descriptor ended with close(); its socket, with all its buffers, is freed as soon as the FIN is
acknowledged, for nobody can read from it any more; and what goes from FIN_WAIT2 to TIME_WAIT is a small object of the
kernel's with two addresses, two ports and a timer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

scenario = Scenario(
    name="active-close",
    title="Active close: FIN_WAIT1, FIN_WAIT2, TIME_WAIT",
    topic="lifecycle",
    place=40,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=(
        "the client's side: FIN_WAIT1, FIN_WAIT2, TIME_WAIT",
        "its full socket freed in FIN_WAIT2 already: a small object waits in its place",
        "the timer of a minute",
    ),
    aftermath="TIME_WAIT of the client's side runs out",
    aftermath_seconds=66.0,  # TCP_TIMEWAIT_LEN is 60 s; the timer wheel rounds up, by 4.1 s at most
    questions=(
        ("Which side gets TIME_WAIT?", "The one that closed first, here the client's"),
        ("What is left of the client's socket in TIME_WAIT?", "A small object with the four-tuple and a timer"),
        ("In which state does the client wait for the server to close?", "FIN_WAIT2"),
    ),
)


@scenario.step("server", "The server listens.")
def listens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


@scenario.step("client", "The client connects.")
def connects(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))


@scenario.step("server", "The server accepts and waits for words.", asleep_in="recv")
def waits_for_words(me: Actor) -> None:
    me.connection = accept(me.listener)
    if recv(me.connection, 100):
        raise AssertionError("the client has said nothing")


@scenario.step(
    "client",
    "The client closes without a word. The server's recv returns nothing: end of file.",
    wakes="server",
    watch="client FIN_WAIT1; server CLOSE_WAIT. The ACK of the FIN may wait for data to go with: 40 ms",
    lasts=0.1,
)
def closes_first(me: Actor) -> None:
    close(me.connection)


@scenario.step("server", "The server closes too.", watch="server LAST_ACK, gone; client TIME_WAIT")
def closes_second(me: Actor) -> None:
    close(me.connection)
    close(me.listener)


@scenario.must_see("the client's side goes through FIN_WAIT1 and FIN_WAIT2 to TIME_WAIT")
def waits(seen: Seen) -> str | None:
    return seen.went_through("client", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")


@scenario.must_see("the server's side goes through CLOSE_WAIT and LAST_ACK")
def follows(seen: Seen) -> str | None:
    return seen.went_through("server", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE")


@scenario.must_see("four packets end it: FIN, ACK, FIN, ACK")
def four_packets(seen: Seen) -> str | None:
    fin, answer = seen.first("client", "FIN"), seen.first("server", "FIN")
    if fin is None or answer is None:
        return "not both sides sent a FIN"
    return seen.in_order(
        ("the client's FIN", fin),
        ("its ACK", next((p for p in seen.packets("server", "ACK") if p["ack"] == fin["seq"] + 1), None)),
        ("the server's FIN", answer),
        ("its ACK", next((p for p in seen.packets("client", "ACK") if p["ack"] == answer["seq"] + 1), None)),
    )


@scenario.must_see("only the client's side has an object that waits, armed for a minute")
def a_minute(seen: Seen) -> str | None:
    wait = seen.timewait("client")
    if wait is None or seen.timewait("server") is not None:
        return "the client's side has none" if wait is None else "the server's side has one too"
    return None if 59 < wait.armed < 62 else f"it is armed for {wait.armed:.1f} s"


@scenario.must_see("the client's full socket is freed in FIN_WAIT2, before the server closes")
def handed_over(seen: Seen) -> str | None:
    wait = seen.timewait("client")
    return seen.same(wait.state if wait else "", "FIN_WAIT2", "state of the object that waits") or seen.in_order(
        ("the object is born", wait.born if wait else None),
        ("the server's close()", seen.calls("server", "close")[0].enter),
        ("TIME_WAIT", seen.reached("client", "TIME_WAIT")),
    )


@scenario.must_see("TIME_WAIT ends by its timer, after a minute")
def runs_out(seen: Seen) -> str | None:
    wait = seen.timewait("client")
    if wait is None:
        return "there was no TIME_WAIT"
    lasted = wait.lasted
    return None if wait.end == "expired" and 59 < lasted < 66 else f"it was {wait.end} after {lasted:.1f} s"
