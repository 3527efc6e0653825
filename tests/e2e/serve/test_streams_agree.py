"""A stream adds up to the whole answer; neighbours in the batch change no text."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.random_requests import differences, drawn, whole
from tests.served import Served


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {served.boot['api_key']}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60, trust_env=False) as made:
        yield made


def test_streams_add_up_to_whole_answers(http: httpx.Client, model: str) -> None:
    assert differences(http, model, range(20)) == []


def test_neighbours_change_no_text(http: httpx.Client, model: str) -> None:
    requests = [drawn(seed, model, sampled=True) for seed in range(100, 108)]
    alone = [whole(http, route, body) for route, body in requests]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda request: whole(http, *request), requests))
    assert together == alone
