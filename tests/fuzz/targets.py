"""What strangers' bytes reach: each target takes any bytes and fails only by a fault of ours."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec

from apps.api import keyformat, messages_body, parse, pooling_bodies, responses_body
from apps.api.body import parse_object
from apps.api.caps import ApiCaps
from apps.api.parsers import Pipeline, collect, pipeline_for
from engine import streams
from engine.errors import PagodaError
from engine.lora.adapter_config import read_config
from engine.lora.header import read_header
from engine.messages import (
    Bill,
    Control,
    EngineBeat,
    Frame,
    QueueBody,
    UsageEvent,
    WebBeat,
    WireMismatch,
    unpack,
)
from engine.structured import ebnf, json_schema, regex, tags
from engine.structured.refusal import Refusal
from tests.unit.parsers.families import CASES, flow
from tests.unit.parsers.samples.answers import TOOLS

KINDS = sorted({(tool or "", reasoning or "") for tool, reasoning, _ in CASES})
PAIRS = (("hermes", "qwen3"), ("deepseek_v3", "deepseek_r1"))
PARSERS = (*KINDS, *PAIRS)
MESSAGES = (QueueBody, Frame, Control, EngineBeat, WebBeat, UsageEvent, Bill)
CAPS = ApiCaps()


def parsers(data: bytes) -> None:
    """Tool calls and reasoning: nothing raises, and the cuts of a stream change nothing."""
    which, step, text = _split(data)
    tool, reasoning = PARSERS[which % len(PARSERS)]
    whole = _pipeline(tool, reasoning).parse_whole(text)
    cut = _pipeline(tool, reasoning)
    width = step % 17 + 1
    pieces = [p for at in range(0, len(text), width) for p in cut.push(text[at : at + width])]
    assert flow([*pieces, *cut.finish()]) == flow(whole)
    for call in collect(whole).calls:
        assert isinstance(json.loads(call.arguments), dict)


def header(data: bytes) -> None:
    """The header of a safetensors file: tensors that are there, or problems in words."""
    problems: list[str] = []
    found = read_header(_file(data), problems)
    if not problems:
        assert sum(entry.size for entry in found.values()) == len(data) - min(
            (entry.start for entry in found.values()), default=len(data)
        )


def config(data: bytes) -> None:
    """adapter_config.json: a config, or problems in words."""
    problems: list[str] = []
    found = read_config(_file(data), problems)
    assert found is not None or problems
    if found is not None and not problems:
        for module in ("model.layers.0.mlp.up_proj", "model.layers.11.self_attn.q_proj"):
            if found.wants(module):
                found.scale_of(module)


def frames(data: bytes) -> None:
    """Messages of the transport: read, or refused as a mismatch; never acted on by a guess."""
    for kind in MESSAGES:
        with contextlib.suppress(WireMismatch):
            unpack(kind, data)
    entry = {b"rid": data, b"attempt": data[:8], b"web": data, b"body": b"", b"bill": b""}
    streams.queue_header(entry)


def bodies(data: bytes) -> None:
    """Bodies of every route: checked, or refused by an error of ours."""
    readers: tuple[Callable[[bytes], object], ...] = (
        lambda text: parse.parse_chat(text, CAPS),
        lambda text: parse.parse_completion(text, CAPS),
        lambda text: responses_body.read(parse_object(text)),
        lambda text: messages_body.read(parse_object(text)),
        lambda text: pooling_bodies.read_input(pooling_bodies.PoolBody, text, CAPS),
        lambda text: pooling_bodies.read_score(text, CAPS),
        lambda text: pooling_bodies.read_rerank(text, CAPS),
    )
    which, _, text = _split(data)
    with contextlib.suppress(PagodaError):
        readers[which % len(readers)](text.encode())


def forms(data: bytes) -> None:
    """Schemas, tags, grammars, expressions and keys: checked, or refused."""
    which, _, text = _split(data)
    with contextlib.suppress(Refusal, msgspec.DecodeError):
        match which % 5:
            case 0:
                ebnf.check(text)
            case 1:
                regex.check(text, quoted=len(text) % 2 == 0)
            case 2:
                json_schema.normalised(msgspec.json.decode(text, type=dict))
            case 3:
                tags.normalised(msgspec.json.decode(text, type=dict))
            case _:
                keyformat.public_id_of(text)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (parsers, header, config, frames, bodies, forms)
}


def _pipeline(tool: str, reasoning: str) -> Pipeline:
    return pipeline_for(tool or None, reasoning or None, tools=TOOLS)


def _split(data: bytes) -> tuple[int, int, str]:
    """Two bytes that choose, and a text."""
    head = data[:2].ljust(2, b"\0")
    return head[0], head[1], data[2:].decode(errors="replace")


@dataclass(frozen=True)
class _InMemory:
    """As much of a path as the readers of files ask for."""

    data: bytes
    name: str = "file"

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_size=len(self.data))

    def open(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)

    def read_bytes(self) -> bytes:
        return self.data


def _file(data: bytes) -> Path:
    return cast(Path, _InMemory(data))
