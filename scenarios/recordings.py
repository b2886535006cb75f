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


def shown(name: str) -> str:
    """The path of a recording as one types it: relative where it lies below the current folder. It must be there."""
    place = folder()
    assert place is not None
    path = place / f"{name}.pcapng"
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
