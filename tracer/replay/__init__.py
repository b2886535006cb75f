"""Replay: what a capture's segments mean, and what became of each connection.

    replay = Replay()
    for segments in batches:                    # rows of tracer.segments.SEGMENT, in capture order
        analysis = replay.feed(segments)        # rows of ANALYSIS: row i belongs to segment i
        gone = replay.finished()                # rows of CONNECTION whose state was given up meanwhile
    rest = replay.connections()                 # rows of CONNECTION of all others, as they are now

``analysed(replay, batches)`` does the same while the next batch is being read.

``ANALYSIS`` holds Wireshark's TCP analysis: ``FINDINGS`` names the bits of its column ``findings`` (field, label,
severity). ``CONNECTION`` is one row per stream. Nothing is kept but the state of connections that may still go on.
"""

from tracer.replay.analysis import ANALYSIS, FINDING, FINDINGS, UNKNOWN, Finding, findings_of
from tracer.replay.connections import CONNECTION
from tracer.replay.engine import Replay
from tracer.replay.pipeline import analysed

__all__ = ["ANALYSIS", "CONNECTION", "FINDING", "FINDINGS", "UNKNOWN", "Finding", "Replay", "analysed", "findings_of"]
