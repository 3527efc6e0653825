"""A real server (fake engine) and the official client."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.stack import Stack, start_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    made = start_stack("--step-delay-s", "0.002", "--vocab-size", "200")
    yield made
    made.stop()


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{stack.base}/v1", api_key=stack.keys["plain"], max_retries=0, timeout=30
    ) as made:
        yield made
