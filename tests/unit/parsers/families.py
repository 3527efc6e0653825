"""All samples by parser, and how two parses are compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from apps.api.parsers import CallStart, Message, Piece, Pipeline, pipeline_for
from apps.api.parsers.pieces import merged
from tests.unit.parsers.samples import (
    deepseek_v3,
    gpt_oss,
    granite,
    hermes,
    llama3_json,
    mistral,
    pythonic,
    qwen3_coder,
    thoughts,
)
from tests.unit.parsers.samples.answers import ANSWERS, TOOLS, Answer, Sample

Render = Callable[[Answer], str | None]
_FAMILIES: Mapping[str, tuple[list[Sample], tuple[Render, ...]]] = {
    "hermes": (hermes.SAMPLES, (hermes.render,)),
    "llama3_json": (llama3_json.SAMPLES, (llama3_json.render,)),
    "mistral": (mistral.SAMPLES, (mistral.render, mistral.render_v11, mistral.render_v13)),
    "pythonic": (pythonic.SAMPLES, (pythonic.render,)),
    "qwen3_coder": (qwen3_coder.SAMPLES, (qwen3_coder.render,)),
    "deepseek_v3": (deepseek_v3.SAMPLES, (deepseek_v3.render, deepseek_v3.render_v31)),
    "granite": (granite.SAMPLES, (granite.render, granite.render_31, granite.render_20b)),
}


def rendered(render: Render, reasoning: str = "") -> list[Sample]:
    return [
        Sample(f"{render.__name__}-{a.name}", text, a.content, a.calls, reasoning)
        for a in ANSWERS
        if (text := render(a)) is not None
    ]


TOOL_SAMPLES = {
    name: [*samples, *(s for render in renders for s in rendered(render))]
    for name, (samples, renders) in _FAMILIES.items()
}
GPT_OSS_SAMPLES = [*gpt_oss.SAMPLES, *rendered(gpt_oss.render, gpt_oss.REASONING)]
CASES = [
    *((name, None, s) for name, samples in TOOL_SAMPLES.items() for s in samples),
    *((None, name, s) for name, samples in thoughts.SAMPLES.items() for s in samples),
    *((None, "gpt_oss", s) for s in GPT_OSS_SAMPLES),
]


def pipeline(tool: str | None, reasoning: str | None, **options: Any) -> Pipeline:
    return pipeline_for(tool, reasoning, tools=TOOLS, **options)


def said(message: Message) -> dict[str, Any]:
    """A message without its random ids."""
    calls = [(call.name, json.loads(call.arguments)) for call in message.calls]
    return {"content": message.content, "reasoning": message.reasoning, "calls": calls}


def expected(sample: Sample) -> dict[str, Any]:
    return {"content": sample.content, "reasoning": sample.reasoning, "calls": sample.calls}


def flow(pieces: Iterable[Piece]) -> list[Piece]:
    """What was said in which order, however it was cut; without random ids."""
    return merged(replace(p, id="") if isinstance(p, CallStart) else p for p in pieces)


def pushed(parser: Pipeline, chunks: Iterable[str]) -> list[Piece]:
    pieces = [piece for chunk in chunks for piece in parser.push(chunk)]
    return pieces + parser.finish()
