"""Claims about tasks, threads and what connections take: C16, C32 to C37, C40, C43, C44. Decided by loads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from statistics import median
from typing import Final

from scenarios.claims.claim import Verdict, confirmed, measured, refined, refuted
from scenarios.load import kernel_memory, queueing, switches
from scenarios.load.evidence import RUNS, Loads, Spread, repeated
from scenarios.load.experiments import EXPERIMENTS, Case
from scenarios.load.plan import Plan
from scenarios.load.run import clients_needed
from scenarios.load.table import count, size, span
from tracer.kernel.btf import BtfError

SEVERAL: Final = 1000
ROUND: Final = 2
"""A round figure of an article holds when what is measured is no further from it than by this factor."""
FLAT: Final = 3
"""A cost that does not even grow by this factor while connections grow by a thousand does not grow with their number:
what there is of it comes of memory that is in no cache any more."""


def idle(model: str, connections: int) -> Case:
    """Connections that mostly wait."""
    plan = Plan(connections, rate=3000, messages=100, duration=1.0)
    return Case(f"{model} {connections:,}", model, plan)


def undecided(why: str, words: str) -> Verdict:
    """This machine, in these runs, does not tell."""
    return Verdict("undecided", f"{why}: {words}")


def near(cost: Spread, low: float, high: float) -> bool:
    """True when the claimed figure, or range of figures, holds."""
    return low / ROUND <= cost.middle <= high * ROUND


@measured("C16", "A parked task costs no thread")
def no_thread(loads: Loads) -> Verdict:
    models = ("netpoller", "asyncio", "threads")
    loads.run([idle(model, connections) for model in models for connections in (10, SEVERAL)])
    told = {model: [loads.figure(idle(model, each), "threads") for each in (10, SEVERAL)] for model in models}
    parked = loads.figure(idle("netpoller", SEVERAL), "tasks")
    words = f"{count(parked.least)} tasks parked; threads at 10 and at {SEVERAL:,} connections: " + "; ".join(
        f"{model} {few.told(count)} and {many.told(count)}" for model, (few, many) in told.items()
    )
    grows = {model: many.most > few.least for model, (few, many) in told.items()}
    if not grows["threads"]:
        return undecided("even threads were not counted", words)
    return refuted("it does", words) if grows["netpoller"] or grows["asyncio"] else confirmed(words)


@measured("C32", "Two tasks per connection double the memory")
def double(loads: Loads) -> Verdict:
    cases = {case.model: case for case in EXPERIMENTS["tasks"].cases}
    one, two = cases["netpoller"], cases["netpoller-two"]
    loads.run([one, two])
    each = [loads.figure(case, "memory_per_connection") for case in (one, two)]
    ratio = each[1].middle / each[0].middle
    words = (
        f"the netpoller: {each[0].told(size)} a connection with one task, {each[1].told(size)} with two: {ratio:.2f}"
    )
    if not each[1].above(each[0]):
        return undecided("the runs overlap", words)
    if 1.8 <= ratio <= 2.2:
        return confirmed(words)
    return refined(f"it is {ratio:.1f} times as much: socket, buffers and poll descriptor are there but once", words)


@measured("C33", "Each connection needs two file descriptors")
def two_descriptors(loads: Loads) -> Verdict:
    case = idle("epoll-level", SEVERAL)
    server, clients = loads.figure(case, "files_per_connection"), loads.figure(case, "client_files")
    of_client = Spread(tuple(value / SEVERAL for value in clients.values))
    words = f"{SEVERAL:,} connections: {server.told(count)} each in the server, {of_client.told(count)} in the client"
    if round(server.middle) == 2:
        return confirmed(words)
    return refined("one in each of the two processes: two only where both ends are counted on one machine", words)


@measured("C34", "Each connection costs about 17 KB of TCP buffers")
def buffers(loads: Loads) -> Verdict:
    told = {
        words: repeated(lambda data=data: kernel_memory.unread(data))  # type: ignore[misc]
        for words, data in (("idle", b""), ("one byte unread", b"x"), ("all that goes unread", None))
    }
    words = "buffers of a server's socket: " + "; ".join(f"{name} {spread.told(size)}" for name, spread in told.items())
    with contextlib.suppress(BtfError):
        words += "; besides " + ", ".join(f"{name} {bytes} B" for name, bytes in kernel_memory.objects().items())
    if all(12_000 <= spread.middle <= 24_000 for spread in told.values()):
        return confirmed(words)
    return refuted(
        "buffers are taken when there is something in them: none while idle, up to the limit when busy", words
    )


@measured("C35", "A thread per connection costs 1 MB of memory")
def megabyte(loads: Loads) -> Verdict:
    case = idle("threads", SEVERAL)
    touched, kernel, reserved = (
        loads.figure(case, f"{name}_per_connection") for name in ("memory", "kernel_stack", "reserved")
    )
    words = (
        f"{SEVERAL:,} threads with stacks of 256 KiB: {touched.told(size)} of memory each and "
        f"{kernel.told(size)} for the kernel's stack, {reserved.told(size)} of addresses"
    )
    if touched.least + kernel.least > 700_000:
        return confirmed(words)
    return refuted("the stack is reserved as addresses; memory is only what was touched of it", words)


@measured("C36", "A thread switch costs 1-2 us, a task switch 0.2 us")
def switch(loads: Loads) -> Verdict:
    with one_processor():
        thread, process, task = (
            repeated(each) for each in (switches.threads, switches.processes, switches.greenlets)
        )  # fmt: skip
        coroutine = repeated(switches.coroutines)
    words = (
        f"thread {thread.told(_ns)}, process {process.told(_ns)}, greenlet {task.told(_ns)}, "
        f"asyncio task {coroutine.told(_ns)}, all on one processor; figures hold within a factor of {ROUND}"
    )
    if not thread.above(task) and not process.above(task):
        return undecided("the runs overlap", words)
    if near(thread, 1e-6, 2e-6) and near(task, 0.2e-6, 0.2e-6):
        return confirmed(words)
    return refined(
        "other figures on this machine; what a runtime does besides (asyncio's loop) costs more than either", words
    )


@measured("C37", "One million goroutine switches cost 0.2 s")
def goroutines(loads: Loads) -> Verdict:
    with one_processor():
        took = repeated(lambda: switches.goroutines(1_000_000))
    words = f"1,000,000 Gosched() between two goroutines on one thread took {took.told(span)}"
    if near(took, 0.2, 0.2):
        return confirmed(words)
    return refined(f"{'less' if took.middle < 0.2 else 'more'} on this machine", words)


@measured("C40", "select and poll cost grows with the number of watched fds, epoll's does not")
def grows(loads: Loads) -> Verdict:
    cases = EXPERIMENTS["readiness"].cases
    loads.run(cases)
    told: dict[str, list[tuple[int, Spread]]] = {}
    for case in cases:
        row = told.setdefault(case.model, [])
        row.append((case.plan.connections, loads.figure(case, "cpu_per_message")))
    words = "processor time a message: " + "; ".join(
        f"{model} " + ", ".join(f"{connections:,}: {spread.told(span)}" for connections, spread in row)
        for model, row in told.items()
    )
    ends = {model: (row[0][1], row[-1][1]) for model, row in told.items()}
    if not all(ends[model][1].above(ends[model][0]) for model in ("select", "poll")):
        return undecided("the runs overlap", words)
    few, many = (spread.least for spread in ends["epoll-level"])  # a busy machine only ever adds
    flat = many < FLAT * few
    return confirmed(words) if flat else refuted("epoll's grows too", words)


@measured("C43", "With a full thread pool new connections wait in a FIFO queue")
def first_in_first_out(loads: Loads) -> Verdict:
    runs = [queueing.full_pool() for _ in range(RUNS)]
    orderly = sum(run.order == sorted(run.order) for run in runs)
    last = Spread(tuple(max(run.seconds) for run in runs))
    words = (
        f"20 clients against one thread and 4 places: {median(run.in_program for run in runs):.0f} waited in the "
        f"program, {median(run.in_kernel for run in runs):.0f} in the kernel's accept queue; {orderly} of {RUNS} runs "
        f"served them in order; the last waited {last.told(span)}"
    )
    if orderly < RUNS:
        return refuted("they do not come in order", words)
    if not any(run.in_kernel for run in runs):
        return confirmed(words)
    return refined("in two: the program's, and behind it, when that is full, the kernel's accept queue", words)


@measured("C44", "A dispatcher with a bounded pool holds 60,000 connections with a constant number of tasks")
def constant(loads: Loads) -> Verdict:
    cases = list(_dispatchers())
    loads.run(cases)
    told = []
    per_process = set()
    whole = True
    for case in cases:
        held, threads, processes = (loads.figure(case, key) for key in ("held", "threads", "processes"))
        per_process |= {one / many for one, many in zip(threads.values, processes.values, strict=True)}
        whole = whole and held.least == case.plan.connections and not loads.errors(case)
        by = "one process" if processes.middle == 1 else f"{count(processes.middle)} processes"
        told.append(f"{held.told(count)} held by {by} with {threads.told(count)} threads")
    words = "; ".join(told)
    if not whole:
        return undecided("connections were lost", words)
    if len(per_process) > 1:
        return refuted("threads grow with connections", words)
    if loads.figure(cases[-1], "processes").middle == 1:
        return confirmed(words)
    most = os.sysconf("SC_OPEN_MAX")
    return refined(f"constant in a process; {most:,} descriptors a process make more processes necessary here", words)


def _dispatchers() -> Iterator[Case]:
    for connections in (1000, 10_000, 60_000):
        plan = Plan(connections, rate=min(max(2000, connections / 3), 6000), messages=200, duration=1.0)
        clients = max(clients_needed(plan), -(-connections // 15_000))
        plan = Plan(connections, plan.rate, plan.messages, plan.size, plan.duration, clients=clients)
        yield Case(f"dispatcher {connections:,}", "dispatcher", plan)


@contextlib.contextmanager
def one_processor() -> Iterator[None]:
    """All on one processor, so that every hand-over is a switch."""
    before = switches.on_one_processor()
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _ns(seconds: float) -> str:
    return f"{seconds * 1e9:.0f} ns"
