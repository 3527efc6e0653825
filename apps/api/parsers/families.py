"""Which parsers fit a model, read from its chat template and, where that is silent, its type."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ParserChoice:
    """Names for `pipeline_for`; None when the model writes no such form."""

    tool: str | None
    reasoning: str | None


# The first marker found in the template decides; the rarer forms come before the shared ones.
_TOOL_MARKERS = (
    ("<|channel|>", "gpt_oss"),
    ("<｜tool▁calls▁begin｜>", "deepseek_v3"),
    ("<function=", "qwen3_coder"),
    ("[TOOL_CALLS]", "mistral"),
    ("<|tool_call|>", "granite"),
    ("<|python_start|>", "pythonic"),
    ("<|python_tag|>", "llama3_json"),
    ("<tool_call>", "hermes"),
)
_TOOL_TYPES = {
    "gpt_oss": "gpt_oss",
    "deepseek_v3": "deepseek_v3",
    "granite": "granite",
    "granitemoe": "granite",
    "llama4": "pythonic",
}
_REASONING_MARKERS = (
    ("<|channel|>", "gpt_oss"),
    ("[THINK]", "mistral"),
    ("thought process", "granite"),
)


def parsers_for(model_type: str, chat_template: str | None) -> ParserChoice:
    """The choice for a model; `model_type` as in its config.json."""
    template = chat_template or ""
    return ParserChoice(_tool(model_type, template), _reasoning(model_type, template))


def _tool(model_type: str, template: str) -> str | None:
    if "<tool_call>" in template and model_type.startswith("granite"):
        return "granite"
    for marker, name in _TOOL_MARKERS:
        if marker in template:
            return name
    if model_type.startswith("llama") and _asks_for_python_list(template):
        return "pythonic"
    if model_type == "llama" and '"parameters":' in template:
        return "llama3_json"
    return _TOOL_TYPES.get(model_type) if "tools" in template else None


def _asks_for_python_list(template: str) -> bool:
    return "[func_name1(" in template


def _reasoning(model_type: str, template: str) -> str | None:
    for marker, name in _REASONING_MARKERS:
        if marker in template:
            return name
    if "think>" not in template:
        return None
    if model_type.startswith("granite"):
        return "granite"
    always_thinks = "<｜Assistant｜>" in template and "thinking" not in template
    return "deepseek_r1" if always_thinks else "qwen3"
