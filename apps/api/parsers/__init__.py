"""Tool calls and reasoning in a model's text, found while it streams.

    pipeline = pipeline_for("hermes", "qwen3", tools=[Tool("f", schema)], prompt=rendered_prompt)
    for chunk in text: send(pipeline.push(chunk))
    send(pipeline.finish())

One pipeline serves one answer (one choice). Pieces are `Content`, `Reasoning`, `CallStart` (id and
name, once), `CallArguments` (joined: a JSON object) and `CallBroken` (a begun call that went wrong:
show its text as content). `collect(pieces)` is the whole answer; the way the text was cut never
changes it. `finish_reason` is `tool_calls` when `num_calls > 0` after `finish` and the engine
stopped by itself. Markers are often special tokens, so detokenise with those in `pipeline.keeps`
left in the text. `parsers_for(model_type, chat_template)` names the parsers of a model.

No text raises an exception: what does not have the form is content, as it was written. The work
per character is bounded, and what is held back is a marker's length or one undecided value.
"""

from apps.api.parsers.families import ParserChoice, parsers_for
from apps.api.parsers.pieces import (
    Call,
    CallArguments,
    CallBroken,
    CallStart,
    Content,
    Message,
    Piece,
    Reasoning,
    collect,
)
from apps.api.parsers.pipeline import Parser, Pipeline, ThinkingParser
from apps.api.parsers.registry import (
    UnknownParser,
    pipeline_for,
    reasoning_parser,
    tool_parser,
)
from apps.api.parsers.steps import Tool, ToolSteps

__all__ = [
    "Call",
    "CallArguments",
    "CallBroken",
    "CallStart",
    "Content",
    "Message",
    "Parser",
    "ParserChoice",
    "Piece",
    "Pipeline",
    "Reasoning",
    "ThinkingParser",
    "Tool",
    "ToolSteps",
    "UnknownParser",
    "collect",
    "parsers_for",
    "pipeline_for",
    "reasoning_parser",
    "tool_parser",
]
