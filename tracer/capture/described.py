"""What a pcapng file says of itself on the way: its sections, and the interfaces that packets were captured at.

Both kinds of block lie between those of packets. One is consumed at a time, from the window on the file; what is wrong
with it is told in words, and nothing is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from tracer.capture.pcapng import Interface, Order, Section, byte_order, read_interface, read_section
from tracer.capture.window import LARGEST, Window

if TYPE_CHECKING:
    from tracer.capture.reader import Place

MOST_INTERFACES: Final = 65_536
MOST_SECTIONS: Final = 65_536


class Described:
    """Sections and interfaces so far; those of the current section are in force."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self.interfaces: list[Interface] = []
        """Of all sections."""
        self.first_interface = 0
        """Index of the current section's first."""
        self.order: Order = "little"
        """Byte order of the current section."""

    def read_section(self, window: Window) -> str:
        """Consume a Section Header Block; what is wrong with it, or nothing."""
        offset = window.offset
        if not window.need(12):
            return f"it ends inside a section header, at offset {offset}"
        order = byte_order(bytes(window.buf[window.at : window.at + 12]))
        if order is None:
            return f"the section header at offset {offset} has no byte-order magic"
        size = int.from_bytes(window.buf[window.at + 4 : window.at + 8], order)
        if size < 28 or size & 3 or size > LARGEST:
            return f"the section header at offset {offset} claims a length of {size} bytes"
        if not window.need(size):
            return f"it ends inside a section header, at offset {offset}"
        section = read_section(bytes(window.buf[window.at : window.at + size]), order, offset)
        if section.version[0] != 1:
            return f"the section at offset {offset} is of version {section.version[0]}, which is not known"
        if len(self.sections) >= MOST_SECTIONS:
            return f"it has more than {MOST_SECTIONS} sections"
        window.at += size
        self.order = order
        self.sections.append(section)
        self.first_interface = len(self.interfaces)
        return ""

    def read_interface(self, window: Window) -> str:
        """Consume an Interface Description Block; what is wrong with it, or nothing."""
        offset = window.offset
        if not window.need(8):
            return f"it ends inside an interface description, at offset {offset}"
        size = int.from_bytes(window.buf[window.at + 4 : window.at + 8], self.order)
        if size < 20 or size & 3 or size > LARGEST:
            return f"the interface description at offset {offset} claims a length of {size} bytes"
        if not window.need(size):
            return f"it ends inside an interface description, at offset {offset}"
        block = bytes(window.buf[window.at : window.at + size])
        if block[4:8] != block[-4:]:
            return f"the two lengths of the interface description at offset {offset} differ"
        if len(self.interfaces) >= MOST_INTERFACES:
            return f"it describes more than {MOST_INTERFACES} interfaces"
        number = len(self.interfaces) - self.first_interface
        self.interfaces.append(read_interface(block, self.order, len(self.sections) - 1, number))
        window.at += size
        return ""

    def until(self, place: Place) -> Self:
        """What had been described at an earlier place."""
        then = type(self)()
        then.sections, then.interfaces = self.sections[: place.sections], self.interfaces[: place.interfaces]
        then.first_interface, then.order = place.first_interface, place.order
        return then
