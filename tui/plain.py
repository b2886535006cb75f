"""Text from outside made harmless for a terminal.

Payload, process names, file names and remarks come from programs that nobody vouches for. An escape sequence in a
process name could move the cursor, rename the window or worse (ECMA-48 control functions), and a bidirectional
override could make one name look like another (Unicode TR36). Such characters are replaced, each by one mark, so that
what is shown has the width it seems to have; nothing of it is ever read as markup.
"""

from __future__ import annotations

import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(text: str, mark: str = "·") -> str:
    """`text` with every control, format and unassigned character replaced by `mark`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(mark if unicodedata.category(c) in _UNSAFE else c for c in text)
