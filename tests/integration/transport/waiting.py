"""Polling with a limit, for what other threads and processes do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tests.served import LIMIT_S


def until(ready: Callable[[], Any], *, within_s: float = LIMIT_S, what: str = "it") -> Any:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {within_s} s")


async def soon(ready: Callable[[], Any], *, within_s: float = LIMIT_S, what: str = "it") -> Any:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := ready():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {within_s} s")
