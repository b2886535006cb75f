"""Claims about ends: FIN, half-close, epoll, TIME_WAIT: C18 to C28."""

from __future__ import annotations

import contextlib

from scenarios.claims.claim import Seen, Verdict, claim, confirmed, held, refined, refuted
from scenarios.ending.time_wait import FIN_TIMEOUT, length
from tracer.kernel.btf import Btf, BtfError

DELETE = 2
"""EPOLL_CTL_DEL."""


@claim("C18", "EOF counts as readable", "half-close")
def readable(seen: Seen) -> Verdict:
    fin = seen.arrived("client", "FIN")[0]
    notices = [each for each in seen.actor("server").notices() if each[1] and each[0].order > fin.order]
    told = notices[0][1][0][1] if notices else "nothing"
    read = [call for call in seen.calls("server", "recv") if notices and call.enter.order > notices[0][0].order]
    words = f"after the client's FIN epoll_wait gave {told}, and recv() then {read[-1].result if read else 'nothing'}"
    return confirmed(words) if "EPOLLIN" in told and read and read[-1].result == 0 else refuted("it does not", words)


@claim("C19", "shutdown(SHUT_WR) sends FIN and leaves the fd open and readable", "half-close")
def leaves_open(seen: Seen) -> Verdict:
    shut = seen.calls("client", "shutdown")[0]
    fin = seen.first("client", "FIN")
    read = [call.result for call in seen.calls("client", "recv") if call.leave and call.leave.order > shut.enter.order]
    closed = seen.calls("client", "close")
    wrong = seen.in_order(
        ("shutdown()", shut.enter), ("FIN", fin), ("shutdown() returns", shut.leave),
        ("close()", closed[-1].enter if closed else None),
    )  # fmt: skip
    words = f"FIN went out within shutdown(); recv gave {', '.join(map(str, read))} afterwards; close came at the end"
    return confirmed(words) if held(wrong) and read and (read[0] or 0) > 0 else refuted("it does not", wrong or words)


@claim(
    "C20",
    "Closing the fd removes it from epoll by an explicit epoll_ctl DEL",
    "half-close",
    "asyncio-listener",
    "go-echo",
)
def explicit_removal(plain: Seen, asyncio: Seen, go: Seen | None = None) -> Verdict:
    told = {}
    for name, seen in (("a plain program", plain), ("asyncio", asyncio), ("Go", go)):
        if seen is None:
            continue
        operations = seen.actor("server").registrations()
        removed = [fd for operation, fd, _ in operations if operation == DELETE]
        added = [fd for operation, fd, _ in operations if operation == 1]
        told[name] = (len(added), len(removed))
    words = "; ".join(
        f"{name}: {added} added, {removed} removed by epoll_ctl" for name, (added, removed) in told.items()
    )
    if all(removed for _, removed in told.values()):
        return confirmed(words)
    if not any(removed for _, removed in told.values()):
        return refuted("the kernel removes it by itself at the last close", words)
    return refined("some runtimes do so; it is not needed: the kernel removes it by itself at the last close", words)


@claim("C21", "The server's close() sends its FIN and moves it to LAST_ACK", "passive-close")
def to_last_ack(seen: Seen) -> Verdict:
    closing = seen.calls("server", "close")[0]
    wrong = seen.in_order(
        ("close()", closing.enter), ("LAST_ACK", seen.reached("server", "LAST_ACK")),
        ("its FIN", seen.first("server", "FIN")), ("close() returns", closing.leave),
    )  # fmt: skip
    return refuted("it does not", wrong) if wrong else confirmed("close(), LAST_ACK, FIN, and then close() returned")


@claim("C22", "The client's close() sends the final ACK and starts TIME_WAIT", "half-close")
def by_close(seen: Seen) -> Verdict:
    fin = seen.arrived("server", "FIN")[0]
    ack = next((event for event in seen.packets("client", "ACK") if event.order > fin.order), None)
    wait, closing = seen.timewait("client"), seen.calls("client", "close")[-1]
    born = wait.born if wait else None
    moments = {"the server's FIN": fin, "the last ACK": ack, "TIME_WAIT": born, "close()": closing.enter}
    order = sorted((event.order, name) for name, event in moments.items() if event is not None)
    words = ", ".join(name for _, name in order)
    if born is None or ack is None:
        return refuted("there was no TIME_WAIT or no ACK", words)
    if closing.enter.order < min(born.order, ack.order):
        return confirmed(words)
    return refuted(
        "the kernel does both by itself when the server's FIN arrives; close() comes later and sends nothing", words
    )


