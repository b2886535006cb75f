"""Captures: pcap and pcapng files and pipes as rows of decoded TCP segments.

    with open_capture("trace.pcapng.gz") as capture:
        for block in capture.blocks():
            analyse(block.segments)
        for note in capture.notes:
            print(note)
"""

from tracer.capture.blocks import Block, Frame, Journal
from tracer.capture.outcomes import Note, Notes
from tracer.capture.pcapng import Interface, Section
from tracer.capture.reader import Capture, open_capture
from tracer.capture.source import ByteSource, CaptureError

__all__ = [
    "Block",
    "ByteSource",
    "Capture",
    "CaptureError",
    "Frame",
    "Interface",
    "Journal",
    "Note",
    "Notes",
    "Section",
    "open_capture",
]
