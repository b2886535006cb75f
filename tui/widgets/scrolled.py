"""What is drawn by the line and scrolled: the base of the ladder and of the panes.

Textual lays the whole screen out anew whenever the size of what is scrolled over changes, which costs more than all
that is drawn. Here the size is set without that, unless a scrollbar comes or goes. While events rush by it would come
and go with every other key: then it stays.
"""

from __future__ import annotations

from typing import Final

from textual.geometry import Size
from textual.scroll_view import ScrollView

_STAYS: Final = "scroll"


class Scrolled(ScrollView, can_focus=False):
    """A widget that draws its lines itself (``render_line``) and says by ``measure`` how many there are."""

    def keep_bar(self, stays: bool) -> None:
        """The scrollbar is there whether it is needed or not; False: where it is needed."""
        if stays is not (self.styles.overflow_y == _STAYS):
            self.styles.overflow_y = _STAYS if stays else "auto"

    def measure(self, lines: int) -> None:
        """There are that many to scroll over. Only a scrollbar that comes or goes is worth a layout of the screen."""
        # Nothing is scrolled sideways: a width that followed the scrollbar's would be one more layout.
        room, before, size = self.container_size.height, self.virtual_size, Size(1, lines)
        turns = (size.height > room) is not (before.height > room) and self.styles.overflow_y != _STAYS
        if size.width != before.width or turns:
            self.virtual_size = size
        elif size != before:
            self.set_reactive(Scrolled.virtual_size, size)
            if self.show_vertical_scrollbar:
                self.vertical_scrollbar.window_virtual_size = size.height
