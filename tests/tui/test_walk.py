"""The page of the first walk: it names keys that exist, and its pictures are there."""

from __future__ import annotations

import re
from pathlib import Path

from tools.pictures import START, WALK, page
from tui.keys import KEYS
from tui.screens.start import StartScreen

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
WRITTEN = {
    "comma": ",", "full_stop": ".", "right_curly_bracket": "}", "left_curly_bracket": "{", "question_mark": "?",
    "escape": "esc",
}  # fmt: skip


def test_the_page_is_what_the_table_makes() -> None:
    assert (DOCS / "walk.md").read_text() == page(), "make pictures"


def test_the_page_names_keys_that_exist() -> None:
    bound = {bound.key for key in KEYS for bound in key.bound}
    bound |= {binding.key for binding in StartScreen.BINDINGS}
    known = {WRITTEN.get(key, key) for key in bound}
    named = set(re.findall(r"<kbd>(.*?)</kbd>", page()))
    assert len(named) > 10
    assert named <= known, named - known


def test_the_keys_pressed_for_the_pictures_exist() -> None:
    bound = {bound.key for key in KEYS for bound in key.bound}
    assert {key for look in WALK for key in look.keys} <= bound


def test_every_picture_is_there_and_tells_no_machine() -> None:
    for look in (START, *WALK):
        text = (DOCS / "pictures" / f"{look.name}.svg").read_text()
        assert text.startswith("<svg")
        assert not re.search(r"/(?:home|root|tmp)/", text), look.name
    assert "FIN_WAIT2" in (DOCS / "pictures" / "fin-wait-2.svg").read_text()
