"""Options of one engine: one set of names for the offline class, `serve` and the admin.

Probing hardware and reading the checkpoint happen later (`engine/runner/memory.py`,
`engine/models/loader.py`); this module only holds and checks what was asked for.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from engine.errors import EngineStartError
from engine.pooling.params import TASKS
from engine.settings import SettingError, parse, setting

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What the user asked for. `None` and "auto" mean: decide from model and machine."""

    model: str = setting("", "directory of a Hugging Face checkpoint, or a hub id")
    tokenizer: str | None = setting(
        None, "directory or hub id of the tokenizer; default: the model's"
    )
    revision: str | None = setting(None, "revision of a hub checkpoint")
    dtype: str = setting("auto", "type of weights and activations", choices=DTYPES)
    device: str = setting("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    load_format: str = setting(
        "auto", "auto reads safetensors; dummy makes random weights", choices=("auto", "dummy")
    )
    task: str = setting("auto", "what the model is for; auto: what its files say", choices=TASKS)
    override_pooler_config: str | None = setting(
        None, 'JSON object of "pooling_type" and "normalize" that wins over the model\'s files'
    )
    max_model_len: int | None = setting(None, "longest prompt + output in tokens", low=16)
    max_num_seqs: int = setting(256, "sequences computed together", low=1, high=4096)
    max_num_batched_tokens: int | None = setting(
        None, "token budget of one step; default 8192 on a GPU, 512 on a CPU", low=16, high=131072
    )
    block_size: int | None = setting(
        None, "tokens per KV block; default 64 on a GPU, 32 on a CPU", low=8, high=128
    )
    gpu_memory_utilization: float = setting(
        0.9, "share of the GPU's memory this engine may use", low=0.05, high=0.99
    )
    kv_cache_memory_bytes: int | None = setting(None, "bytes for the KV cache", low=1)
    num_gpu_blocks_override: int | None = setting(None, "KV blocks, whatever is free", low=2)
    enable_prefix_caching: bool = setting(True, "share KV blocks between equal prefixes")
    scheduling_policy: str = setting(
        "fcfs", "order of waiting requests", choices=("fcfs", "priority")
    )
    long_prefill_token_threshold: int = setting(
        0, "largest chunk of one prompt per step while others wait; 0: the whole budget", low=0
    )
    enable_lora: bool | None = setting(
        None, "LoRA adapters; default: on, and no memory is taken until one is registered"
    )
    max_loras: int = setting(
        8, "adapters of one rank bucket (8, 16, 64, 256) computed together", low=1, high=256
    )
    max_lora_rank: int = setting(64, "largest rank an adapter may have", low=1, high=256)
    max_cpu_loras: int | None = setting(
        None, "adapters kept in host memory; default: as many as lora_memory_bytes holds", low=1
    )
    lora_memory_bytes: int | None = setting(
        None, "host memory for adapters; default: a quarter of what is free", low=1
    )
    lora_dtype: str = setting(
        "auto", "type that adapter weights are rounded to; auto keeps the file's", choices=DTYPES
    )
    seed: int = setting(0, "base of random numbers where a request gives no seed")
    enforce_eager: bool = setting(False, "never capture CUDA graphs")
    grammar_cache_bytes: int = setting(
        512 * 1024**2, "bytes of compiled grammars that are kept", low=0
    )
    num_threads: int | None = setting(None, "CPU threads for tensor work", low=1, high=512)
    skip_tokenizer_init: bool = setting(
        False, "token ids in and out only; no text, no stop strings"
    )
    generation_config: str = setting(
        "auto", "where default sampling values come from", choices=("auto", "none")
    )
    override_generation_config: str | None = setting(
        None, "JSON object of default sampling values that win over the model's own"
    )
    hf_overrides: str | None = setting(None, "JSON object of values that win over config.json")
    tokenizer_revision: str | None = setting(None, "revision of the tokenizer's hub checkpoint")
    chat_template: str | None = setting(
        None, "file with a chat template to use in place of the model's"
    )
    chat_template_content_format: str = setting(
        "auto",
        "how messages reach the template: as one string, as OpenAI's parts, or as it reads them",
        choices=("auto", "string", "openai"),
    )
    tool_call_parser: str | None = setting(
        None, "form of the model's tool calls; default: found from the model's files"
    )
    reasoning_parser: str | None = setting(
        None, "form of the model's reasoning; default: found from the model's files"
    )
    enable_auto_tool_choice: bool = setting(True, "let the model choose whether to call a tool")
    trust_request_chat_template: bool = setting(
        False, "requests may bring a chat_template of their own"
    )
    return_tokens_as_token_ids: bool = setting(
        False, "logprobs name tokens as token_id:N unless the request says otherwise"
    )
    stream_interval: int = setting(1, "tokens per chunk of a stream", low=1, high=32)

    def __post_init__(self) -> None:
        """Check every field's type and range. Raises `EngineStartError`."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None and str(field.type).endswith("| None"):
                continue
            kind = _KINDS[str(field.type)]
            if type(value) is not kind and not (kind is float and type(value) is int):
                of_json = field.metadata["help"].startswith("JSON object")
                words = "a mapping, or the text of a JSON object" if of_json else _WORDS[kind]
                raise EngineStartError(f"{field.name}={value!r} is not possible.", f"Give {words}.")
            if kind is bool:
                continue
            low, high = field.metadata["low"], field.metadata["high"]
            choices = field.metadata["choices"]
            if choices and value not in choices:
                raise EngineStartError(
                    f"{field.name}={value!r} is not possible.", f"Use one of {', '.join(choices)}."
                )
            if (low is not None and not value >= low) or (high is not None and value > high):
                raise EngineStartError(
                    f"{field.name}={value!r} is out of range.",
                    f"Use {low} to {high or 'any size'}.",
                )

    @classmethod
    def from_texts(cls, options: dict[str, str]) -> Self:
        """Build from flag texts (`--max-model-len 4096`). Raises `EngineStartError`."""
        fields = {f.name: f for f in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for name, text in options.items():
            if name not in fields:
                raise EngineStartError(
                    f"There is no engine option {name}.", "See docs/configuration.md."
                )
            try:
                kind: Any = _KINDS[str(fields[name].type)]
                values[name] = parse(f"--{name.replace('_', '-')}", text, kind, {})
            except SettingError as error:
                raise EngineStartError(str(error), "See docs/configuration.md.") from None
        return cls(**values)


_KINDS: dict[str, Any] = {
    "str": str,
    "str | None": str,
    "int": int,
    "int | None": int,
    "float": float,
    "bool": bool,
    "bool | None": bool,
}
_WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
}
