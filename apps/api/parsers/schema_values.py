"""Text of a parameter → JSON value of the type that the tool's schema names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from apps.api.parsers.json_text import is_json
from apps.api.parsers.literals import LITERAL_CHARS, literal_as_json
from apps.api.parsers.source import Malformed

DEPTH = 8  # of anyOf/oneOf/allOf

_INTEGER = re.compile(r"-?\d+(\.0+)?", re.ASCII)
_OPENINGS = {"object": "{", "array": "["}


def types_of(schema: object, depth: int = DEPTH) -> frozenset[str]:
    """The JSON types a schema allows, as far as it names them; a value list names them too."""
    if not isinstance(schema, Mapping) or not depth:
        return frozenset()
    named = schema.get("type")
    names = {named} if isinstance(named, str) else set()
    if isinstance(named, list):
        names.update(name for name in named if isinstance(name, str))
    for values in (schema.get("enum"), [schema["const"]] if "const" in schema else None):
        if isinstance(values, list) and not named:
            names.update(map(_type_of, values))
    for keyword in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(keyword)
        for branch in branches if isinstance(branches, list) else ():
            names |= types_of(branch, depth - 1)
    return frozenset(names)


def parameter_types(parameters: Mapping[str, Any], key: str) -> frozenset[str]:
    """The types of a tool's parameter; a string when the schema does not say."""
    properties = parameters.get("properties")
    schema = properties.get(key) if isinstance(properties, Mapping) else None
    return types_of(schema) or frozenset(("string",))


def typed_json(text: str, types: frozenset[str]) -> str:
    """JSON text of the value. What fits no named type is a string: the caller sees what came."""
    bare = text.strip()
    if "null" in types and bare in ("null", "None"):
        return "null"
    if "string" in types:
        return json.dumps(text, ensure_ascii=False)
    if "boolean" in types and bare.lower() in ("true", "false"):
        return bare.lower()
    if "integer" in types and _INTEGER.fullmatch(bare) and is_json(bare):
        return bare.partition(".")[0]
    if "number" in types and is_json(bare, opening="-0123456789"):
        return bare
    for name, opening in _OPENINGS.items():
        if name in types and bare.startswith(opening) and (found := _structure(bare)):
            return found
    return json.dumps(text, ensure_ascii=False)


def _structure(text: str) -> str | None:
    """An object or array written as JSON or, as models do now and then, as a Python literal."""
    if is_json(text):
        return text
    try:
        return literal_as_json(text) if len(text) <= LITERAL_CHARS else None
    except Malformed:
        return None


def _type_of(value: object) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "string")
