"""What it costs to change from one thread to another, and from one task to another, in seconds of processor time.

Two threads (or processes) on one processor hand a byte to each other through pipes: each round is two switches and four
system calls. What the calls cost without a switch is measured by the same calls on a pipe of one's own, and taken off.
Tasks hand over in user space: greenlets by switch(), coroutines by await sleep(0), goroutines by Gosched(). Everywhere
it is processor time: what others do meanwhile is not the question.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from scenarios.go_programs import built

ROUNDS: Final = 20_000
TASK_ROUNDS: Final = 200_000
RUN_SECONDS: Final = 60.0


def calls() -> float:
    """A write and a read of one byte on a pipe of one's own: two system calls and no switch."""
    reader, writer = os.pipe()
    began = time.process_time()
    for _ in range(ROUNDS):
        os.write(writer, b".")
        os.read(reader, 1)
    took = time.process_time() - began
    os.close(reader)
    os.close(writer)
    return took / ROUNDS


def threads() -> float:
    """One switch between two Python threads, which also hand the interpreter's lock over."""
    there, back = os.pipe(), os.pipe()
    other = threading.Thread(target=_answers, args=(there[0], back[1]))
    began = time.process_time()
    other.start()
    _asks(there[1], back[0])
    other.join()
    took = time.process_time() - began
    for fd in (*there, *back):
        os.close(fd)
    return took / (2 * ROUNDS) - calls()


def processes() -> float:
    """One switch between two processes of one thread each."""
    there, back = os.pipe(), os.pipe()
    before = _with_children()
    child = os.fork()
    if child == 0:
        _answers(there[0], back[1])
        os._exit(0)
    _asks(there[1], back[0])
    os.waitpid(child, 0)
    took = _with_children() - before
    for fd in (*there, *back):
        os.close(fd)
    return took / (2 * ROUNDS) - calls()


def _with_children() -> float:
    """Seconds of processor time of this process and of the children that have ended: os.times() would count ticks."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _asks(writer: int, reader: int) -> None:
    for _ in range(ROUNDS):
        os.write(writer, b".")
        os.read(reader, 1)


def _answers(reader: int, writer: int) -> None:
    for _ in range(ROUNDS):
        os.read(reader, 1)
        os.write(writer, b".")


def greenlets() -> float:
    """One switch between two greenlets. Raises ImportError."""
    from greenlet import greenlet

    here = greenlet.getcurrent()

    def other() -> None:
        while True:
            here.switch()

    task = greenlet(other)
    began = time.process_time()
    for _ in range(TASK_ROUNDS // 2):
        task.switch()
    took = time.process_time() - began
    return took / TASK_ROUNDS


def coroutines() -> float:
    """One switch between two asyncio tasks."""

    async def turns() -> None:
        for _ in range(TASK_ROUNDS // 20):
            await asyncio.sleep(0)

    async def both() -> float:
        began = time.process_time()
        await asyncio.gather(turns(), turns())
        return time.process_time() - began

    return asyncio.run(both()) / (TASK_ROUNDS // 10)


def goroutines(number: int) -> float:
    """Seconds that so many switches between two goroutines took. Raises RuntimeError where Go is missing."""
    program = built(Path(__file__).with_name("switches.go"))
    done = subprocess.run([program, str(number)], capture_output=True, text=True, timeout=RUN_SECONDS, check=True)
    return int(done.stdout) / 1e9


def on_one_processor() -> set[int]:
    """Keep this process (and what it starts) on one processor; the processors it had."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    return before
