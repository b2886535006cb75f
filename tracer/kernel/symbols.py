"""Addresses of a few kernel functions, from /proc/kallsyms.

A timer says what it is for only by the function that it will call, and a wait queue entry by the function that wakes
it. Without CAP_SYSLOG the kernel shows every address as zero (kptr_restrict): then nothing is found, and the probes
that compare functions are switched off instead of being silent. Addresses last as long as the kernel runs, so they are
kept by boot id, in a file that only its owner reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Final

from platformdirs import user_cache_dir

KALLSYMS: Final = Path("/proc/kallsyms")
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def look_up(names: tuple[str, ...], path: Path = KALLSYMS) -> dict[str, int]:
    """Address of each name that the file shows with an address other than zero. The first wins: vmlinux is first."""
    try:
        text = b"\n" + path.read_bytes()
    except OSError:
        return {}
    found = {}
    for name in names:
        for kind in (b" t ", b" T "):
            at = text.find(kind + name.encode() + b"\n")
            if at >= 0:
                address = int(text[text.rfind(b"\n", 0, at) + 1 : at], 16)
                if address:
                    found[name] = address
                    break
    return found


def addresses(names: tuple[str, ...], cache: Path | None = None) -> dict[str, int]:
    """As `look_up`, remembered for this boot."""
    folder = Path(user_cache_dir("synfin", appauthor=False)) if cache is None else cache
    file = folder / "kallsyms.json"
    boot = ""
    with contextlib.suppress(OSError):
        boot = BOOT_ID.read_text().strip()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(file.read_bytes())
        if boot and kept["boot"] == boot and set(names) <= set(kept["addresses"]):
            return {name: int(kept["addresses"][name]) for name in names}
    found = look_up(names)
    if boot and len(found) == len(names):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=".kallsyms-")  # mode 0600
            with os.fdopen(handle, "w") as out:
                json.dump({"boot": boot, "addresses": found}, out)
            Path(temporary).replace(file)
    return found
