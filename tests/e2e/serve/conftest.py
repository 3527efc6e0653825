"""One real `serve` with the real engine for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.served import Served, serving


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    env = {"PAGODA_PROFILE_DIR": str(folder / "profiles")}
    with serving(folder / "home", env=env) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=served.url + "/v1", api_key=served.boot["api_key"], max_retries=0
    ) as made:
        yield made


@pytest.fixture
def model(client: openai.OpenAI) -> str:
    return client.models.list().data[0].id
