"""What the screen may ask for (tui.tools), made here because it takes files and scapy: save, dissect, JSON.

scapy takes a third of a second to import, so that is done when the first packet is taken apart, not before.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracer import __version__
from tracer.export.jsonl import line
from tracer.recording.writer import Recorder
from tracer.timeline import Event, Timeline
from tracer.words import clean
from tui.memory import note, place_for
from tui.tools import Layer, Tools

if TYPE_CHECKING:
    from scapy.packet import Packet

PART: Final = 1 << 14
"""Events written at once."""
TAIL: Final = 1 << 16
"""Bytes of a command's output that are looked at."""
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z^_])")
"""Sequences of ECMA-48 that colour and move: CSI, OSC, and the short ones."""
LONGEST: Final = 60
"""Characters of a field's value."""


def tools(file: str | None = None) -> Tools:
    """All of them; for a view on a file its state is remembered too."""
    made = Tools(save=save, dissect=dissect, as_json=line)
    if file is not None:
        note(file)
    return replace(made, memory=place_for(file)) if file is not None else made


def tail(path: str) -> list[str]:
    """The last lines of a launched command's output, made harmless; fewer where the last TAIL bytes hold fewer."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL, 0))
            text = file.read(TAIL).decode("utf-8", "replace")
    except OSError as failure:
        return [f"its output cannot be read: {failure.strerror}"]
    lines = _ESCAPES.sub("", text).splitlines()
    return [clean(line.expandtabs()) for line in (lines[1:] if size > TAIL and len(lines) > 1 else lines)]


def save(timeline: Timeline, path: str) -> int:
    """Write what is on the timeline now as a recording; how many events. Raises OSError, one sentence."""
    count = len(timeline)
    meta: dict[str, Any] = {"version": __version__, "kernel": platform.release(), "saved": "from the screen"}
    recorder = Recorder(path, meta)
    lost = timeline.field("trace:lost", "total")
    try:
        for start in range(0, count, PART):
            recorder.write(timeline, start, min(start + PART, count))
    finally:
        recorder.close(count, int(lost[-1]) if len(lost) else 0)
    if recorder.failure:
        raise OSError(recorder.failure)
    return count


def dissect(event: Event) -> Sequence[Layer]:
    """The layers of a packet, by scapy, from the header bytes that were kept. Raises ValueError, one sentence."""
    raw: bytes = event["raw"][: event["caplen"]]
    try:
        from scapy.layers.inet import IP, TCP  # noqa: F401  (TCP makes IP know it)
        from scapy.layers.inet6 import IPv6
    except ImportError as missing:
        raise ValueError(f"scapy is missing, which takes packets apart: {missing}") from None
    version = raw[0] >> 4 if raw else 0
    if version not in (4, 6):
        raise ValueError("The bytes that were kept are no IP packet.")
    try:
        packet: Packet | None = (IP if version == 4 else IPv6)(raw)
    except Exception as failure:  # scapy raises whatever comes to it on bytes that make no sense
        raise ValueError(f"scapy cannot read these bytes: {type(failure).__name__}") from None
    layers = []
    while packet is not None and packet.name not in ("NoPayload", "Raw", "Padding"):
        layers.append(Layer(str(packet.name), tuple(_fields(packet))))
        packet = packet.payload or None
    return layers


def _fields(packet: Any) -> list[tuple[str, str]]:
    found = []
    for description in packet.fields_desc:
        value = packet.getfieldval(description.name)
        if value is None:
            continue
        shown = str(description.i2repr(packet, value))
        found.append((description.name, clean(shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…")))
    return found
