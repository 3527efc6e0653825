"""Options that users of other engines know, and what becomes of each: offline and in `serve`.

An option that is built becomes a field of `EngineConfig` and leaves this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Foreign:
    """`values` are what this build does anyway; None: any value is taken and has no effect."""

    why: str
    values: tuple[Any, ...] | None = None

    def allows(self, value: Any) -> bool:
        """Whether `value` is accepted. Texts of flags and Python values mean the same."""
        return self.values is None or _plain(value) in map(_plain, self.values)


_LATER = "is not part of this version"
FOREIGN: Mapping[str, Foreign] = {
    # taken, without effect
    "trust_remote_code": Foreign("configuration is data here: remote code never runs"),
    "swap_space": Foreign("preempted requests are computed again, not swapped"),
    "preemption_mode": Foreign("preempted requests are always computed again"),
    "max_seq_len_to_capture": Foreign("every length runs the same way"),
    "disable_custom_all_reduce": Foreign("there is none"),
    "disable_async_output_proc": Foreign("outputs are always processed beside the next step"),
    "compilation_config": Foreign("nothing is compiled by torch"),
    "num_scheduler_steps": Foreign("every step is scheduled"),
    "num_lookahead_slots": Foreign("blocks are taken as they are needed"),
    "multi_step_stream_outputs": Foreign("every step is scheduled"),
    "scheduler_delay_factor": Foreign("a prompt is never held back on purpose"),
    "max_num_partial_prefills": Foreign("the token budget alone bounds partial prompts"),
    "max_long_partial_prefills": Foreign("long_prefill_token_threshold is the one bound"),
    "use_v2_block_manager": Foreign("there is one block manager"),
    "max_parallel_loading_workers": Foreign("weights are streamed"),
    "disable_log_stats": Foreign("statistics are figures on /metrics, never log lines"),
    "disable_log_requests": Foreign("prompts and outputs are never logged"),
    "enable_log_requests": Foreign("prompts and outputs are never logged"),
    "max_log_len": Foreign("prompts and outputs are never logged"),
    "otlp_traces_endpoint": Foreign(f"tracing {_LATER}", (None, "")),
    # always the case
    "enable_chunked_prefill": Foreign("prompts are always computed in chunks", (True, None)),
    "async_scheduling": Foreign("scheduling always overlaps where a device does", (True, None)),
    "prefix_caching_hash_algo": Foreign("prefixes are always named by SHA-256", ("sha256", None)),
    "tokenizer_mode": Foreign("tokenizers are read from tokenizer.json", ("auto", "fast")),
    "max_logprobs": Foreign("the bound of logprobs is 20", (20,)),
    "guided_decoding_backend": Foreign(
        "xgrammar is the backend", ("auto", "xgrammar", "outlines", "lm-format-enforcer")
    ),
    "structured_outputs_backend": Foreign("xgrammar is the backend", ("auto", "xgrammar")),
    # values of the future
    "runner": Foreign("task says what a model is for", ("generate", "auto")),
    "convert": Foreign("task says what a model is for", ("none", "auto")),
    "tensor_parallel_size": Foreign(f"more than one device {_LATER}", (1,)),
    "pipeline_parallel_size": Foreign(f"more than one device {_LATER}", (1,)),
    "nnodes": Foreign(f"more than one host for one engine {_LATER}", (1,)),
    "node_rank": Foreign(f"more than one host for one engine {_LATER}", (0,)),
    "distributed_executor_backend": Foreign(f"Ray {_LATER}", (None, "mp", "uni")),
    "quantization": Foreign(f"quantization {_LATER}", (None, "none")),
    "kv_cache_dtype": Foreign(f"a quantized KV cache {_LATER}", ("auto",)),
    "cpu_offload_gb": Foreign(f"offloading weights {_LATER}", (0,)),
    "speculative_config": Foreign(f"speculative decoding {_LATER}", (None,)),
    "speculative_model": Foreign(f"speculative decoding {_LATER}", (None,)),
    "num_speculative_tokens": Foreign(f"speculative decoding {_LATER}", (None,)),
    "ngram_prompt_lookup_max": Foreign(f"speculative decoding {_LATER}", (None,)),
    "ngram_prompt_lookup_min": Foreign(f"speculative decoding {_LATER}", (None,)),
    "limit_mm_per_prompt": Foreign("images and audio are not part of this version", (None, {})),
    "mm_processor_kwargs": Foreign("images and audio are not part of this version", (None, {})),
    "allowed_local_media_path": Foreign(
        "images and audio are not part of this version", (None, "")
    ),
    "logits_processors": Foreign("nothing that is given may name Python code", (None,)),
    "logits_processor_pattern": Foreign("nothing that is given may name Python code", (None,)),
    "model_loader_extra_config": Foreign("the loader has no options", (None, {})),
    "qlora_adapter_name_or_path": Foreign(f"quantization {_LATER}", (None,)),
}

# Other names of a value we have: option → their name → ours.
SAME_VALUES: Mapping[str, Mapping[str, str]] = {
    "dtype": {"half": "float16", "float": "float32"},
    "load_format": {"safetensors": "auto"},
    "generation_config": {"vllm": "none"},
    "task": {"embedding": "embed"},
}


def our_value(name: str, value: Any) -> Any:
    """`half` → `float16`; any other value as it is."""
    known = SAME_VALUES.get(name, {})
    return known.get(value, value) if isinstance(value, str) else value


def _plain(value: Any) -> str:
    return "" if value is None else str(value).lower()
