"""Go programs that plays run: built from their source by the Go of this machine, once, and kept in the cache folder.

A program of another language is not shipped as a binary: what runs is what can be read, and made by the very Go whose
runtime is then looked into. It needs the standard library only, and no network. A kept program is run only when its
folder is ours and nobody else may write there: it may run as root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from platformdirs import user_cache_dir

FOLDER: Final = Path(__file__).resolve().parent / "servers" / "go"
"""Where the sources are."""
BUILD_SECONDS: Final = 180.0
"""A first build compiles the standard library, too, where Go comes without it compiled (since 1.20)."""


class GoProgramMissing(RuntimeError):
    """The program cannot be had here; str() says in a sentence what is missing and what to do."""


def built(source: Path) -> Path:
    """The program of a source file, from the cache or built now. Raises GoProgramMissing."""
    try:
        go, program = _place(source)
        folder = program.parent.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _ours_alone(folder):
            raise GoProgramMissing(f"{folder} may be written by others: no program is run from there")
        if not program.exists():
            _build(go, source, program)
    except OSError as failure:
        raise GoProgramMissing(f"{source.name} cannot be built: {failure.filename}: {failure.strerror}") from None
    return program


def kept(source: Path) -> bool:
    """Whether it was built before. Raises GoProgramMissing, OSError."""
    return _place(source)[1].exists()


def _place(source: Path) -> tuple[str, Path]:
    """Go, and where the program is kept that it makes of a source. Raises GoProgramMissing, OSError."""
    go = shutil.which("go")
    if go is None:
        raise GoProgramMissing(
            f"there is no go to build {source.name} with: install it (Debian: apt install golang-go)"
        )
    status = Path(go).stat()
    made_by = f"{Path(go).resolve()} {status.st_size} {status.st_mtime_ns} ".encode()
    digest = hashlib.sha256(made_by + source.read_bytes()).hexdigest()[:16]
    return go, Path(user_cache_dir("synfin", appauthor=False)) / "go" / digest / source.stem


def _build(go: str, source: Path, program: Path) -> None:
    kept = program.parent.parent
    with tempfile.TemporaryDirectory(dir=kept, prefix=".build-") as folder:
        made = Path(folder) / program.name
        settings = {"CGO_ENABLED": "0", "GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
        # Go's own cache where there is one: it may know the standard library already.
        cache = {} if "HOME" in os.environ else {"GOCACHE": str(kept / "build")}
        environment = cache | dict(os.environ) | settings
        try:
            done = subprocess.run(
                [go, "build", "-o", str(made), str(source)],
                env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise GoProgramMissing(f"go did not build {source.name} within {BUILD_SECONDS:.0f} s") from None
        if done.returncode or not made.exists():
            said = done.stderr.strip().splitlines()
            raise GoProgramMissing(f"go cannot build {source.name}: {said[-1] if said else 'no word'}")
        program.parent.mkdir(exist_ok=True)
        made.replace(program)
    for old in kept.glob(f"*/{source.stem}"):  # of another Go, or of a source of before
        if old != program and not old.parent.name.startswith("."):
            shutil.rmtree(old.parent, ignore_errors=True)


def _ours_alone(folder: Path) -> bool:
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
