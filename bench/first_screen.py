"""How long until a large capture is on the screen: from exec of `synfin replay FILE` to its first packets drawn.

    python bench/first_screen.py [--runs N] [FILE]

Without FILE the capture of 10.2 million packets (1.3 GB) that bench/replay.py builds is made and removed again. A
pseudo-terminal of 80x24 stands in for the person's; the clock starts before exec and stops when the first segment's SYN
has been drawn, while reading goes on behind. Beside it: what a bare import of Textual takes at that moment.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from first_event import importing, wait_for

DRAWN: Final = b"SYN"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="synfin-bench-") as folder:
        file: Path = chosen.file or Path(folder) / "mixed-x11.pcap"
        if not chosen.file:
            make = str(Path(__file__).with_name("replay.py"))
            subprocess.run([sys.executable, make, "--packets", "10", "--multiply", str(file)], check=True)
        ours, theirs = [], []
        for _ in range(chosen.runs):
            theirs.append(importing())
            ours.append(wait_for(DRAWN, ["replay", str(file)]))
        print(f"{file.name}, {file.stat().st_size / 1e6:,.0f} MB")
        for name, times in (("synfin replay", ours), ("import textual.app", theirs)):
            print(f"{name:<20} median {statistics.median(times):.2f} s  range {min(times):.2f}-{max(times):.2f} s")


if __name__ == "__main__":
    main()
