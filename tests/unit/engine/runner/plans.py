"""Hand-made rows and a toy model, so that a runner is tested without a scheduler."""

from __future__ import annotations

import torch

from engine.layers.rotary import Rotary
from engine.models.decoder import Decoder, make_cache
from engine.models.loader import DummySource, WeightLoader
from engine.models.spec import ModelSpec, RopeSpec
from engine.runner.runner import ModelRunner
from engine.sampling_params import SamplingParams
from engine.scheduler.plan import RowStart

VOCAB, BLOCK = 50, 16
SPEC = ModelSpec(
    architecture="LlamaForCausalLM",
    num_layers=2,
    hidden=32,
    ffn=48,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    vocab_size=VOCAB,
    max_len=64,
    norm_eps=1e-6,
    rope=RopeSpec(kind="default", theta=10000.0, dim=16, trained_len=64),
)


class WideSource(DummySource):
    """Dummy weights wide enough that every context gives another distribution."""

    def read(self, name: str) -> torch.Tensor:
        tensor = super().read(name)
        return tensor if tensor.dim() == 1 else tensor * 15


def toy_runner(rows: int = 8, blocks: int = 16) -> ModelRunner:
    weights = WeightLoader(SPEC, WideSource(SPEC, 1), torch.float32).load()
    device = torch.device("cpu")
    model = Decoder(SPEC, weights, Rotary(SPEC.rope, 64, device))
    cache = make_cache(SPEC, blocks, BLOCK, torch.float32, device)
    return ModelRunner(model, cache, max_num_seqs=rows, max_model_len=64)


def row_start(
    row: int, tokens: list[int], blocks: list[int], params: SamplingParams, **values: int
) -> RowStart:
    return RowStart(
        row=row,
        request_id=f"r{row}",
        token_ids=tokens,
        prompt_len=values.get("prompt_len", len(tokens)),
        num_computed=values.get("num_computed", 0),
        blocks=[blocks],
        params=params,
        seed=values.get("seed", 0),
        stop_ids=(3,),
    )
