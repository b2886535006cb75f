"""net.ipv4.tcp_tw_reuse: a client takes its own port out of TIME_WAIT, after a second.

The client's only port towards this server is in TIME_WAIT, so connect() fails with EADDRNOTAVAIL. With tcp_tw_reuse (1:
everywhere; 2, the default: on loopback) an *outgoing* connection may take over four numbers from a TIME_WAIT object of
its own, if both sides use timestamps and the object is older than a second (tcp_twsk_unique(); RFC 6191). Timestamps
make it safe: an old segment that turns up later is told by its old time (PAWS, RFC 7323 section 5); a connection that
had none, like the one to the server's other port here, keeps its TIME_WAIT. The second is the granularity of those
times; newer kernels have it as net.ipv4.tcp_tw_reuse_delay. It helps clients only: a server's port is no concern of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import SHUT_WR, accept, bind, close, connect, fails, listen, recv_to_end, shutdown, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

PORT = 41000

scenario = Scenario(
    name="tw-reuse",
    title="tcp_tw_reuse: out of TIME_WAIT after a second, not before",
    topic="limits",
    place=50,
    story=__doc__.split("\n\n", 1)[1].strip(),
    actors=("server", "client"),
    ports=2,
    isolation="required",
    sysctls={"net.ipv4.ip_local_port_range": f"{PORT} {PORT}", "net.ipv4.tcp_tw_reuse": "0"},
    watch=("EADDRNOTAVAIL while TIME_WAIT is young", "TIME_WAIT cancelled by a connect()", "the same four numbers"),
    questions=(
        ("Whose TIME_WAIT can be taken over so?", "The client's own, by an outgoing connection"),
        ("What makes it safe?", "Timestamps: old segments are told by their time"),
        ("Does it help a server with thousands of TIME_WAITs?", "No; they do not use up its ports either"),
    ),
)


@scenario.step("server", "The server listens on two ports; one client each, and they close first.", asleep_in="accept4")
def serves(me: Actor) -> None:
    me.listener, other = socket(), socket()
    for nth, listener in enumerate((me.listener, other)):
        bind(listener, me.at("server", nth))
        listen(listener, 8)
    for listener in (other, me.listener):
        connection = accept(listener)
        recv_to_end(connection)
        close(connection)
    close(other)


@scenario.step("client", "From the only port there is it connects to both, to one without timestamps, and closes.",
               wakes="server", lasts=0.05, watch="TIME_WAIT on the client's side, twice")  # fmt: skip
def uses_it_up(me: Actor) -> None:
    for nth in (1, 0):
        me.sysctl("net.ipv4.tcp_timestamps", 1 - nth)
        connection = socket()
        connect(connection, me.at("server", nth))
        shutdown(connection, SHUT_WR)
        recv_to_end(connection)  # the server's FIN is there, and so this TIME_WAIT begins before the next connection
        close(connection)


@scenario.step("client", "It switches tcp_tw_reuse on and connects again at once.", watch="EADDRNOTAVAIL")
def too_early(me: Actor) -> None:
    me.sysctl("net.ipv4.tcp_tw_reuse", 1)
    me.connection = socket()
    try:
        connect(me.connection, me.at("server"))
    except OSError as refused:
        me.say(f"too early: {refused.strerror}")
    else:  # the play was held for a second before this step
        close(me.connection)
        me.connection = socket()


@scenario.step("client", "It switches it off again, and a second goes by.", lasts=1.2)
def switched_off(me: Actor) -> None:
    me.sysctl("net.ipv4.tcp_tw_reuse", 0)


@scenario.step("client", "A second later, while it is off: still EADDRNOTAVAIL.", watch="no packet")
def still_not(me: Actor) -> None:
    fails("EADDRNOTAVAIL", connect, me.connection, me.at("server"))


@scenario.step("client", "With it on, the port is taken out of TIME_WAIT.", watch="TIME_WAIT ends; a SYN from its port")
def takes_it(me: Actor) -> None:
    me.sysctl("net.ipv4.tcp_tw_reuse", 1)
    connect(me.connection, me.at("server"))


@scenario.step("client", "But not out of the other one's, which had no timestamps.", watch="EADDRNOTAVAIL")
def not_that_one(me: Actor) -> None:
    other = socket()
    fails("EADDRNOTAVAIL", connect, other, me.at("server", 1))


@scenario.step("server", "The server accepts it: to it this is a new connection.")
def accepts(me: Actor) -> None:
    close(accept(me.listener))
    close(me.listener)


@scenario.must_see("within the first second connect() fails although tcp_tw_reuse is on, and sends nothing")
def not_before(seen: Seen) -> str | None:
    wait = seen.connection(2).timewait("client")
    early, off = seen.calls("client", "connect")[2:4]
    if wait is None:
        return "there was no TIME_WAIT on the client's side"
    if seen.seconds(wait.born, early.enter) > 0.9:
        seen.cannot_tell("the play was held for too long to see it")
    sent = [packet for packet in seen.all_of("packet:sent") if early.leave and packet.order > early.leave.order]
    if sent and sent[0].order < off.enter.order:
        return "a packet was sent"
    return seen.same(early.error, "EADDRNOTAVAIL", "the connect() that is too early")


@scenario.must_see("after a second it fails as long as tcp_tw_reuse is off")
def off(seen: Seen) -> str | None:
    return seen.same(seen.results("client", "connect")[3:5], ["EADDRNOTAVAIL", 0], "connect() while off, and on")


@scenario.must_see("with it on, connect() ends the TIME_WAIT, more than a second old, long before its time")
def taken(seen: Seen) -> str | None:
    wait, last = seen.connection(2).timewait("client"), seen.calls("client", "connect")[4]
    if wait is None or wait.end != "cancelled" or wait.ended is None:
        return f"TIME_WAIT was not taken over ({wait.end or 'it still waits' if wait else 'there was none'})"
    if not 1 <= wait.lasted <= 30:
        return f"it had lasted {wait.lasted:.1f} s"
    return seen.in_order(("connect()", last.enter), ("TIME_WAIT ends", wait.ended), ("its return", last.leave))


@scenario.must_see("the new connection has the same four numbers, and stands on both sides")
def same_numbers(seen: Seen) -> str | None:
    port = seen.listener(1).port
    syns = [e for e in seen.all_of("packet:sent") if e["flags"] & 0x12 == 0x02 and e["dport"] == port]
    numbers = {(syn["sport"], syn["dport"]) for syn in syns}
    if wrong := seen.same((len(syns), len(numbers), len({syn.conn for syn in syns})), (2, 1, 2), "SYNs, ports, lives"):
        return wrong
    last = seen.connection(syns[-1].conn)
    return last.went_through("client", "ESTABLISHED") or last.went_through("server", "ESTABLISHED")


@scenario.must_see("a connection that had no timestamps keeps its TIME_WAIT, which is more than a second old as well")
def keeps(seen: Seen) -> str | None:
    without, others = seen.connection(1), seen.connection(2)
    offers = [one.syn_options("client").timestamps for one in (without, others)]
    if wrong := seen.same(offers, [False, True], "timestamps in the SYNs of the first two"):
        return wrong
    wait, last = without.timewait("client"), seen.calls("client", "connect")[5]
    if wait is None or (wait.ended is not None and last.leave is not None and wait.ended.order < last.leave.order):
        return "it has no TIME_WAIT, or that was over"
    if seen.seconds(wait.born, last.enter) < 1:
        return "it was not a second old"
    return seen.same(last.error, "EADDRNOTAVAIL", "the last connect()")
