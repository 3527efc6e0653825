"""JSON objects out of scenes: free sentences, arrays, nested objects, optional fields, any key names.

The split key is the shape of the reply, as in `jsonform`.
"""

from __future__ import annotations

import json
import re
from random import Random

from demo.corpus.core import Json, Split, Turn, fits, join_words, lower_first, pick, spin
from demo.corpus.jsonform import shape_of
from demo.corpus.scene import Field
from demo.corpus.scenes import scene

_MAKE = "[Extract|Return|Give me|Write|Produce|Make|Build|Print|Output|Show me|I need|I want|We need|Prepare|Send me|Fill in]"
_OBJECT = (
    "[JSON|a JSON object|one JSON object|a JSON|the JSON|an object in JSON|JSON data|valid JSON]"
)
_WITH = "[with|that has|having|containing|made of|by] [the |exactly the |only the ||][fields|keys|properties|entries|attributes]"
_LABEL = "[Text|Note|Input|Data|Message|Source|Details|Facts|The text]"
_TAIL = "[ No other text.| Only the JSON.| Nothing else, please.| JSON only.| No comments.||||||]"
_FRAMES = (
    f"{_MAKE} {_OBJECT} {_WITH} <f>. {_LABEL}: <t>",
    f"{_MAKE} {_OBJECT} {_WITH} <f> [from|for|out of|about] [this|the following|this note|the text]: <t>",
    f"{_MAKE} {_OBJECT}, [keys|fields|properties] <f>: <t>",
    f"{_LABEL}: <t>\n\n{_MAKE} {_OBJECT} {_WITH} <f>.{_TAIL}",
    f"<t> {_MAKE} {_OBJECT} {_WITH} <f>.{_TAIL}",
    f"<t>\n{_MAKE} {_OBJECT} {_WITH} <f>.{_TAIL}",
    f"<t> [Put|Turn|Convert|Pack|Rewrite|Transform] [this|it|that|the text] [into|to] JSON {_WITH} <f>.{_TAIL}",
    f"[Put|Turn|Convert|Pack|Rewrite|Transform] [this|the text|the note] [into|to] JSON {_WITH} <f>: <t>",
    f"[In|As] JSON, [keys|fields|with] <f>: <t>{_TAIL}",
    f"<t> [In|As] JSON[,| please,] [keys|fields|with] <f>.{_TAIL}",
    f"[Reply|Answer|Speak] [in|with|only in|as] JSON.{_TAIL} [Keys|Fields|Properties|Attributes]: <f>. {_LABEL}: <t>",
    f"{_LABEL}: <t>\n[Keys|Fields|Properties]: <f>\n[JSON:|Output:|Result:|Object:|]",
    f"[Keys|Fields|Properties|Wanted]: <f>\n{_LABEL}: <t>\n[JSON:|Output:|Object:|]",
    f"[How would|How does|What does] [this|that|the note] look [as|in] JSON {_WITH} <f>? <t>",
)  # fmt: skip
_SCHEMA_FRAMES = (
    f"{_MAKE} {_OBJECT} [for|by|following|under|that fits|valid for] [the|this] schema <s>. {_LABEL}: <t>",
    f"{_LABEL}: <t>\n\n[Schema|JSON schema]: <s>{_TAIL}",
    f"[Schema|JSON schema|Format]: <s>\n{_LABEL}: <t>\n[JSON:|Output:|Object:|]",
    f"<t> {_MAKE} {_OBJECT} [for|by|following|under|in] [the|this] schema: <s>",
    "[Use|Follow|Obey|Take] [the|this] schema <s> [and fill it with|for|on] [this|the text]: <t>",
    "<s>\n\n<t>",
)  # fmt: skip
_TYPE_NAMES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_LOOSE_TYPES = {"integer": ("integer", "int", "number", "whole number"), "number": ("number", "float"), "string": ("string", "text", "str"),
                "boolean": ("boolean", "bool", "true or false"), "array": ("array", "list"), "object": ("object",)}  # fmt: skip
_PAIRS = (
    ("first", "second"),
    ("one", "two"),
    ("a", "b"),
    ("left", "right"),
    ("main", "other"),
    ("person", "event"),
    ("item1", "item2"),
    ("note", "extra"),
)
_NOT_LETTER = re.compile(r"[^a-z0-9]+")


def _styled(key: str, style: int) -> str:
    """The key in snake case, camel case, with capitals or as one word."""
    words = _NOT_LETTER.sub(" ", key.lower()).split()
    if style == 1:
        return words[0] + "".join(word.capitalize() for word in words[1:])
    if style == 2:
        return "_".join(words).upper()
    return "".join(words).capitalize() if style == 3 else "_".join(words)


