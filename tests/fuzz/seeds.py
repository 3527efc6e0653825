"""Where fuzzing begins: good inputs of each target."""

from __future__ import annotations

import json
from collections.abc import Iterator

from engine.messages import (
    Bill,
    ChoiceDelta,
    Control,
    ControlKind,
    Delta,
    EngineBeat,
    EngineState,
    EventKind,
    Frame,
    QueueBody,
    WebBeat,
    pack,
)
from engine.sampling_params import SamplingParams
from tests.fuzz.targets import PARSERS
from tests.structured_cases import LEAVES, TREES
from tests.unit.engine.lora.adapter_drafts import usual_config
from tests.unit.parsers.families import CASES


def parsers() -> Iterator[bytes]:
    for tool, reasoning, sample in CASES:
        which = PARSERS.index((tool or "", reasoning or ""))
        yield bytes((which, 3)) + sample.text.encode()


def header() -> Iterator[bytes]:
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    text = json.dumps({"__metadata__": {"a": "b"}, "w": entry}).encode()
    yield len(text).to_bytes(8, "little") + text + bytes(24)


def config() -> Iterator[bytes]:
    yield json.dumps(usual_config()).encode()
    yield json.dumps(
        usual_config(rank_pattern={"q_proj": 2}, target_modules=r".*\.q_proj")
    ).encode()


def frames() -> Iterator[bytes]:
    delta = Delta("r", 1, 0, EventKind.DELTA, [ChoiceDelta(0, [1, 2])])
    yield pack(Frame(engine="e", deltas=[delta]))
    yield pack(Bill(key_id="k"))
    yield pack(Control(kind=ControlKind.ABORT, rid="r", attempt=1))
    yield pack(EngineBeat(engine="e", model="m", state=EngineState.READY))
    yield pack(WebBeat(web="w"))
    params = SamplingParams(stop=["a"], logit_bias={1: 2.0})
    yield pack(QueueBody(rid="r", attempt=1, web="w", model="m", prompts=[[1]], params=params,
                         deadline_ms=1))  # fmt: skip


def bodies() -> Iterator[bytes]:
    talk = [{"role": "user", "content": "Hi"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    for which, body in enumerate(
        (
            {"model": "m", "messages": talk, "tools": [tool], "stream": True, "n": 2},
            {"model": "m", "prompt": [[1, 2], [3]], "logit_bias": {"1": 2}, "stop": ["a"]},
            {"model": "m", "input": [{"role": "user", "content": "a"}], "text": {"format": {}}},
            {"model": "m", "max_tokens": 4, "messages": talk, "system": [{"type": "text"}]},
            {"model": "m", "input": ["a", "b"], "dimensions": 4},
            {"model": "m", "queries": "a", "documents": ["b", {"text": "c"}]},
            {"model": "m", "query": "a", "documents": ["b"], "top_n": 1},
        )
    ):
        yield bytes((which, 0)) + json.dumps(body).encode()


def forms() -> Iterator[bytes]:
    yield b"\0\0" + b'root ::= "a" [b-d]{1,3} (other | "e")*\nother ::= "x"?'
    yield b"\0\0" + b'root ::= "a" [b-d]{1\x1f,3}'
    yield b"\1\0" + rb"^(a|b)+[^c-d]{2,5}\d\s?$"
    for schema in [*LEAVES, *TREES][:60]:
        if isinstance(schema, dict):
            yield b"\2\0" + json.dumps(schema).encode()
    tag = {"type": "structural_tag", "format": {"type": "const_string", "value": "a"}}
    yield b"\3\0" + json.dumps(tag).encode()
