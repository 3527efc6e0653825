"""Parsers by name, ours and those of installed packages, and the pipeline made of them.

A package adds a parser with an entry point in the group `pagoda.tool_parsers` or
`pagoda.reasoning_parsers`: name = a class with the constructor of `ToolSteps` or
`ReasoningParser`. Paths of files are not taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, TypeVar

from apps.api.parsers.deepseek_v3 import DeepSeekV3Parser
from apps.api.parsers.gpt_oss import GptOssParser
from apps.api.parsers.granite import GraniteParser
from apps.api.parsers.hermes import HermesParser
from apps.api.parsers.json_calls import JsonCallsParser
from apps.api.parsers.llama3_json import Llama3JsonParser
from apps.api.parsers.mistral import MistralParser
from apps.api.parsers.pipeline import Pipeline
from apps.api.parsers.pythonic import PythonicParser
from apps.api.parsers.qwen3_coder import Qwen3CoderParser
from apps.api.parsers.reasoning import (
    DeepSeekR1Parser,
    GraniteReasoningParser,
    MistralReasoningParser,
    Qwen3Parser,
    ReasoningParser,
)
from apps.api.parsers.steps import Tool, ToolSteps

TOOL_GROUP, REASONING_GROUP = "pagoda.tool_parsers", "pagoda.reasoning_parsers"

TOOL_PARSERS: Mapping[str, type[ToolSteps]] = {
    "hermes": HermesParser,
    "llama3_json": Llama3JsonParser,
    "mistral": MistralParser,
    "pythonic": PythonicParser,
    "qwen3_coder": Qwen3CoderParser,
    "qwen3_xml": Qwen3CoderParser,
    "deepseek_v3": DeepSeekV3Parser,
    "granite": GraniteParser,
    "gpt_oss": GptOssParser,
    "openai": GptOssParser,
    "json_calls": JsonCallsParser,
}
REASONING_PARSERS: Mapping[str, type[ReasoningParser]] = {
    "deepseek_r1": DeepSeekR1Parser,
    "qwen3": Qwen3Parser,
    "granite": GraniteReasoningParser,
    "mistral": MistralReasoningParser,
}
GPT_OSS = frozenset(("gpt_oss", "openai_gptoss"))  # reasoning and calls are one format there

Kind = TypeVar("Kind", bound=type[Any])


class UnknownParser(ValueError):
    """No parser has this name; the message lists those there are."""


def tool_parser(name: str) -> type[ToolSteps]:
    """The class of a tool-call parser."""
    return _find(name, TOOL_PARSERS, TOOL_GROUP, "tool-call parser", ())


def reasoning_parser(name: str) -> type[ReasoningParser]:
    """The class of a reasoning parser other than gpt-oss's, which `pipeline_for` knows."""
    return _find(name, REASONING_PARSERS, REASONING_GROUP, "reasoning parser", GPT_OSS)


def pipeline_for(
    tool: str | None,
    reasoning: str | None,
    *,
    tools: Sequence[Tool] = (),
    prompt: str = "",
    thinking: bool = True,
    parallel: bool = True,
) -> Pipeline:
    """A fresh pipeline for one answer. `tool` None: calls are not looked for (tool_choice none);
    gpt-oss, whose calls are messages of their own, tells them all the same.

    `prompt` is the rendered prompt (its end suffices); `thinking` is `enable_thinking` of the
    template. UnknownParser for a name that nobody has.
    """
    if reasoning in GPT_OSS or (tool and tool_parser(tool) is GptOssParser):
        both = GptOssParser(tools)
        return Pipeline(both, parallel=parallel, keeps=both.keeps)
    thinker = reasoning_parser(reasoning)(prompt=prompt, thinking=thinking) if reasoning else None
    caller = tool_parser(tool)(tools) if tool else None
    keeps = {*(thinker.keeps if thinker else ()), *(caller.keeps if caller else ())}
    return Pipeline(thinker, caller, parallel=parallel, keeps=keeps)


def _find(
    name: str, own: Mapping[str, Kind], group: str, what: str, also: Sequence[str] | frozenset[str]
) -> Kind:
    if name in own:
        return own[name]
    plugins = entry_points(group=group)
    if name in plugins.names:
        found: Kind = plugins[name].load()
        return found
    known = sorted({*own, *also, *plugins.names})
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownParser(f"No {what} is called {name!r}.{hint} Known: {', '.join(known)}.")
