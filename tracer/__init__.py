"""The ground floor: what TCP events are, where they come from, and what can be folded out of them."""

from typing import Final

__version__: Final = "0.1.0"
