"""asyncio's story told of another loop, and that loop's story told of asyncio."""

from __future__ import annotations

from scenarios.script import Scenario
from scenarios.servers import asyncio_tasks, uvloop_tasks
from tests.scenarios.variants import taken_away


def program(scenario: Scenario) -> dict[str, object]:
    """What takes the server's place in a scenario, as a change of a step."""
    return {"program": scenario.steps[0].program}


over_uvloop = taken_away(
    asyncio_tasks.scenario,
    "over-uvloop",
    change={1: program(uvloop_tasks.scenario)},
    fails=("the loop waits in epoll_wait", "in the table of who waits"),
)

over_asyncio = taken_away(
    uvloop_tasks.scenario,
    "over-asyncio",
    change={1: program(asyncio_tasks.scenario)},
    fails=("the loop sleeps in the kernel",),
)
