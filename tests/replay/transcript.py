"""Segments written as a transcript: one line each, and what is found beside it.

> S 0             the first host sends a SYN with sequence number 0, both ends counting from their own
< SA 0:1          the other answers; 0 is its sequence number, 1 what it acknowledges
> A 1:1 100 w500  100 bytes of payload, window 500 (1000 where nothing is said)
+30               30 ms pass (1 ms passes before every segment)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tracer.replay import FINDINGS, Replay
from tracer.segments import ACK, FIN, MAX_SACK_BLOCKS, PSH, RST, SEGMENT, SYN, V4_MAPPED

BITS: Final = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK}
MODULO: Final = 1 << 32


def segments(text: str, bases: tuple[int, int] = (1000, 5000), port: int = 1111) -> NDArray[Any]:
    """Rows of ``SEGMENT`` for a transcript; ``bases`` are the initial sequence numbers of the two hosts."""
    rows = []
    time = 1_000_000_000
    for line in text.strip().splitlines():
        words = line.split("#")[0].split("|")[0].split()
        if not words:
            continue
        if words[0].startswith("+"):
            time += round(float(words[0][1:]) * 1e6)
            continue
        time += 1_000_000
        side = "><".index(words[0])
        row = np.zeros((), SEGMENT)
        row["time"], row["frame"], row["family"], row["header"] = time, len(rows) + 1, 4, 20
        ends = ((V4_MAPPED | 0x01010101, port), (V4_MAPPED | 0x02020202, 80))
        (row["src_lo"], row["sport"]), (row["dst_lo"], row["dport"]) = ends[side], ends[1 - side]
        row["flags"] = sum(BITS[letter] for letter in words[1])
        seq, _, ack = words[2].partition(":")
        row["seq"] = (bases[side] + int(seq)) % MODULO
        row["ack"] = (bases[1 - side] + int(ack)) % MODULO if ack else 0
        row["window"], row["wscale"] = 1000, -1
        for word in words[3:]:
            if word.startswith("w"):
                row["window"] = int(word[1:])
            elif word.startswith("s"):
                row["wscale"] = int(word[1:])
            elif word.startswith("k"):
                left, right = (int(x) for x in word[1:].split("-"))
                assert row["n_sack"] < MAX_SACK_BLOCKS
                row["sack_left"][row["n_sack"]] = (bases[1 - side] + left) % MODULO
                row["sack_right"][row["n_sack"]] = (bases[1 - side] + right) % MODULO
                row["n_sack"] += 1
            else:
                row["length"] = int(word)
        rows.append(row)
    return np.array(rows, SEGMENT)


def found(text: str, bases: tuple[int, int] = (1000, 5000)) -> NDArray[Any]:
    """The analysis of a transcript."""
    return Replay(compiled=False).feed(segments(text, bases))


def names(bits: int) -> str:
    """Findings by Wireshark's field names, joined by blanks."""
    return " ".join(finding.field for finding in FINDINGS if bits & finding.bit)


def check(text: str, bases: tuple[int, int] = (1000, 5000)) -> NDArray[Any]:
    """Analyse a transcript and compare with what its lines say after ``|``; the analysis."""
    analysis = found(text, bases)
    lines = [line for line in text.strip().splitlines() if line.split("#")[0].strip()[:1] in ("<", ">")]
    told = [" ".join(line.split("#")[0].partition("|")[2].split()) for line in lines]
    assert [names(int(row["findings"])) for row in analysis] == told
    return analysis


HANDSHAKE: Final = """
> S 0
< SA 0:1
> A 1:1
"""
