"""Every form of the table through a live service: the good ones hold, the bad ones are 400."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.structured.compiler import Grammar, GrammarCompiler
from engine.structured.outputs import StructuredOutputs
from engine.tokenizer import Tokenizer
from tests.served import Served, serving
from tests.structured_cases import BAD, GOOD, Good

DEMO = "pagoda-demo"
MIB = 1024 * 1024
PROMPT = "Some data:"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("forms") / "home", within_s=120) as running:
        yield running


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {served.boot['api_key']}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=300) as client:
        yield client


def ask(http: httpx.Client, form: dict[str, Any], seed: int = 1) -> httpx.Response:
    body = {"model": DEMO, "prompt": PROMPT, "max_tokens": 200, "temperature": 1.0, "seed": seed}
    return http.post("/v1/completions", json=body | {"structured_outputs": form})


def engine_pids(served: Served) -> set[int]:
    return {process.pid for process in served.children("--engine-id")}


def test_three_hundred_forms_hold(http: httpx.Client) -> None:
    def one(case: tuple[int, Good]) -> bool:
        seed, good = case
        reply = ask(http, good.fields, seed)
        assert reply.status_code == 200, (good.fields, reply.text)
        choice = reply.json()["choices"][0]
        if choice["finish_reason"] == "stop":
            assert good.holds(choice["text"]), (good.fields, choice["text"])
        return bool(choice["finish_reason"] == "stop")

    with ThreadPoolExecutor(16) as pool:
        whole = sum(pool.map(one, enumerate(GOOD)))
    assert len(GOOD) >= 300
    assert whole >= 0.9 * len(GOOD)


def test_two_hundred_bad_forms_are_400_and_the_engine_never_restarts(
    served: Served, http: httpx.Client
) -> None:
    engines = engine_pids(served)
    assert engines
    for i, form in enumerate(BAD):
        reply = ask(http, form)
        assert reply.status_code == 400, (form, reply.text)
        error = reply.json()["error"]
        assert error["type"] == "invalid_request_error"
        # nesting that no JSON body may have belongs to no field
        assert (error["param"] or "structured_outputs").startswith("structured_outputs"), error
        if i % 20 == 0:
            assert ask(http, {"choice": ["alive"]}).json()["choices"][0]["text"] == "alive"
    assert len(BAD) >= 200
    assert engine_pids(served) == engines


def test_ten_thousand_forms_keep_the_cache_within_its_bytes() -> None:
    tokenizer = Tokenizer.load(Path(__file__).parents[2] / "demo" / DEMO)
    compiler = GrammarCompiler(
        tokenizer,
        vocab_size=tokenizer.vocab_size,
        eos_ids=tokenizer.eos_ids,
        cache_bytes=MIB,
    )
    forms = (StructuredOutputs(regex=f"[a-f]{{1,3}}{i}") for i in range(10_000))
    for form in forms:
        compiler.begin(form.digest(), form)
        while not (done := compiler.finished()):
            compiler.wait(1.0)
        assert isinstance(done[0].result, Grammar)
        assert compiler.cached_bytes <= MIB
    assert len(compiler.pids) == 1
    compiler.close()
