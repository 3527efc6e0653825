"""JSON objects filled from a text, by a JSON schema or by a list of fields.

The split key is the schema's shape: its property names and types in order.
"""

from __future__ import annotations

import json
from random import Random

from demo.corpus.core import Json, Split, Turn, fits, join_words, pick, spin
from demo.corpus.entities import KIND_WEIGHTS, KINDS, Entity, entity

_FRAMES = (
    "[Extract|Get|Pull] the [data|fields|information|details] [from|out of] [this|the] text as JSON [with|by|following] this schema: <s>\n\n<t>",
    "[Fill|Complete] this [JSON |]schema from the text[.|:]\nSchema: <s>\nText: <t>",
    "Text: <t>\n\n[Answer|Reply|Respond] with [JSON|a JSON object] [that matches|matching|for|in] [this|the] schema: <s>",
    "[Return|Give me|Write|Produce] [only |]JSON [for|from] [this|the following] [text|note] [by|using|with] the schema <s>.\n<t>",
    "<t>\n\n[Turn this|Convert this|Put this|Convert the text] into JSON [with|using] the schema <s>",
    "<t>\n\nSchema: <s>\n\nJSON:",
    "[Schema|JSON schema|The schema]: <s> <t> [Fill it|Use the schema|Make the object|Answer in JSON].",
    "<s>\n<t>",
    "<t> [Write|Say|Return] [it|this|that] [in JSON|as JSON] by <s>",
)
_FIELD_FRAMES = (
    "[Extract|Give me|Return|Write] [JSON|a JSON object] with the [fields|keys|properties] <f> [from|for|out of] [this|the] text: <t>",
    "<t>\n\n[Answer|Reply] [as|in|with] JSON with the [keys|fields|properties] <f>.",
    "[Make|Create|Build] a JSON object [with|that has] <f> from this: <t>",
    "[Turn|Convert] this into JSON ([keys|fields]: <f>): <t>",
    "<t> [Give|Write|Say|Show|Return] [me |]this [as|in] JSON with [the keys |the fields |the properties |]<f>.",
    "<t> [JSON|As JSON|In JSON][,|:] [with |][keys|fields|properties|the keys][:|] <f>",
    "[I need|I want|I would like|Please make] [JSON|a JSON object|an object|a JSON] with <f>. [The text|Here|]: <t>",
    "[I need|I want|We need] [JSON|an object|data] with <f>. <t>",
    "[Fields|Keys|Properties]: <f>. <t> [Only JSON, please.|JSON, please.|Answer in JSON.|]",
    "[As|In] JSON with <f>: <t>",
    "[Data|JSON|An object], please, [keys|fields] <f>. <t>",
    "[Write|Make|Fill in|Complete] <o> [for|from|with]: <t>",
    "<t> [Write|Make|Fill in|Complete] <o>",
    "Text: <t>\nFields: <f>\n[JSON:|Give the JSON.]",
)


def shape_key(properties: dict[str, str]) -> str:
    """The split key of a schema: names and types in order."""
    return "shape:" + ",".join(f"{name}={kind}" for name, kind in properties.items())


_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def shape_of(value: dict[str, Json]) -> str:
    """The shape of an object as split keys write it; absent values have the type null."""
    return ",".join(
        f"{name}={{{shape_of(one)}}}"
        if isinstance(one, dict)
        else f"{name}={_TYPES.get(type(one), 'null')}"
        for name, one in value.items()
    )


def _drawn(rng: Random, split: Split) -> tuple[Entity, dict[str, str], dict[str, Json]]:
    """An entity with a schema whose shape is on the wanted side and the object that fills it."""
    while True:
        source = entity(rng, split, rng.choices(KINDS, KIND_WEIGHTS)[0], rng.randint(2, 5))
        fields = [*source.values] if rng.random() < 0.75 else rng.sample([*source.values], 2)
        entries: list[tuple[str, str, Json]] = [
            (
                rng.choice(source.kind.attributes[f].keys),
                source.kind.attributes[f].kind,
                source.values[f],
            )
            for f in fields
        ]
        name = (rng.choice(source.kind.name_keys), "string", source.name)
        if rng.random() < 0.85:
            entries.insert(0, name)
        if rng.random() < 0.5:
            rng.shuffle(entries)
        properties = {key: kind for key, kind, _ in entries}
        if len(properties) == len(entries) > 1 and fits(shape_key(properties), split):
            return source, properties, {key: value for key, _, value in entries}


def schema(rng: Random, properties: dict[str, str]) -> dict[str, Json]:
    """A JSON schema of the properties, with and without its optional keywords."""
    body: dict[str, Json] = {
        name: {"type": "array", "items": {"type": "string"}} if kind == "array" else {"type": kind}
        for name, kind in properties.items()
    }
    out: dict[str, Json] = {"type": "object", "properties": body}
    if rng.random() < 0.7:
        out["required"] = [*properties]
    if rng.random() < 0.2:
        out["additionalProperties"] = False
    return out


def make(rng: Random, split: Split) -> Turn:
    """A text with a schema or field list; the reply is the object alone."""
    source, properties, filled = _drawn(rng, split)
    if rng.random() < 0.6:
        asked = json.dumps(schema(rng, properties), indent=2 if rng.random() < 0.1 else None)
        question = pick(rng, _FRAMES).replace("<s>", asked).replace("<t>", source.text)
    else:
        typed = rng.random() < 0.6
        named_fields = [f"{n} ({k})" if typed else n for n, k in properties.items()]
        fields = join_words(named_fields) if rng.random() < 0.5 else ", ".join(named_fields)
        empty = (
            "{" + ", ".join(f'"{n}": {rng.choice(("...", "?", "null"))}' for n in properties) + "}"
        )
        question = (
            pick(rng, _FIELD_FRAMES)
            .replace("<f>", fields)
            .replace("<o>", empty)
            .replace("<t>", source.text)
        )
    reply = json.dumps(filled, ensure_ascii=False)
    named = (f"name:{source.name}",) if source.kind.label == "person" else ()
    think = spin(rng, "I read the text and fill the fields <f>.", f=", ".join(properties))
    return Turn(
        user=question, reply=reply, short=reply, value=filled, keys=(shape_key(properties), *named),
        expect={"kind": "json", "value": filled}, think=think,
    )  # fmt: skip
