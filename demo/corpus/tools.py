"""Conversations with tools: one call, two calls, none, and answers from tool results."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from random import Random

from demo.corpus import arithmetic, lists, smalltalk
from demo.corpus.core import (
    Example,
    Json,
    Message,
    Split,
    ToolCall,
    as_typed,
    lower_first,
    spin,
    with_chatter,
)
from demo.corpus.toolbox import TOOLS, Tool

NO_TOOL = "None of my tools can do that."
_SLOT = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool under the names that this conversation gives it."""

    tool: Tool
    name: str
    params: dict[str, str]  # our key -> offered name

    def spec(self, rng: Random) -> dict[str, Json]:
        """The OpenAI function description."""
        properties: dict[str, Json] = {}
        for key, offered in self.params.items():
            param = self.tool.params[key]
            body: dict[str, Json] = {"type": param.kind}
            if rng.random() < 0.7:
                body["description"] = spin(rng, param.about)
            if param.options:
                body["enum"] = [*param.options]
            properties[offered] = body
        always = set(self.tool.params).intersection(
            *(set(_SLOT.findall(ask)) for ask in self.tool.asks)
        )
        schema = {
            "type": "object",
            "properties": properties,
            "required": [self.params[k] for k in self.params if k in always],
        }
        about = spin(rng, self.tool.about) + rng.choice(("", "."))
        function: dict[str, Json] = {"name": self.name, "description": about, "parameters": schema}
        if rng.random() < 0.12:
            function = {"description": about, "name": self.name, "parameters": schema}
        if rng.random() < 0.05:
            function = {"name": self.name, "parameters": schema}
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Request:
    """What the user wants of one offered tool."""

    offer: Offer
    text: str
    values: dict[str, Json]

    def call(self) -> ToolCall:
        """The call that answers the request, arguments in the schema's order."""
        names = self.offer.params
        return {
            "name": self.offer.name,
            "arguments": {names[k]: self.values[k] for k in names if k in self.values},
        }


def _offer(rng: Random, tool: Tool) -> Offer:
    while True:
        params = {key: rng.choice(param.names) for key, param in tool.params.items()}
        if len(set(params.values())) == len(params):
            return Offer(tool, rng.choice(tool.names), params)


def _request(rng: Random, split: Split, offer: Offer) -> Request:
    ask = rng.choice(offer.tool.asks)
    while True:
        values = {key: offer.tool.params[key].draw(rng, split) for key in _SLOT.findall(ask)}
        if len({str(v) for v in values.values()}) == len(values):
            return Request(offer, spin(rng, ask, **values), values)


_SOFT = ("And ", "Then ", "Also ")


def _join(rng: Random, first: str, second: str) -> str:
    """Two requests in one message."""
    if rng.random() < 0.5 and first[-1] in ".?":
        return f"{first[:-1]} and {lower_first(second)}"
    joint = rng.choice(("", "", "Also: ", "And ", "Then ", "Also "))
    return f"{first} {joint}{lower_first(second) if joint in _SOFT else second}"


def _keys(requests: list[Request]) -> tuple[str, ...]:
    return tuple(
        f"name:{value}"
        for request in requests
        for key, value in request.values.items()
        if (request.offer.tool.names[0], key) in _NAME_SLOTS
    )


_NAME_SLOTS = {("send_email", "to"), ("play_music", "artist"), ("get_user", "name")}


def make(rng: Random, split: Split) -> Example:
    """A conversation in which tools are offered."""
    count = rng.choices((1, 2, 3, 4), (3, 4, 3, 1))[0]
    chosen = rng.sample(TOOLS, count + 1)
    offers = [_offer(rng, tool) for tool in chosen[:count]]
    specs = [offer.spec(rng) for offer in offers]
    want = rng.choices(("one", "two", "none", "misfit"), (9, 5, 4, 2))[0]
    if any(tool.names[0] == "search_docs" for tool in chosen):
        want = "none" if want == "misfit" else want  # a search could meet any request
    if want in ("none", "misfit"):
        return _without_call(
            rng, split, specs, None if want == "none" else _offer(rng, chosen[count])
        )
    requests = [_request(rng, split, rng.choice(offers))]
    if want == "two":
        requests.append(_request(rng, split, rng.choice(offers)))
        if requests[0].call() == requests[1].call():
            requests.pop()
    text = requests[0].text
    if len(requests) == 2:
        text = _joined_cities(rng, requests) or _join(rng, requests[0].text, requests[1].text)
    messages: list[Message] = [{"role": "user", "content": with_chatter(rng, as_typed(rng, text))}]
    calls = [request.call() for request in requests]
    messages.append({"role": "assistant", "content": "", "tool_calls": calls})
    if rng.random() < 0.5:
        return Example(
            task="tool call",
            messages=messages,
            tools=specs,
            keys=_keys(requests),
            expect={"kind": "calls", "value": calls},
        )
    return _with_result(rng, messages, specs, requests)


def _joined_cities(rng: Random, requests: list[Request]) -> str:
    """`... in A and B?` when both requests ask the same of two places; else an empty string."""
    first, second = requests
    if first.offer is not second.offer or set(first.values) != {"city"} or rng.random() < 0.4:
        return ""
    if set(second.values) != {"city"}:
        return ""
    return first.text.replace(
        first.values["city"], f"{first.values['city']} and {second.values['city']}"
    )


def _with_result(
    rng: Random, messages: list[Message], specs: list[dict[str, Json]], requests: list[Request]
) -> Example:
    """Go on with the tools' results and the sentence that reports them."""
    said, wanted = [], []
    for request in requests:
        result = request.offer.tool.result(rng)
        messages.append({"role": "tool", "content": json.dumps(result)})
        known = {
            **{k: str(v) for k, v in request.values.items()},
            **{k: str(v) for k, v in result.items()},
        }
        said.append(_SLOT.sub(lambda m, known=known: known[m.group(1)], request.offer.tool.says))  # type: ignore[misc]
        wanted.append(said[-1])
    messages.append({"role": "assistant", "content": " ".join(said)})
    return Example(
        task="tool result",
        messages=messages,
        tools=specs,
        keys=_keys(requests),
        expect={"kind": "exact", "value": " ".join(wanted)},
    )


def _without_call(
    rng: Random, split: Split, specs: list[dict[str, Json]], misfit: Offer | None
) -> Example:
    """Small talk or sums beside tools, or a request that no offered tool can meet."""
    if misfit is not None:
        request = _request(rng, split, misfit)
        messages: list[Message] = [
            {"role": "user", "content": with_chatter(rng, as_typed(rng, request.text))},
            {"role": "assistant", "content": NO_TOOL},
        ]
        return Example(
            task="tool call",
            messages=messages,
            tools=specs,
            keys=_keys([request]),
            expect={"kind": "exact", "value": NO_TOOL},
        )
    turn = rng.choice((arithmetic.make, lists.make, smalltalk.make, smalltalk.make))(rng, split)
    messages = [
        {"role": "user", "content": turn.user},
        {"role": "assistant", "content": turn.reply},
    ]
    return Example(
        task="tool call",
        messages=messages,
        tools=specs,
        keys=turn.keys,
        expect={"kind": "no call", "then": turn.expect},
    )
