"""From an `EngineConfig` to a running core: checks, memory plan, weights, KV cache, warm-up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.errors import EngineStartError
from engine.hub import checkpoint_folder
from engine.kernels import cpu
from engine.layers.rotary import Rotary
from engine.lora.bank import SlotBank
from engine.lora.build import LoraParts, build_lora
from engine.lora.device_bank import DeviceBank
from engine.machine import machine_settings
from engine.models.decoder import Decoder, KVCache, make_cache
from engine.models.loader import DummySource, Source, WeightLoader, open_checkpoint, weight_bytes
from engine.models.registry import read_eos_ids, read_spec
from engine.pooling.build import build_pooling_core, card_of
from engine.runner.cuda_runner import CudaRunner
from engine.runner.device import clear_about_memory, free_on, pick_device
from engine.runner.memory import CPU, GPU, MemoryPlan, plan_memory
from engine.runner.runner import ModelRunner
from engine.sampling_defaults import override_values
from engine.scheduler.plan import Runner
from engine.tokenizer import Tokenizer

OnProgress = Callable[[str, int, int], None]  # phase, done bytes, total bytes
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def build_core(config: EngineConfig, on_progress: OnProgress | None = None) -> EngineCore:
    """Load everything and return a core that can step. Raises `EngineStartError`."""
    report = on_progress or (lambda phase, done, total: None)
    config = _with_folders(config)
    folder = Path(config.model)
    override_values(config.override_generation_config)  # a web process trusts what an engine took
    if (card := card_of(config)) is not None:
        if config.device == "cuda":
            raise EngineStartError("Pooling models compute on CPUs only.", "Use --device cpu.")
        _prepare_cpu(config)
        return build_pooling_core(config, card, load_tokenizer(config), report)
    device = pick_device(config)
    spec = read_spec(folder, config.hf_overrides)
    tokenizer = load_tokenizer(config)
    _prepare_cpu(config)
    dtype = _DTYPES[spec.dtype if config.dtype == "auto" else config.dtype]
    source: Source = DummySource(spec, config.seed, device)
    if config.load_format != "dummy":
        source = open_checkpoint(spec, folder)
    # on a CPU float16 has no exact home in bfloat16, so its cache is float32
    kv_dtype = dtype
    if device.type == "cpu" and dtype != torch.bfloat16:
        kv_dtype = torch.float32
    memory = plan_memory(
        config,
        spec,
        weight_bytes=weight_bytes(spec, dtype, device),
        kv_itemsize=kv_dtype.itemsize,
        free_bytes=free_on(device, config),
        kind=GPU if device.type == "cuda" else CPU,
    )
    config = _resolved(config, memory)
    loader = WeightLoader(
        spec, source, dtype, lambda done, total: report("weights", done, total), device=device
    )
    with clear_about_memory(device, config):
        model = Decoder(spec, loader.load(), Rotary(spec.rope, memory.max_model_len, device))
        report("kv cache", 0, memory.kv_bytes)
        cache = make_cache(spec, memory.num_blocks, memory.block_size, kv_dtype, device)
        report("kv cache", memory.kv_bytes, memory.kv_bytes)
        lora = build_lora(config, spec, device, dtype)
        runner = _make_runner(config, model, cache, tokenizer, lora, report)
    eos_ids = spec.eos_ids | read_eos_ids(folder)
    if tokenizer is not None:
        eos_ids |= tokenizer.eos_ids
    return EngineCore(
        # keys of dynamic rope depend on the whole prompt's length, not on the prefix alone
        dataclasses.replace(
            config,
            enable_prefix_caching=config.enable_prefix_caching and not model.rotary.dynamic,
        ),
        runner,
        tokenizer,
        eos_ids,
        adapters=lora.manager if lora is not None else None,
    )


def _with_folders(config: EngineConfig) -> EngineConfig:
    """Hub ids replaced by the folders that hold their files."""
    folder = checkpoint_folder(config.model, config.revision)
    tokenizer = None
    if config.tokenizer is not None:
        tokenizer = str(checkpoint_folder(config.tokenizer, config.tokenizer_revision))
    return dataclasses.replace(config, model=str(folder), tokenizer=tokenizer)


def load_tokenizer(config: EngineConfig) -> Tokenizer | None:
    """The tokenizer of the model, or the one named for it; None where text is not wanted."""
    if config.skip_tokenizer_init:
        return None
    return Tokenizer.load(config.tokenizer or config.model)


def _make_runner(
    config: EngineConfig,
    model: Decoder,
    cache: KVCache,
    tokenizer: Tokenizer | None,
    lora: LoraParts | None,
    report: OnProgress,
) -> Runner:
    assert config.max_model_len is not None
    assert config.max_num_batched_tokens is not None
    encode, bank = _plain_encode(tokenizer), lora.bank if lora is not None else None
    if not isinstance(bank, DeviceBank) and cache.keys[0].device.type == "cpu":
        return ModelRunner(
            model,
            cache,
            max_num_seqs=config.max_num_seqs,
            max_model_len=config.max_model_len,
            encode=encode,
            bank=bank,
        )
    assert not isinstance(bank, SlotBank)
    runner = CudaRunner(
        model,
        cache,
        max_num_seqs=config.max_num_seqs,
        max_num_batched_tokens=config.max_num_batched_tokens,
        max_model_len=config.max_model_len,
        encode=encode,
        bank=bank,
    )
    if not config.enforce_eager:
        runner.capture(lambda done, total: report("graphs", done, total))
    return runner


def _resolved(config: EngineConfig, memory: MemoryPlan) -> EngineConfig:
    """The config with machine-dependent defaults filled in."""
    return dataclasses.replace(
        config,
        block_size=memory.block_size,
        max_model_len=memory.max_model_len,
        max_num_batched_tokens=memory.max_num_batched_tokens,
    )


def _prepare_cpu(config: EngineConfig) -> None:
    """Threads and compiled kernels. One thread: the web tier and Redis share the machine."""
    threads = config.num_threads or 1
    torch.set_num_threads(threads)
    cpu.configure(cache_dir=Path(machine_settings().cache_dir))
    if (lib := cpu.library()) is not None:
        lib.set_threads(threads)


def _plain_encode(tokenizer: Tokenizer | None) -> Callable[[str], list[int]] | None:
    if tokenizer is None:
        return None
    return lambda text: tokenizer.encode(text, add_special_tokens=False)
