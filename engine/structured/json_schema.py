"""JSON schemas: what cannot be enforced is refused by name, what is loose is written out.

`normalised` returns a schema the compiler takes at its word: types inferred, required properties
defined, enum values filtered by type. A schema that no finite value meets is refused. Annotations
and unknown words say nothing about values and pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from engine.structured import regex
from engine.structured.refusal import Refusal

MAX_DEPTH = 32
MAX_INT = 10**15
TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_OF_TYPE = {  # words that speak about values of one type only
    "object": (
        "properties", "required", "additionalProperties", "patternProperties", "propertyNames",
        "minProperties", "maxProperties", "unevaluatedProperties",
    ),
    "array": ("items", "prefixItems", "minItems", "maxItems", "unevaluatedItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}  # fmt: skip
_FORMATS = frozenset(
    ("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid")
)
_OF_ANY = frozenset(word for words in _OF_TYPE.values() for word in words)
_CHOICES = ("$ref", "anyOf", "oneOf", "allOf", "const", "enum")
_CANNOT = {
    "not": "list what is allowed instead",
    "if": "use anyOf",
    "then": "use anyOf",
    "else": "use anyOf",
    "contains": "describe every item instead",
    "minContains": "describe every item instead",
    "maxContains": "describe every item instead",
    "dependentRequired": "use anyOf",
    "dependentSchemas": "use anyOf",
    "dependencies": "use anyOf",
    "additionalItems": "use items beside prefixItems",
    "$dynamicRef": "use $ref",
    "$recursiveRef": "use $ref",
}
_PLACE = re.compile(r"\d{1,9}", re.ASCII)  # of a list, in a reference
_COUNTS = ("minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength")
_BOUNDS = _OF_TYPE["number"]
Path = tuple[str, ...]


def normalised(schema: Any) -> Any:
    """The schema as it will be enforced. Raises `Refusal` with the place of the trouble."""
    checker = _Checker(schema)
    done = checker.visit(schema, ())
    checker.check_ends(done)
    return done


class _Checker:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._refs: dict[str, Path] = {}
        self._depth = 0

    def visit(self, schema: Any, path: Path) -> Any:
        """One schema and all inside it; places they refer to are visited where they stand."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Refusal(f"nests schemas deeper than {MAX_DEPTH}")
        done = self._visit(schema, path)
        self._depth -= 1
        return done

    def _visit(self, schema: Any, path: Path) -> Any:
        if schema is True:
            return True
        if schema is False:
            raise Refusal(f"allows no value{_at(path)}: the schema is false")
        if not isinstance(schema, dict):
            raise Refusal(f"is no schema{_at(path)}: it must be an object")
        self._check_words(schema, path)
        done = dict(schema)
        for word in ("$defs", "definitions"):
            if word in schema:
                done[word] = self._visit_each(schema[word], (*path, word))
        kinds = [word for word in _CHOICES if word in schema]
        if kinds == ["enum"] or kinds == ["const"]:
            return self._values(done, kinds[0], path)
        if len(kinds) > 1 or (kinds and (_OF_ANY | {"type"}) & schema.keys()):
            done = self._with_one_choice(done, kinds, path)
            kinds = [word for word in _CHOICES if word in done]
        if kinds:
            return self._choice(done, kinds[0], path)
        return self._typed(done, path)

    def check_ends(self, done: Any) -> None:
        """Raises `Refusal` when the schema, or one it refers to, has no finite value."""
        ends = _Ends(done)
        if not ends.reaches_end(done):
            raise Refusal("describes values that never end: a $ref leads back to itself")
        for ref in self._refs:
            if not ends.reaches_end(_find(done, ref)):
                raise Refusal(f"describes values that never end: {ref} needs itself")

    def _check_words(self, schema: dict[str, Any], path: Path) -> None:
        for word, advice in _CANNOT.items():
            if word in schema:
                raise Refusal(f"uses {word!r}{_at(path)}, which cannot be enforced; {advice}")
        if schema.get("uniqueItems"):
            raise Refusal(f"uses 'uniqueItems'{_at(path)}, which cannot be enforced; leave it out")
        for word in _COUNTS:
            if word in schema and not _is_count(schema[word]):
                raise Refusal(
                    f"has {word!r}{_at(path)} that is no whole number from 0 to {MAX_INT}"
                )
        for word in _BOUNDS:
            if word in schema and not _is_number(schema[word]):
                raise Refusal(f"has {word!r}{_at(path)} that is no number within ±{MAX_INT}")
        if "multipleOf" in schema and not (
            type(schema["multipleOf"]) is int and schema["multipleOf"] > 0
        ):
            raise Refusal(f"has 'multipleOf'{_at(path)} that is no whole number above 0")

    def _visit_each(self, schemas: Any, path: Path) -> dict[str, Any]:
        if not isinstance(schemas, dict):
            raise Refusal(f"must have an object{_at(path)}")
        return {name: self.visit(schema, (*path, name)) for name, schema in schemas.items()}

    def _values(self, done: dict[str, Any], kind: str, path: Path) -> dict[str, Any]:
        """enum or const: values of another type than the stated ones are left out."""
        values = done["enum"] if kind == "enum" else [done["const"]]
        if not isinstance(values, list) or not values:
            raise Refusal(f"has an 'enum'{_at(path)} that is no list of values")
        types = self._types(done, path)
        rest = [value for value in values if not types or _type_of(value) & set(types)]
        if not rest:
            raise Refusal(f"allows no value{_at(path)}: no value of {kind!r} has the type")
        kept = {word: done[word] for word in done.keys() - _OF_ANY - {"type", kind}}
        return kept | ({"const": rest[0]} if kind == "const" else {"enum": rest})

    def _with_one_choice(
        self, done: dict[str, Any], kinds: list[str], path: Path
    ) -> dict[str, Any]:
        """Only `type` beside anyOf or oneOf can be kept, by moving it into the branches."""
        others = _OF_ANY & done.keys()
        branches = done.get(kinds[0])
        if (
            len(kinds) > 1
            or others
            or kinds[0] not in ("anyOf", "oneOf")
            or not isinstance(branches, list)
            or not all(isinstance(branch, dict) for branch in branches)
        ):
            raise Refusal(
                f"mixes {', '.join([*kinds, *sorted(others | (done.keys() & {'type'}))])}"
                f"{_at(path)}; one schema may have only one of them"
            )
        kept = {word: value for word, value in done.items() if word not in (kinds[0], "type")}
        return kept | {kinds[0]: [{"type": done["type"]} | branch for branch in branches]}

    def _choice(self, done: dict[str, Any], kind: str, path: Path) -> dict[str, Any]:
        if kind == "$ref":
            self._check_ref(done["$ref"], path)
            return done
        branches = done[kind]
        if not isinstance(branches, list) or not branches:
            raise Refusal(f"has {kind!r}{_at(path)} that is no list of schemas")
        if kind == "allOf" and len(branches) > 1:
            raise Refusal(f"uses 'allOf' of several schemas{_at(path)}; merge them into one")
        done[kind] = [self.visit(b, (*path, kind, str(i))) for i, b in enumerate(branches)]
        return done

    def _check_ref(self, ref: Any, path: Path) -> None:
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise Refusal(f"has a '$ref'{_at(path)} that leads outside; it must begin with '#'")
        _find(self._root, ref)
        self._refs.setdefault(ref, path)

    def _types(self, schema: dict[str, Any], path: Path) -> list[str]:
        """The stated types; those that other words imply when none is stated."""
        stated = schema.get("type")
        types = stated if isinstance(stated, list) else [] if stated is None else [stated]
        if stated == [] or not all(isinstance(name, str) and name in TYPES for name in types):
            raise Refusal(f"has a 'type'{_at(path)} that is none of {', '.join(TYPES)}")
        if types:
            return types
        implied = [name for name, words in _OF_TYPE.items() if schema.keys() & set(words)]
        if len(implied) > 1:
            raise Refusal(f"needs a 'type'{_at(path)}: it speaks of {' and '.join(implied)}")
        return implied

    def _typed(self, done: dict[str, Any], path: Path) -> dict[str, Any] | bool:
        types = self._types(done, path)
        if not types:
            return True if not {"$defs", "definitions"} & done.keys() else done
        done["type"] = types if len(types) > 1 else types[0]
        if "object" in types:
            self._object(done, path)
        if "array" in types:
            self._array(done, path)
        if "string" in types:
            _string(done, path)
        if "multipleOf" in done and types != ["integer"]:
            raise Refusal(f"uses 'multipleOf'{_at(path)}, which works for integers only")
        return done

    def _object(self, done: dict[str, Any], path: Path) -> None:
        required = done.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise Refusal(f"has 'required'{_at(path)} that is no list of names")
        done["properties"] = self._visit_each(done.get("properties", {}), (*path, "properties"))
        more = done.get("additionalProperties")
        if more not in (None, False):
            more = self.visit(more, (*path, "additionalProperties"))
            done["additionalProperties"] = more
        for name in required:
            if name not in done["properties"] and more is False:
                raise Refusal(f"requires {name!r}{_at(path)}, which it does not allow")
            done["properties"].setdefault(name, True if more is None else more)
        if not done["properties"]:
            del done["properties"]
        if "patternProperties" in done:
            inner = (*path, "patternProperties")
            done["patternProperties"] = self._visit_each(done["patternProperties"], inner)
            for pattern in done["patternProperties"]:
                _check_pattern(pattern, path)
        if isinstance(names := done.get("propertyNames"), dict):
            done["propertyNames"] = self.visit({"type": "string"} | names, (*path, "propertyNames"))
        if done.get("minProperties", 0) > max(1, len(set(required))):
            raise Refusal(f"uses 'minProperties'{_at(path)}; name the properties in 'required'")
        if "maxProperties" in done and done["maxProperties"] < len(set(required)):
            raise Refusal(f"requires more properties{_at(path)} than 'maxProperties' allows")

    def _array(self, done: dict[str, Any], path: Path) -> None:
        if "items" in done and done["items"] is not False:
            if isinstance(done["items"], list):
                raise Refusal(f"has a list as 'items'{_at(path)}; write it as 'prefixItems'")
            done["items"] = self.visit(done["items"], (*path, "items"))
        if "prefixItems" in done:
            firsts = done["prefixItems"]
            if not isinstance(firsts, list):
                raise Refusal(f"has 'prefixItems'{_at(path)} that is no list of schemas")
            inner = (*path, "prefixItems")
            done["prefixItems"] = [self.visit(s, (*inner, str(i))) for i, s in enumerate(firsts)]
        if "maxItems" in done and done["maxItems"] < done.get("minItems", 0):
            raise Refusal(f"needs more items{_at(path)} than 'maxItems' allows")
        if done.get("items") is False and done.get("minItems", 0) > len(
            done.get("prefixItems", ())
        ):
            raise Refusal(f"needs more items{_at(path)} than it allows")


