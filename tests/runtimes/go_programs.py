"""Go programs for the tests, built once: the echo server of the stories with and without symbols, and a busy one."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ECHO: Final = Path(__file__).resolve().parents[2] / "scenarios" / "servers" / "go" / "echo.go"

BUSY: Final = """
package main

import (
    "fmt"
    "net"
    "time"
)

// All its threads are busy for a while, and somebody knocks meanwhile.
func main() {
    listener, _ := net.Listen("tcp", "127.0.0.1:0")
    go func() {
        for {
            conn, _ := listener.Accept()
            conn.Close()
        }
    }()
    time.Sleep(10 * time.Millisecond)
    go net.Dial("tcp", listener.Addr().String())
    sum := 0
    for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
        for i := 0; i < 100000; i++ {
            sum += i
        }
    }
    fmt.Println(sum != 0)
}
"""


class Programs(NamedTuple):
    """Where they are."""

    plain: Path
    stripped: Path
    position_independent: Path
    busy: Path
    version: str
    """go1.19.8"""


@functools.cache
def _build(folder: Path) -> Programs:
    environment = os.environ | {"CGO_ENABLED": "0", "GO111MODULE": "off", "GOTOOLCHAIN": "local"}

    def go(*words: str) -> str:
        done = subprocess.run(["go", *words], env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    made = Programs(folder / "echo", folder / "echo-stripped", folder / "echo-pie", folder / "busy",
                    go("env", "GOVERSION").strip())  # fmt: skip
    (folder / "busy.go").write_text(BUSY)
    go("build", "-o", str(made.plain), str(ECHO))
    go("build", "-ldflags", "-s -w", "-o", str(made.stripped), str(ECHO))
    go("build", "-buildmode=pie", "-o", str(made.position_independent), str(ECHO))
    go("build", "-o", str(made.busy), str(folder / "busy.go"))
    return made


def built(factory: pytest.TempPathFactory) -> Programs:
    """Build them, or take those of this run."""
    return _build(factory.getbasetemp())
