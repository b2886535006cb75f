"""What tasks and poll descriptors carry: the fields of the kinds that a language's runtime is the source of.

A task is what looks like a thread to the programmer and is none to the kernel: a goroutine, an asyncio task, a task of
a netpoller. A runtime keeps many of them on few threads, and between a task that looks blocked and the kernel's epoll
stands its poll descriptor: one for each file descriptor, with two places, rg for who reads and wg for who writes. Each
place holds ``nil`` (nobody waits, nothing is ready), ``ready`` (a notice has come and nobody was there), ``wait``
(somebody is about to park) or the number of the task that is parked there. These are the names of Go's netpoll.go; the
other runtimes keep the same thing under other names.
"""

from __future__ import annotations

from typing import Final

from tracer.field_types import Field

NEW: Final = "new"
RUNNING: Final = "running"
RUNNABLE: Final = "runnable"
WAITING: Final = "waiting"
CALLING: Final = "in a call"
OVER: Final = "over"
TASK_STATES: Final = (NEW, RUNNABLE, RUNNING, CALLING, WAITING, OVER)
"""What a task can be: made and not in the run queue yet; in it; on a thread; on a thread that is in a system call;
parked; at its end."""

NIL: Final = "nil"
READY: Final = "ready"
WAIT: Final = "wait"
"""What stands in a place of a poll descriptor unless it is a task's number."""

TASK: Final = (
    Field("task", "u64", "", "its number, unique in its process"),
    Field("by", "u64", "", "the task in whose turn this happened: who made it, who woke it; 0 the runtime itself"),
    Field("old", "word", "", "state left; empty where the task is seen for the first time"),
    Field("new", "word", "", "state entered: new, runnable, running, in a call, waiting, over"),
    Field("why", "reason", "", "waiting: for what, in the runtime's words (IO wait, chan receive, sleep)"),
    Field("name", "reason", "", "the function that it runs"),
    Field("runtime", "word", "", "go, asyncio, uvloop, netpoller"),
)
"""Of ``task:state``. The head's fd is the descriptor that it waits for, its tid the thread on which this happens."""

POLL: Final = (
    Field("desc", "u64", "", "the poll descriptor: its address or number in the runtime"),
    Field("task", "u64", "", "the task in whose turn this happened; 0 the runtime itself"),
    Field("rg", "word", "", "who reads, after this: nil, ready, wait or the number of the parked task"),
    Field("wg", "word", "", "who writes, after this"),
    Field("rg_was", "word", "", "who reads, before"),
    Field("wg_was", "word", "", "who writes, before"),
    Field("why", "reason", "", "open, reset, park, taken, readable, writable, both, deadline, closing, close"),
    Field("runtime", "word", "", "go, asyncio, uvloop, netpoller"),
)
"""Of ``polldesc:change``. The head's fd is the descriptor that it stands for."""

ASKS: Final = (
    Field("delay", "i64", "ns", "for how long it may wait; -1 until something is ready, 0 not at all"),
    Field("task", "u64", "", "the task in whose turn this happens; 0 the runtime's own"),
    Field("caller", "reason", "", "the function of the runtime that asks (findRunnable, sysmon, run_once)"),
    Field("runtime", "word", "", "go, asyncio, uvloop, netpoller"),
)
"""Of ``poller:asks``. The head's tid is the thread; the call itself is the syscall:enter that follows on it."""
