from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from engine.async_engine import AsyncLLMEngine
from engine.config import EngineConfig
from engine.core import EngineCore
from engine.errors import EngineStartError, InternalError, InvalidRequest
from engine.sampling_params import SamplingParams
from tests.unit.engine.fakes import FakeRunner, expected


def make_engine(runner: FakeRunner) -> AsyncLLMEngine:
    config = EngineConfig(max_num_seqs=runner.max_rows, max_num_batched_tokens=16)
    return AsyncLLMEngine.from_core(EngineCore(config, runner, None, frozenset()))


@pytest.fixture
def engine() -> Iterator[AsyncLLMEngine]:
    engine = make_engine(FakeRunner(max_model_len=4000, num_blocks=1200, overlap=True))
    yield engine
    engine.shutdown()


def params(count: int) -> SamplingParams:
    return SamplingParams(max_tokens=count, seed=1)


async def tokens_of(engine: AsyncLLMEngine, prompt: list[int], count: int) -> list[int]:
    async for output in engine.generate(prompt, params(count)):
        last = output
    assert last.finished
    return last.outputs[0].token_ids


async def test_outputs_grow_until_finished(engine):
    sizes = [
        len(output.outputs[0].token_ids) async for output in engine.generate([1, 2], params(4))
    ]
    assert sizes == [1, 2, 3, 4]


async def test_many_requests_run_together(engine):
    found = await asyncio.gather(*(tokens_of(engine, [i, 7], 10) for i in range(20)))
    assert found == [expected([i, 7], 10) for i in range(20)]
    assert engine.core.counters.steps < 100


async def test_leaving_early_aborts_in_the_engine(engine):
    stream = engine.generate([1, 2], params(3000))
    await anext(stream)
    await stream.aclose()
    for _ in range(200):
        if not engine.core.has_work():
            break
        await asyncio.sleep(0.01)
    assert engine.core.counters.aborted == 1
    assert engine.core.gauges().running == 0


async def test_abort_by_id_ends_the_iterator(engine):
    async for output in engine.generate([1, 2], params(3000), "mine"):
        if len(output.outputs[0].token_ids) == 1:
            await engine.abort("mine")
    assert output.outputs[0].finish_reason == "abort"


async def test_a_refusal_is_raised_from_the_iterator(engine):
    with pytest.raises(InvalidRequest, match="token id 50"):
        await tokens_of(engine, [50], 1)


async def test_an_id_in_use_is_refused(engine):
    first = engine.generate([1], params(3000), "same")
    await anext(first)
    with pytest.raises(InvalidRequest, match="in use"):
        await anext(engine.generate([1], params(1), "same"))
    await first.aclose()


async def test_a_broken_runner_ends_iterators_and_health():
    engine = make_engine(FakeRunner(crash_steps=set(range(100))))
    for _ in range(3):
        with pytest.raises(InternalError):
            await tokens_of(engine, [1], 5)
    engine._thread.join(60)
    with pytest.raises(EngineStartError, match="has stopped"):
        engine.check_health()


async def test_shutdown_ends_what_is_open(engine):
    stream = engine.generate([1], params(3000))
    await anext(stream)
    engine.shutdown()
    with pytest.raises(InternalError, match="stopped"):
        async for _ in stream:
            pass
    assert engine.core.runner.closed
