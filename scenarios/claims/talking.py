"""Claims about talking: C48, C49."""

from __future__ import annotations

from scenarios.claims.claim import Seen, Verdict, claim, confirmed, refuted


@claim("C48", "A sentinel in the text ends the conversation by mistake; framing does not", "sentinel", "framing")
def by_mistake(sentinel: Seen, framing: Seen) -> Verdict:
    both = (sentinel, framing)
    sent = [sum(event["length"] for event in seen.arrived("client", data=True)) for seen in both]
    read = [sum(got for got in seen.results("server", "recv") if isinstance(got, int)) for seen in both]
    resets = [len(seen.packets("server", "RST")) for seen in both]
    told = [f"{got} of {whole} bytes read, {rst} RST" for got, whole, rst in zip(read, sent, resets, strict=True)]
    words = f"sentinel: {told[0]}; framing: {told[1]}"
    as_told = read[0] < sent[0] and resets[0] and read[1] == sent[1] and not resets[1]
    return confirmed(words) if as_told else refuted("it is otherwise", words)


@claim("C49", "TCP_NODELAY removes the wait for an ACK on small writes", "nagle")
def no_wait(seen: Seen) -> Verdict:
    waits = []
    for number in (1, 2):
        first, second = seen.connection(number).packets("client", data=True)[:2]
        acks = seen.connection(number).arrived("server", "ACK", without="SYN")
        between = any(first.order < ack.order < second.order for ack in acks)
        waits.append((seen.seconds(first, second) * 1e3, between))
    (plain, waited), (nodelay, waited_too) = waits
    words = f"the second piece left {plain:.1f} ms after the first without it, {nodelay * 1e3:.0f} us with it"
    if waited and not waited_too:
        return confirmed(words)
    return refuted("it makes no difference", words)
