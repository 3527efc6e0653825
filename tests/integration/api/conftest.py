"""One running installation for this folder: web process, fake engine, Redis, database."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.api.parrots import start_parrots
from tests.stack import Stack, start_stack

STEP_S = "0.002"


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Shared by all tests here; its Redis is not emptied between them."""
    made = start_stack("--step-delay-s", STEP_S, "--vocab-size", "200")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def parrots(stack: Stack) -> None:
    """Models that say what they are told."""
    start_parrots(stack)


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """Speaks with the key that has every scope."""
    with stack.http() as made:
        yield made


@pytest.fixture
def plain(stack: Stack) -> Iterator[httpx.Client]:
    """Speaks with a key that may only infer."""
    with stack.http(headers={"Authorization": f"Bearer {stack.keys['plain']}"}) as made:
        yield made


@pytest.fixture
def stranger(stack: Stack) -> Iterator[httpx.Client]:
    """Has no key."""
    with stack.http(headers={}) as made:
        yield made
