"""The GPU runner's bookkeeping without a GPU: Triton interprets, streams and graphs are stand-ins.

The engine core drives it as on a device, one step ahead of the tokens, and every request must end
with the tokens of the CPU runner.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.kernels import (
    add_norm,
    embed_tokens,
    gated_activation,
    packed_gemm,
    paged_attention,
    rope_cache,
)
from engine.layers.rotary import Rotary
from engine.messages import QueueBody
from engine.models.decoder import Decoder, KVCache
from engine.models.loader import WeightLoader
from engine.runner.cuda_runner import CudaRunner
from engine.sampling_params import SamplingParams
from engine.scheduler.plan import Runner
from tests.unit.engine.runner.plans import SPEC, WideSource, toy_runner

BLOCKS, ROWS = 12, 4
CPU = torch.device("cpu")


class Event:
    def record(self) -> None: ...

    def synchronize(self) -> None: ...


class Graph:
    """Keeps what was launched while it was captured, and launches it again."""

    launches: Callable[[], None]

    def replay(self) -> None:
        self.launches()


@pytest.fixture
def expected() -> dict[str, Any]:
    return answers(toy_runner(rows=ROWS, blocks=BLOCKS))


@pytest.fixture
def no_gpu(expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = (add_norm, embed_tokens, gated_activation, packed_gemm, paged_attention, rope_cache)
    for module in kernels:
        monkeypatch.setattr(module, "on_gpu", lambda x: True)
    monkeypatch.setattr("engine.models.loader.pack", _plain)
    monkeypatch.setattr(packed_gemm, "library", lambda: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    zeros = torch.zeros

    def pageable(*args: Any, **options: Any) -> torch.Tensor:
        options.pop("pin_memory", None)
        return zeros(*args, **options)

    monkeypatch.setattr(torch, "zeros", pageable)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(synchronize=_nothing))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    monkeypatch.setattr("engine.kernels.attention_plan.PLAN_PROGRAMS", 2)  # each is slow here


def _nothing() -> None: ...


def _plain(weight: torch.Tensor, bias: torch.Tensor | None) -> packed_gemm.PackedWeight:
    out, width = weight.shape
    return packed_gemm.PackedWeight(num_out=out, num_in=width, bias_N=bias, plain_NK=weight)


def cuda_runner() -> CudaRunner:
    weights = WeightLoader(SPEC, WideSource(SPEC, 1), torch.float32).load()
    model = Decoder(SPEC, weights, Rotary(SPEC.rope, 64, CPU))
    shape = (BLOCKS, SPEC.num_kv_heads, 16, SPEC.head_dim)
    cache = KVCache(
        [torch.zeros(shape) for _ in range(SPEC.num_layers)],
        [torch.zeros(shape) for _ in range(SPEC.num_layers)],
    )
    return CudaRunner(model, cache, max_num_seqs=ROWS, max_num_batched_tokens=24, max_model_len=64)


WISHES: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0.9, "seed": 4},
    {"temperature": 0.8, "seed": 5, "top_k": 9, "top_p": 0.9},
    {"temperature": 0, "repetition_penalty": 1.6, "frequency_penalty": 0.3},
    {"temperature": 0.7, "seed": 2, "logit_bias": {3: 4.0, 4: -90.0}, "min_tokens": 4,
     "stop_token_ids": [5, 6, 7, 8, 9, 10]},
    {"temperature": 1.0, "seed": 3, "allowed_token_ids": [11, 12, 40], "n": 2},
    {"temperature": 0, "logprobs": 2, "prompt_logprobs": 1},
]  # fmt: skip


def answers(runner: Runner) -> dict[str, Any]:
    config = EngineConfig(max_num_seqs=ROWS, max_num_batched_tokens=24, block_size=16)
    core = EngineCore(config, runner, None, frozenset())
    for i, wish in enumerate(WISHES):
        prompt = [(3 * i + j) % 50 for j in range(2 + 5 * i)]
        params = SamplingParams(
            **({"max_tokens": 6, "ignore_eos": True, "detokenize": False} | wish)
        )
        core.submit(
            QueueBody(rid=f"r{i}", attempt=1, web="", model="m", prompts=[prompt], params=params,
                      deadline_ms=1 << 50)
        )  # fmt: skip
    found: dict[str, Any] = {}
    while core.has_work():
        for delta in core.step():
            assert delta.error is None, delta.error
            for choice in delta.choices:
                kept = found.setdefault(f"{delta.rid}.{choice.index}", ([], []))
                kept[0].extend(choice.token_ids)
                for scores in choice.logprobs or []:
                    kept[1].append([(s.token_id, round(s.logprob, 3), s.rank) for s in scores])
    core.close()
    return found


def test_requests_of_all_kinds_end_as_on_a_cpu(no_gpu: None, expected: dict[str, Any]) -> None:
    assert len(expected) == len(WISHES) + 1
    assert answers(cuda_runner()) == expected