class _Ends:
    """Which schemas have a finite value: the least fixed point, found depth first.

    A schema met again on the way down needs itself there, so that way has no end; another
    alternative may. A result found on the way to itself is not kept unless it is an end.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._on_path: set[int] = set()
        self._finite: set[int] = set()
        self._left = 20_000  # visits: a graph of references may have very many paths

    def reaches_end(self, schema: Any) -> bool:
        if not isinstance(schema, dict) or id(schema) in self._finite:
            return True
        if id(schema) in self._on_path:
            return False
        self._left -= 1
        if self._left < 0:
            raise Refusal("refers to itself in too many ways")
        self._on_path.add(id(schema))
        found = self._ends(schema)
        self._on_path.discard(id(schema))
        if found:
            self._finite.add(id(schema))
        return found

    def _ends(self, schema: dict[str, Any]) -> bool:
        if "$ref" in schema:
            return self.reaches_end(_find(self._root, schema["$ref"]))
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                return any(self.reaches_end(branch) for branch in schema[word])
        types = schema.get("type")
        if types == "object":
            properties = schema.get("properties", {})
            return all(self.reaches_end(properties[n]) for n in schema.get("required", ()))
        if types == "array":
            return all(self.reaches_end(item) for item in _needed_items(schema))
        return True


def _string(done: dict[str, Any], path: Path) -> None:
    low, high = done.get("minLength", 0), done.get("maxLength")
    if "pattern" in done:
        _check_pattern(done["pattern"], path)
        if low > 0 or high is not None:
            raise Refusal(f"has both a pattern and a length{_at(path)}; put the length into it")
        done.pop("format", None)
        return
    if low > 0 or high is not None:
        if high is not None and high < low:
            raise Refusal(f"allows no text{_at(path)}: {low} to {high} characters")
        done.pop("format", None)
    elif not isinstance(done.get("format"), str) or done["format"] not in _FORMATS:
        done.pop("format", None)  # an annotation, says the standard


def _check_pattern(pattern: Any, path: Path) -> None:
    if not isinstance(pattern, str):
        raise Refusal(f"has a 'pattern'{_at(path)} that is no text")
    regex.check(pattern, quoted=True)


def _needed_items(schema: dict[str, Any]) -> Iterator[Any]:
    count = schema.get("minItems", 0)
    firsts = schema.get("prefixItems", [])
    yield from firsts[:count]
    if count > len(firsts):
        yield schema.get("items", True)


def _find(root: Any, ref: str) -> Any:
    """The schema a local reference names. Raises `Refusal` when there is none."""
    if ref == "#":
        return root
    place = root
    if not ref.startswith("#/"):
        raise Refusal(f"refers to {ref[:80]!r}; anchors are not supported, write '#/$defs/…'")
    for part in ref[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list) and _PLACE.fullmatch(name) and int(name) < len(place):
            place = place[int(name)]
        elif isinstance(place, dict) and name in place:
            place = place[name]
        else:
            raise Refusal(f"refers to {ref[:80]!r}, which is not there")
    if not isinstance(place, dict | bool):
        raise Refusal(f"refers to {ref[:80]!r}, which is no schema")
    return place


def _type_of(value: Any) -> set[str]:
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"integer", "number"} if value.is_integer() else {"number"}
        case str():
            return {"string"}
        case list():
            return {"array"}
    return {"object"}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_INT


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_INT


def _at(path: Path) -> str:
    return f" at {'/'.join(path)[:200]}" if path else ""
