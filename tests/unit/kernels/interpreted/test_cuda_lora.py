"""Adapters in the GPU runner without a GPU: every request ends with the tokens of the CPU runner,
whatever slots, rank buckets and base rows share its steps."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.kernels.lora_delta import LoraWeight, pack_lora, plain_lora
from engine.layers.rotary import Rotary
from engine.lora.bank import SlotBank
from engine.lora.device_bank import DeviceBank, pin
from engine.lora.layout import GROUPS, linear_shapes
from engine.lora.manager import AdapterLimits, AdapterManager
from engine.lora.weights import HostAdapter
from engine.messages import AdapterSource, QueueBody
from engine.models.decoder import Decoder, make_cache
from engine.models.loader import WeightLoader
from engine.runner.cuda_runner import CudaRunner
from engine.runner.runner import ModelRunner
from engine.sampling_params import SamplingParams
from engine.scheduler.plan import Runner
from tests.unit.engine.runner.plans import SPEC, WideSource
from tests.unit.kernels.interpreted.test_cuda_runner import no_gpu  # noqa: F401 (a fixture)

BLOCKS, ROWS, SLOTS = 24, 4, 2
CPU = torch.device("cpu")
RANKS = {"a": 4, "b": 8, "c": 12, "d": 16, "e": 3}
LIMITS = AdapterLimits(max_loras=SLOTS, max_rank=16)
Pack = Callable[..., LoraWeight]


def adapter(name: str, pack: Pack) -> HostAdapter:
    """Every adapter leaves other linears alone; `a` none."""
    draw, rank = torch.Generator().manual_seed(ord(name)), RANKS[name]
    shapes = linear_shapes(SPEC)
    layers: list[dict[str, LoraWeight | None]] = []
    for layer in range(SPEC.num_layers):
        layers.append({})
        for i, (group, parts) in enumerate(GROUPS.items()):
            widths = tuple(shapes[part][0] for part in parts)
            num_in = shapes[parts[0]][1]
            a = torch.randn(len(parts) * rank, num_in, generator=draw) * num_in**-0.5
            b = torch.randn(sum(widths), rank, generator=draw)
            scales = (1.5,) * (len(widths) - 1) + (0.5,)
            if name == "b":
                scales = (0.0, *scales[1:]) if len(widths) > 1 else scales
                b[: widths[0]] *= len(widths) == 1
            left_alone = name != "a" and (layer + i + ord(name)) % 4 == 0
            layers[-1][group] = None if left_alone else pack(a, b, widths, scales)
    return HostAdapter(rank, layers)


@pytest.fixture
def expected() -> dict[str, list[int]]:
    hosts: dict[str, Any] = {}
    manager = AdapterManager(LIMITS, lambda source: adapter(source.digest, pack_lora), hosts=hosts)
    bank = SlotBank(SPEC, hosts, LIMITS.num_slots)
    cache = make_cache(SPEC, BLOCKS, 16, torch.float32, CPU)
    runner = ModelRunner(model(), cache, max_num_seqs=ROWS, max_model_len=64, bank=bank)
    return answers(runner, manager)


def model() -> Decoder:
    weights = WeightLoader(SPEC, WideSource(SPEC, 1), torch.float32).load()
    return Decoder(SPEC, weights, Rotary(SPEC.rope, 64, CPU))


def answers(runner: Runner, manager: AdapterManager) -> dict[str, list[int]]:
    config = EngineConfig(
        max_num_seqs=ROWS, max_num_batched_tokens=24, block_size=16, enable_prefix_caching=False
    )
    core = EngineCore(config, runner, None, frozenset(), adapters=manager)
    for name in RANKS:
        core.load_adapter(AdapterSource(digest=name, name=name))
    for i, name in enumerate([*RANKS, None, *RANKS]):
        prompt = [(3 * i + j) % 50 for j in range(3 + 2 * i)]
        params = SamplingParams(temperature=0, max_tokens=5, ignore_eos=True, detokenize=False)
        core.submit(
            QueueBody(rid=f"{i}{name}", attempt=1, web="", model="m", prompts=[prompt],
                      params=params, deadline_ms=1 << 50, adapter=name)
        )  # fmt: skip
    found: dict[str, list[int]] = {}
    while core.has_work():
        for delta in core.step():
            assert delta.error is None, delta.error
            for choice in delta.choices:
                found.setdefault(delta.rid, []).extend(choice.token_ids)
    core.close()
    return found


def device_runner(monkeypatch: pytest.MonkeyPatch) -> tuple[CudaRunner, AdapterManager]:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 40, 1 << 40))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: _Stream())
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: _Stream())
    hosts: dict[str, Any] = {}
    bank = DeviceBank(SPEC, hosts, buckets=LIMITS.buckets, max_loras=SLOTS, max_tokens=24,
                      max_seqs=ROWS, dtype=torch.float32, device=CPU)  # fmt: skip

    def read(source: AdapterSource) -> Any:
        host = adapter(source.digest, plain_lora)
        bank.reserve(host.rank)
        return pin(host, bank.linears, bank.dtype)

    cache = make_cache(SPEC, BLOCKS, 16, torch.float32, CPU)
    cache.keys = [torch.zeros_like(value) for value in cache.values]
    runner = CudaRunner(model(), cache, max_num_seqs=ROWS, max_num_batched_tokens=24,
                        max_model_len=64, bank=bank)  # fmt: skip
    return runner, AdapterManager(LIMITS, read, hosts=hosts)


class _Stream(SimpleNamespace):
    def synchronize(self) -> None: ...

    def wait_stream(self, other: object) -> None: ...


def test_adapters_of_two_buckets_answer_as_on_a_cpu(
    no_gpu: None,  # noqa: F811
    expected: dict[str, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len({tuple(tokens) for tokens in expected.values()}) > len(RANKS)
    assert answers(*device_runner(monkeypatch)) == expected
