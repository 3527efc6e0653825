"""500 random requests, streamed and whole; 100 sampled ones alone and among neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.random_requests import differences, drawn, whole
from tests.served import serving


@pytest.fixture(scope="module")
def served_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, str]]:
    with serving(tmp_path_factory.mktemp("volume") / "home", within_s=90) as served:
        headers = {"Authorization": f"Bearer {served.boot['api_key']}"}
        with httpx.Client(
            base_url=served.url, headers=headers, timeout=60, trust_env=False
        ) as http:
            yield http, http.get("/v1/models").json()["data"][0]["id"]


@pytest.mark.timeout(1200)
def test_500_streams_add_up_to_whole_answers(served_model: tuple[httpx.Client, str]) -> None:
    http, model = served_model
    assert differences(http, model, range(1000, 1500)) == []


@pytest.mark.timeout(1200)
def test_100_answers_are_the_same_among_any_neighbours(
    served_model: tuple[httpx.Client, str],
) -> None:
    http, model = served_model
    requests = [drawn(seed, model, sampled=True) for seed in range(2000, 2100)]
    alone = [whole(http, route, body) for route, body in requests]
    with ThreadPoolExecutor(24) as threads:
        for order in (requests, requests[::-1]):
            together = list(threads.map(lambda request: whole(http, *request), order))
            assert together == (alone if order is requests else alone[::-1])
