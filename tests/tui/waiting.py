"""Waiting for what a screen will show: for it to hold, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest


async def until(good: Callable[[], bool]) -> None:
    """Let the app run until that holds; ten seconds at the most."""
    for _ in range(500):
        if good():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it never came to hold")
