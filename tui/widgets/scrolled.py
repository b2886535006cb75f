"""What is drawn by the line and scrolled: the base of the ladder and of the panes.

Textual lays the whole screen out anew whenever the size of what is scrolled over changes, which costs more than all
that is drawn. Here the size is set without that, unless a scrollbar comes or goes.
"""

from __future__ import annotations

from textual.geometry import Size
from textual.scroll_view import ScrollView


class Scrolled(ScrollView, can_focus=False):
    """A widget that draws its lines itself (``render_line``) and says by ``measure`` how many there are."""

    def measure(self, lines: int) -> None:
        """There are that many to scroll over. Only a scrollbar that comes or goes is worth a layout of the screen."""
        # Nothing is scrolled sideways: a width that followed the scrollbar's would be one more layout.
        room, before, size = self.container_size.height, self.virtual_size, Size(1, lines)
        if size.width != before.width or (size.height > room) is not (before.height > room):
            self.virtual_size = size
        elif size != before:
            self.set_reactive(Scrolled.virtual_size, size)
            if self.show_vertical_scrollbar:
                self.vertical_scrollbar.window_virtual_size = size.height
