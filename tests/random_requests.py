"""Random requests of all kinds, and the parts of an answer that must not depend on how it came."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import httpx

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "moon", "by", "night")
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
# Its key is none of WORDS: those may be forbidden.
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
ASKS = (
    "What is 12 + 7?", "Hello!", "What is the weather in Paris?", "Tell me a short story.",
    "Count from 3 to 9.", "What colour is the sky?",
)  # fmt: skip


def drawn(seed: int, model: str, *, sampled: bool = False) -> tuple[str, dict[str, Any]]:
    """Route and body number `seed`; greedy unless `sampled`, which draws with a seed of its own."""
    dice = random.Random(seed)
    route, body = (_completion if dice.random() < 0.5 else _chat)(dice)
    body |= {"model": model, "max_tokens": dice.randint(1, 24)}
    body["temperature"] = dice.choice((0.7, 1.0, 1.4)) if sampled else 0
    if sampled:
        body |= {"seed": seed, "top_p": dice.choice((1.0, 0.9))}
    for chance, extra in _extras(dice):
        if dice.random() < chance:
            body |= extra
    return route, body


def _extras(dice: random.Random) -> list[tuple[float, dict[str, Any]]]:
    return [
        (0.2, {"n": dice.randint(2, 3)}),
        (0.3, {"stop": dice.sample([" a", "e ", "at", ".", "the"], 2)}),
        (0.2, {"include_stop_str_in_output": True}),
        (0.1, {"stop_token_ids": [dice.randrange(50, 300)]}),
        (0.2, {"presence_penalty": 1.0, "repetition_penalty": 1.3}),
        (0.2, {"logit_bias": {str(dice.randrange(50, 300)): 5}}),
        (0.2, {"return_token_ids": True}),
        (0.2, {"bad_words": [dice.choice(WORDS)]}),
        (0.2, {"min_tokens": 1}),
        (0.2, {"skip_special_tokens": False}),
    ]


def _completion(dice: random.Random) -> tuple[str, dict[str, Any]]:
    texts = [" ".join(dice.choices(WORDS, k=dice.randint(1, 40))) for _ in range(3)]
    ids = [[dice.randrange(20, 300) for _ in range(dice.randint(1, 30))] for _ in range(2)]
    body: dict[str, Any] = {"prompt": dice.choice([texts[0], texts[:2], ids[0], ids])}
    if dice.random() < 0.3:
        body["logprobs"] = dice.randint(0, 3)
    if dice.random() < 0.2:
        body["echo"] = True
    if dice.random() < 0.15:
        body["guided_choice"] = ["yes", "no", "perhaps"]
    return "/v1/completions", body


def _chat(dice: random.Random) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": dice.choice(ASKS)}]}
    kind = dice.random()
    if kind < 0.25:
        body["tools"] = [TOOL]
    elif kind < 0.5:
        body["reasoning_effort"] = "high"
    elif kind < 0.6:
        form = {"name": "a", "schema": SCHEMA}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if dice.random() < 0.3:
        body |= {"logprobs": True, "top_logprobs": dice.randint(0, 3)}
    return "/v1/chat/completions", body


def whole(http: httpx.Client, route: str, body: dict[str, Any]) -> Any:
    """The answer as one object, in plain form."""
    reply = http.post(route, json=body)
    assert reply.status_code == 200, (body, reply.text)
    found = reply.json()
    choices = [_plain(c, c.get("message") or {"content": c.get("text")}) for c in found["choices"]]
    return choices, _counted(found["usage"])


def streamed(http: httpx.Client, route: str, body: dict[str, Any]) -> Any:
    """The same of a stream, put together from its chunks."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    reply = http.post(route, json=body | options)
    assert reply.status_code == 200, (body, reply.text)
    events = [e[6:] for e in reply.text.split("\n\n") if e.startswith("data: ")]
    assert events.pop() == "[DONE]", (body, reply.text[-500:])
    chunks = [json.loads(event) for event in events]
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            _join(choices.setdefault(choice["index"], {"index": choice["index"]}), choice)
    plain = [_plain(c, c) for _, c in sorted(choices.items())]
    return plain, _counted(chunks[-1]["usage"])


def _join(into: dict[str, Any], choice: dict[str, Any]) -> None:
    delta = choice.get("delta") or {"content": choice.get("text")}
    for name in ("content", "reasoning"):
        into[name] = into.get(name, "") + (delta.get(name) or "")
    for call in delta.get("tool_calls") or []:
        calls = into.setdefault("tool_calls", [])
        if call["index"] == len(calls):
            calls.append({"function": {"name": call["function"]["name"], "arguments": ""}})
        calls[call["index"]]["function"]["arguments"] += call["function"].get("arguments") or ""
    into.setdefault("token_ids", []).extend(choice.get("token_ids") or [])
    for column, values in (choice.get("logprobs") or {}).items():
        into.setdefault("logprobs", {}).setdefault(column, []).extend(values)
    for name in ("finish_reason", "stop_reason"):
        into[name] = choice.get(name) if choice.get(name) is not None else into.get(name)


def _plain(choice: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    functions = [call["function"] for call in message.get("tool_calls") or []]
    # a stream cannot take back a call that was cut off: its arguments do not parse (docs/api.md)
    functions = [function for function in functions if _parses(function["arguments"])]
    scores = choice.get("logprobs") or {}
    tokens = scores.get("tokens") or [entry["token"] for entry in scores.get("content") or []]
    return {
        "index": choice["index"],
        "content": message.get("content") or "",
        "reasoning": message.get("reasoning") or "",
        "calls": [(f["name"], f["arguments"]) for f in functions],
        "tokens": tokens,
        "offsets": scores.get("text_offset"),
        "token_ids": choice.get("token_ids") or [],
        "finish": (choice["finish_reason"], choice.get("stop_reason")),
    }


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _counted(usage: dict[str, Any]) -> tuple[int, int, int]:
    details = usage["completion_tokens_details"]
    return usage["prompt_tokens"], usage["completion_tokens"], details["reasoning_tokens"]


def differences(http: httpx.Client, model: str, seeds: Iterable[int]) -> list[str]:
    """Requests whose stream does not add up to their whole answer."""
    wrong = []
    for seed in seeds:
        route, body = drawn(seed, model)
        one, other = whole(http, route, body), streamed(http, route, body)
        if one != other:
            wrong.append(f"seed {seed}: {json.dumps(body)}\nwhole  {one}\nstream {other}")
    return wrong
