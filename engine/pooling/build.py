"""From a pooling card to a running core: an encoder or a decoder, its head, the same scheduler."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.errors import EngineStartError
from engine.layers.rotary import Rotary
from engine.models.checkpoint import Checkpoint
from engine.models.decoder import Decoder, make_cache
from engine.models.encoder_loader import encoder_name, encoder_shapes, load_encoder
from engine.models.encoder_spec import EncoderSpec, parse_encoder
from engine.models.loader import WeightLoader, tensor_shapes, weight_bytes
from engine.models.registry import parse_spec, read_config
from engine.pooling.card import PoolingCard, architecture, is_encoder, read_card
from engine.pooling.heads import HeadNames, Layer, head_names, load_dense, load_head
from engine.pooling.pooler import Pooler
from engine.pooling.runner import DecoderTrunk, EncoderTrunk, PoolingRunner, Trunk
from engine.runner.memory import MIB, SLACK_BYTES, free_memory, plan_memory
from engine.tokenizer import Tokenizer

OnProgress = Callable[[str, int, int], None]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BATCHED_TOKENS = 512  # default budget of a step: its activations stay in the caches of a CPU
DECODER_LEN = 8192  # default context of a decoder: all of a prompt is in one step
_UNUSED = ("position_ids", "cls.", "lm_head.", "decoder.", "rotary_emb", "head.", "pooler.")


def card_of(config: EngineConfig) -> PoolingCard | None:
    """None for a model that generates. `config.model` is a folder. Raises `EngineStartError`."""
    return read_card(
        Path(config.model),
        task=config.task,
        override_pooler_config=config.override_pooler_config,
        hf_overrides=config.hf_overrides,
    )


def build_pooling_core(
    config: EngineConfig, card: PoolingCard, tokenizer: Tokenizer | None, report: OnProgress
) -> EngineCore:
    """Raises `EngineStartError`."""
    folder = Path(config.model)
    found = read_config(folder, config.hf_overrides)
    if config.load_format == "dummy":
        raise EngineStartError(
            "load_format=dummy is for models that generate.", "Give a checkpoint with weights."
        )
    make = _encoder if is_encoder(found) else _decoder
    trunk, head, max_len = make(config, found, folder, card, report)
    dense = tuple(load_dense(folder, module) for module in card.dense)
    runner = PoolingRunner(trunk, Pooler(card, head or dense), max_model_len=max_len)
    resolved = dataclasses.replace(
        config,
        block_size=config.block_size,
        max_model_len=max_len,
        max_num_batched_tokens=config.max_num_batched_tokens or BATCHED_TOKENS,
        enable_prefix_caching=False,
    )
    return EngineCore(resolved, runner, tokenizer, frozenset(), card=card)


Made = tuple[Trunk, tuple[Layer, ...], int]


def _encoder(
    config: EngineConfig, found: Mapping[str, Any], folder: Path, card: PoolingCard,
    report: OnProgress,
) -> Made:  # fmt: skip
    spec = parse_encoder(found)
    dtype = _DTYPES[spec.dtype if config.dtype == "auto" else config.dtype]
    max_len = _max_len(config, card.max_len or spec.max_len, spec.max_len)
    source = Checkpoint(folder, encoder_name)
    names = head_names(found, spec) if card.labels else None
    _check(source, dict(encoder_shapes(spec)), names)
    _check_memory(spec, source, max(max_len, config.max_num_batched_tokens or BATCHED_TOKENS))
    model = load_encoder(spec, source, dtype, max_len, report)
    head = load_head(names, card, source, spec.norm_eps) if names is not None else ()
    trunk = EncoderTrunk(model, max_num_seqs=config.max_num_seqs, max_model_len=max_len)
    return trunk, head, max_len


def _decoder(
    config: EngineConfig, found: Mapping[str, Any], folder: Path, card: PoolingCard,
    report: OnProgress,
) -> Made:  # fmt: skip
    family = architecture(found).partition("For")[0].removesuffix("Model")
    spec = parse_spec(
        {**found, "architectures": [f"{family}ForCausalLM"], "tie_word_embeddings": True}
    )
    dtype = _DTYPES[spec.dtype if config.dtype == "auto" else config.dtype]
    max_len = _max_len(config, min(card.max_len or DECODER_LEN, spec.max_len), spec.max_len)
    tokens = max(max_len, config.max_num_batched_tokens or BATCHED_TOKENS)
    source = Checkpoint(folder, _decoder_name)
    names = head_names(found, None) if card.labels else None
    _check(source, tensor_shapes(spec), names)
    kv_dtype = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
    memory = plan_memory(
        dataclasses.replace(config, max_model_len=max_len, max_num_batched_tokens=tokens),
        spec,
        weight_bytes=weight_bytes(spec, dtype),
        kv_itemsize=kv_dtype.itemsize,
        free_bytes=free_memory(),
    )
    loader = WeightLoader(
        spec, source, dtype, lambda done, total: report("weights", done, total), generates=False
    )
    device = torch.device("cpu")
    model = Decoder(spec, loader.load(), Rotary(spec.rope, max_len, device))
    cache = make_cache(spec, memory.num_blocks, memory.block_size, kv_dtype, device)
    head = load_head(names, card, source, spec.norm_eps) if names is not None else ()
    trunk = DecoderTrunk(model, cache, max_num_seqs=config.max_num_seqs, max_model_len=max_len)
    return trunk, head, max_len


def _decoder_name(stored: str) -> str:
    """Checkpoints of the bare model leave the prefix out."""
    bare = stored.startswith(("embed_tokens.", "layers.", "norm."))
    return f"model.{stored}" if bare else stored


def _check(source: Checkpoint, shapes: dict[str, tuple[int, ...]], names: HeadNames | None) -> None:
    """Everything the model needs is there, and nothing is there that we would leave out."""
    head = set(names.tensors()) if names is not None else set()
    unused = {name for name in source.shapes if name.startswith(_UNUSED)}
    unused |= {name for name in source.shapes if name.endswith(("position_ids", "inv_freq"))}
    source.check(shapes, head | unused)


def _max_len(config: EngineConfig, usual: int, most: int) -> int:
    if config.max_model_len is not None and config.max_model_len > most:
        raise EngineStartError(
            f"max_model_len {config.max_model_len} is over the model's {most} positions.",
            f"Use at most {most}.",
        )
    return config.max_model_len or min(usual, most)


def _check_memory(spec: EncoderSpec, source: Checkpoint, tokens: int) -> None:
    """Weights (float32 when packed) and one step's activations must fit."""
    weights = 2 * sum(source.bytes.values())
    workspace = SLACK_BYTES + 4 * tokens * (6 * spec.hidden + 3 * spec.ffn)
    if (free := free_memory()) < weights + workspace:
        raise EngineStartError(
            f"The weights need {weights / MIB:.0f} MiB and the workspace "
            f"{workspace / MIB:.0f} MiB, but {free / MIB:.0f} MiB of memory are free.",
            "Use a smaller model, a lower max_num_batched_tokens, or a machine with more memory.",
        )
