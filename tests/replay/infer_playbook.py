"""Transcripts of segments and of the states inferred from them.

A transcript is text, one segment a line and below it, indented, what was inferred from it::

    C SYN 100
        C CLOSE>SYN_SENT connect certain
    S SYN,ACK 500 101
        S LISTEN>SYN_RECV rcv_syn certain
        C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
    wait 1

C opens or is seen first. A segment is: who sends, flags, sequence number, acknowledgment (where ACK is set), and then
any of ``+N`` (bytes of payload), ``win N``, ``scale N``. Segments are 10 ms apart; ``wait N`` lets N seconds pass more,
``stream N`` begins the connection of that number on the same addresses and ports. ``play`` replays the segments and
writes the transcript anew with what was inferred, so that a test is one comparison and a failure a readable diff.
"""

from __future__ import annotations

from typing import Final

from tracer.replay.infer import Endpoint, Found, Inference
from tracer.replay.infer_rows import Change
from tracer.segments import ACK, FIN, PSH, RST, SYN, V4_MAPPED
from tracer.states import State, Trigger

SECOND: Final = 1_000_000_000
STEP: Final = 10_000_000
CLIENT: Final[Endpoint] = (0, V4_MAPPED | 0x0A000001, 40000)
SERVER: Final[Endpoint] = (0, V4_MAPPED | 0x0A000002, 80)
FLAGS: Final = {"SYN": SYN, "ACK": ACK, "FIN": FIN, "RST": RST, "PSH": PSH}


class Player:
    """Feeds segments written as lines to an inference."""

    def __init__(self) -> None:
        self.inference = Inference()
        self.now = 1_000 * SECOND
        self.stream = 1

    def line(self, text: str) -> list[str]:
        """What is inferred from one line."""
        words = text.split()
        if words[0] == "wait":
            self.now += int(float(words[1]) * SECOND)
            return self._tell(self.inference.advance(self.now))
        if words[0] == "stream":
            self.stream = int(words[1])
            return []
        self.now += STEP
        source, target = (CLIENT, SERVER) if words[0] == "C" else (SERVER, CLIENT)
        flags = sum(FLAGS[name] for name in words[1].split(","))
        named = {words[i]: int(words[i + 1]) for i in range(2, len(words)) if words[i] in ("win", "scale")}
        seq, ack = int(words[2]), int(words[3]) if flags & ACK else 0
        length = sum(int(word) for word in words if word.startswith("+"))
        return self._tell(
            self.inference.segment(
                0, self.stream, source, target, self.now, seq, ack, flags, length,
                named.get("win", 1000), named.get("scale", -1),
            )
        )  # fmt: skip

    def _tell(self, found: list[Found]) -> list[str]:
        return ["    " + told(one.change, "CS"[one.change.row]) for one in found]


def told(change: Change, who: str) -> str:
    """One change as a transcript writes it."""
    trigger = Trigger(change.trigger).name.lower() if change.trigger else "unseen"
    how = ("", "certain", "provisional", "corrected")[change.certainty]
    return f"{who} {State(change.old).name}>{State(change.new).name} {trigger} {how}"


def play(transcript: str, player: Player | None = None) -> str:
    """The transcript with what is inferred now in place of what it says was inferred."""
    player = player or Player()
    out: list[str] = []
    for line in lines(transcript):
        if not line.startswith("    "):
            out += [line, *player.line(line)]
    return "\n".join(out)


def lines(transcript: str) -> list[str]:
    """Its lines without the common indent and without empty ones."""
    found = [line.rstrip() for line in transcript.splitlines() if line.strip()]
    indent = min(len(line) - len(line.lstrip()) for line in found)
    return [line[indent:] for line in found]


def check(transcript: str, player: Player | None = None) -> None:
    """Assert that the transcript tells what is inferred."""
    assert play(transcript, player) == "\n".join(lines(transcript))


HANDSHAKE: Final = """
    C SYN 100
        C CLOSE>SYN_SENT connect certain
    S SYN,ACK 500 101
        S LISTEN>SYN_RECV rcv_syn certain
        C SYN_SENT>ESTABLISHED rcv_syn_ack provisional
    C ACK 101 501
        S SYN_RECV>ESTABLISHED rcv_ack_of_syn provisional
"""


def check_established(transcript: str) -> None:
    """The same for what follows the handshake."""
    player = Player()
    check(HANDSHAKE, player)
    check(transcript, player)