def _object(rng: Random, fields: tuple[Field, ...], style: int) -> dict[str, Json] | None:
    """Some of the fields under drawn names; None where two names are one."""
    chosen = [f for f in fields if rng.random() < 0.85] or [fields[0]]
    if rng.random() < 0.4:
        rng.shuffle(chosen)
    out = {_styled(rng.choice(field.names), style): field.value for field in chosen}
    return out if len(out) == len(chosen) else None


def _schema(rng: Random, value: Json) -> dict[str, Json]:
    """A JSON schema that the value fits."""
    if isinstance(value, dict):
        body: dict[str, Json] = {
            "type": "object",
            "properties": {k: _schema(rng, v) for k, v in value.items()},
        }
        if rng.random() < 0.6:
            body["required"] = [*value]
        return body
    if isinstance(value, list):
        return {"type": "array", "items": _schema(rng, value[0])}
    kind = _TYPE_NAMES[type(value)]
    return {"type": "number" if kind == "integer" and rng.random() < 0.2 else kind}


def _field_list(rng: Random, value: dict[str, Json]) -> str:
    """The keys as a user lists them, with or without types; nested keys in brackets."""
    typed, quote = rng.random() < 0.35, rng.choice(("", "", '"', "'", "`"))
    parts = []
    for key, entry in value.items():
        kind = rng.choice(_LOOSE_TYPES[_TYPE_NAMES[type(entry)]])
        shown = f"{quote}{key}{quote}"
        inner = entry[0] if isinstance(entry, list) and entry else entry
        if isinstance(inner, dict):
            many = "a list of " if isinstance(entry, list) else ""
            parts.append(f"{shown} ({many}{', '.join(inner)})")
        elif typed:
            parts.append(f"{shown} ({kind})" if rng.random() < 0.7 else f"{shown}: {kind}")
        elif isinstance(entry, list) and rng.random() < 0.6:
            parts.append(f"{shown} (a list)")
        else:
            parts.append(shown)
    draw = rng.random()
    if draw < 0.4:
        return ", ".join(parts)
    if draw < 0.8:
        return join_words(parts)
    return "{" + ", ".join(parts) + "}" if draw < 0.9 else "[" + ", ".join(parts) + "]"


def _drawn(rng: Random, split: Split) -> tuple[str, dict[str, Json], tuple[str, ...]]:
    """A text, the object it holds, and the names in the text."""
    while True:
        own, more = scene(rng, split)
        style = rng.choices((0, 1, 2, 3), (8, 2, 0.5, 1))[0]
        value = _object(rng, own.fields, style)
        text, keys = own.text.rstrip("\n"), own.keys
        if value is None:
            continue
        if rng.random() < 0.25:
            other = more() if rng.random() < 0.3 else scene(rng, split)[0]
            keys += other.keys
            parts = [text, other.text.rstrip("\n")]
            draw = rng.random()
            nested = _object(rng, other.fields, style)
            if nested is None or len(set(keys)) < len(keys):
                continue
            if draw < 0.35:
                one, two = rng.choice(_PAIRS)
                value = {one: value, two: nested}
            elif draw < 0.6 and value.keys().isdisjoint(nested):
                value = {**value, rng.choice(("other", "details", "next", "extra_info")): nested}
            elif not value.keys().isdisjoint(nested):
                continue  # whose value would it be?
            if draw >= 0.6:
                rng.shuffle(parts)
            text = " ".join(parts)
        if rng.random() < 0.08:
            value[rng.choice(("comment", "fax", "website", "middle_name", "signature"))] = None
        if len(value) > 1 or rng.random() < 0.3:
            return text, value, keys


def make(rng: Random, split: Split) -> Turn:
    """A text with a field list or schema; what the text does not say is null."""
    while True:
        text, value, keys = _drawn(rng, split)
        key = "shape:" + shape_of(value)
        if fits(key, split):
            break
    if None not in value.values() and rng.random() < 0.4:
        schema = json.dumps(_schema(rng, value), indent=2 if rng.random() < 0.08 else None)
        question = pick(rng, _SCHEMA_FRAMES).replace("<s>", schema)
    else:
        listed = _field_list(rng, {k: "" if v is None else v for k, v in value.items()})
        question = pick(rng, _FRAMES).replace("<f>", listed)
    question = question.replace("<t>", text)
    if rng.random() < 0.1:
        question = lower_first(question)
    reply = json.dumps(value, ensure_ascii=False)
    think = spin(rng, "I read the text and fill the fields <f>.", f=", ".join(value))
    return Turn(user=question, reply=reply, short=reply, value=value, keys=(key, *keys),
                expect={"kind": "json", "value": value}, think=think)  # fmt: skip
