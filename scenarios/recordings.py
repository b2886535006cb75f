"""The recordings that came with the program: in the source tree, or inside the installed package."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path | None:
    """The folder of the recordings, None when the program came without any."""
    here = Path(__file__).resolve().parent
    return next((path for path in (here / "captures", here.parent / "captures") if path.is_dir()), None)


def names() -> list[str]:
    """What is there, by name without its ending, sorted."""
    place = folder()
    return sorted(path.stem for path in place.glob("*.pcapng")) if place else []
