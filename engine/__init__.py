"""Pagoda's inference engine. Lazy: importing it loads neither torch nor any submodule."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.async_engine import AsyncLLMEngine
    from engine.beam_outputs import BeamSearchParams
    from engine.llm import LLM
    from engine.lora.request import LoRARequest
    from engine.outputs import CompletionOutput, Logprob, RequestOutput
    from engine.pooling.params import PoolingParams
    from engine.prompts import load_chat_template
    from engine.sampling_params import SamplingParams, StructuredOutputsParams
    from engine.structured.outputs import GuidedDecodingParams

__all__ = [
    "LLM",
    "AsyncLLMEngine",
    "BeamSearchParams",
    "CompletionOutput",
    "GuidedDecodingParams",
    "LoRARequest",
    "Logprob",
    "PoolingParams",
    "RequestOutput",
    "SamplingParams",
    "StructuredOutputsParams",
    "load_chat_template",
]

_HOME = {
    "LLM": "engine.llm",
    "LoRARequest": "engine.lora.request",
    "AsyncLLMEngine": "engine.async_engine",
    "BeamSearchParams": "engine.beam_outputs",
    "CompletionOutput": "engine.outputs",
    "Logprob": "engine.outputs",
    "RequestOutput": "engine.outputs",
    "PoolingParams": "engine.pooling.params",
    "GuidedDecodingParams": "engine.structured.outputs",
    "SamplingParams": "engine.sampling_params",
    "StructuredOutputsParams": "engine.sampling_params",
    "load_chat_template": "engine.prompts",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