@claim("C23", "TIME_WAIT lasts up to 120 s, twice the maximum segment lifetime", "time-wait")
def two_minutes(seen: Seen) -> Verdict:
    wait = seen.timewait("client")
    if wait is None:
        return refuted("there was none", "no TIME_WAIT")
    words = (
        f"its timer was set to {length(wait):.1f} s, with tcp_fin_timeout at {FIN_TIMEOUT}, and it was gone after "
        f"{wait.lasted:.1f} s"
    )
    if 110 < length(wait) < 130:
        return confirmed(words)
    same = abs(length(wait) - FIN_TIMEOUT) < 1
    return refuted(f"on Linux it is {length(wait):.0f} s, {'as' if same else 'not what'} tcp_fin_timeout says", words)


@claim("C24", "The receive buffer stays alive through TIME_WAIT", "half-close")
def buffer_stays(seen: Seen) -> Verdict:
    wait, gone = seen.timewait("client"), seen.destroyed("client")
    if wait is None or gone is None:
        return refuted("there was no TIME_WAIT, or the socket was never freed", "")
    words = f"the socket was freed {seen.seconds(wait.born, gone) * 1e3:.1f} ms after TIME_WAIT was born"
    with contextlib.suppress(BtfError):  # the kernel's own description of itself
        types = Btf.of_kernel()
        full, small = types.size("tcp_sock"), types.size("tcp_timewait_sock")
        words += f"; struct tcp_sock has {full} bytes, struct tcp_timewait_sock {small}"
    held_on = wait.ended is not None and gone.order > wait.ended.order
    return confirmed(words) if held_on else refuted("socket and buffers are freed; a small object stays", words)


@claim("C25", "The side that closes first gets TIME_WAIT", "active-close", "simultaneous-close")
def first_gets_it(active: Seen, simultaneous: Seen) -> Verdict:
    told = {
        name: [side for side in ("client", "server") if seen.timewait(side) is not None]
        for name, seen in (("active close", active), ("simultaneous close", simultaneous))
    }
    first = min(active.packets("", "FIN"), key=lambda event: event.order).side.name.lower()
    words = "; ".join(f"{name}: {' and '.join(sides) or 'nobody'}" for name, sides in told.items())
    if told["active close"] != [first]:
        return refuted("it was another side", words)
    if len(told["simultaneous close"]) == 1:
        return confirmed(words)
    return refined("whoever sends its FIN before it has seen the other's; when the FINs cross, both", words)


@claim("C26", "In TIME_WAIT a retransmitted FIN is answered", "last-ack-lost")
def answered(seen: Seen) -> Verdict:
    wait, fins = seen.timewait("client"), seen.arrived("server", "FIN")
    if wait is None or len(fins) < 2:
        return refuted("there was no TIME_WAIT or no second FIN", "")
    answer = next((event for event in seen.packets("client", "ACK") if event.order > fins[1].order), None)
    wrong = seen.in_order(("TIME_WAIT", wait.born), ("the second FIN", fins[1]), ("an ACK", answer))
    if wrong or answer is None:
        return refuted("it is not", wrong or "")
    return confirmed(f"ACK {seen.seconds(fins[1], answer) * 1e6:.0f} us after the second FIN, with no socket left")


@claim(
    "C27", "TIME_WAIT keeps an old duplicate from entering a new connection on the same 4-tuple", "old-duplicate"
)  # fmt: skip
def keeps_out(seen: Seen) -> Verdict:
    wait = seen.connection(1).timewait("server")
    read = [result for result in seen.results("server", "recv") if isinstance(result, int)]
    if wait is None:
        return refuted("there was no TIME_WAIT", "")
    copies = [event for each in seen.connections() for event in each.arrived("client", data=True)]
    during = [event for event in copies if event.order > wait.born.order]
    during = [event for event in during if wait.ended is None or event.order < wait.ended.order]
    words = (
        f"in TIME_WAIT the old segment came {len(during)} time(s) and was not delivered; when a RST had ended that, "
        f"a new connection read {read[-1]} bytes, the old {read[0]} among them"
    )
    return confirmed(words) if during and len(read) == 2 else refuted("it does not", words)


@claim("C28", "The fd number is free for reuse at once after close, while the socket lives on", "fd-reuse")
def free_at_once(seen: Seen) -> Verdict:
    for name in ("client", "server"):
        for number, freed, taken in seen.actor(name).reused():
            gone = [event for event in seen.all_of("socket:destroy", "timewait:expired") if event.order > taken.order]
            if gone:
                return confirmed(
                    f"fd {number} was given out again {seen.seconds(freed, taken) * 1e6:.0f} us after close(); "
                    f"its first socket was still there"
                )
    return refuted("it was not", "no descriptor was given out again while its socket was alive")
