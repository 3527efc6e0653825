"""Forms for structured output: good ones with a judge of their answers, and bad ones.

Used by the slice in tests/integration and, all of them, by tests/volume.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jsonschema

from engine.errors import InvalidRequest
from engine.structured.outputs import StructuredOutputs

Fields = dict[str, Any]


@dataclass(frozen=True)
class Good:
    """Fields of `StructuredOutputs`, and whether a whole answer has that form."""

    fields: Fields
    holds: Callable[[str], bool]


def _schema(schema: Any) -> Good:
    checker = jsonschema.Draft202012Validator(schema)
    return Good({"json": schema}, lambda text: checker.is_valid(json.loads(text)))


def _regex(pattern: str) -> Good:
    return Good({"regex": pattern}, lambda text: re.fullmatch(pattern, text, re.ASCII) is not None)


def _grammar(grammar: str, pattern: str) -> Good:
    return Good({"grammar": grammar}, lambda text: re.fullmatch(pattern, text) is not None)


SHORT = {"type": "string", "maxLength": 8}
LEAVES: list[Any] = [
    {"type": "boolean"},
    {"type": "null"},
    {"type": "integer", "minimum": 0, "maximum": 9},
    {"type": "integer", "minimum": -50, "maximum": 50},
    {"type": "integer", "exclusiveMinimum": 99, "maximum": 105},
    {"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 5},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "number", "exclusiveMinimum": 2, "exclusiveMaximum": 3},
    SHORT,
    {"type": "string", "minLength": 2, "maxLength": 4},
    {"type": "string", "pattern": "^[A-Z][a-z]{1,5}$"},
    {"type": "string", "pattern": "[0-9]{4}-[0-9]{2}"},
    {"type": "string", "pattern": "a|bc|def"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "time"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "ipv4"},
    {"enum": ["red", "green", "blue"]},
    {"enum": [1, 2.5, "three", None, True, [4], {"five": 5}]},
    {"const": "only"},
    {"const": {"a": [1, "b", None]}},
    {"type": "string", "enum": ["quote \" and \\ slash", "line\nbreak", "ümlaut", "日本"]},
    {"type": "integer", "enum": [1, 2, "no number"]},
    {"type": ["integer", "null"], "minimum": 3, "maximum": 4},
    {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 3}, {"type": "boolean"}]},
    {"oneOf": [{"const": "a"}, {"const": "b"}]},
    {"allOf": [{"type": "integer", "minimum": 1, "maximum": 5}]},
    {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9}, "maxItems": 4},
    {"type": "array", "items": SHORT, "minItems": 2, "maxItems": 2},
    {"type": "array", "prefixItems": [{"type": "boolean"}, SHORT], "items": False, "minItems": 2},
    {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 1, "maxItems": 3},
    {"type": "array", "items": False},
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}}},
    {"type": "object", "properties": {"q\"\\ü": {"type": "boolean"}}, "required": ["q\"\\ü"]},
    {"type": "object", "required": ["free"], "additionalProperties": {"type": "boolean"}},
    {"minimum": 1, "maximum": 3},
    {"type": "number", "minimum": -1.5, "maximum": 1.5},
    {"type": ["boolean", "string"], "maxLength": 3},
    {"type": "string", "format": "ipv6"},
    {"type": "string", "format": "no-such-format", "maxLength": 5},
    {"properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["a"]},
]  # fmt: skip


def _within(leaf: Any) -> list[Any]:
    """A schema alone and in four places."""
    ref = {"$defs": {"leaf": leaf}, "type": "array", "items": {"$ref": "#/$defs/leaf"}}
    return [
        leaf,
        {"type": "object", "properties": {"value": leaf}, "required": ["value"]},
        {"type": "array", "items": leaf, "minItems": 1, "maxItems": 2},
        {"anyOf": [leaf, {"type": "null"}]},
        ref | {"minItems": 1, "maxItems": 2},
    ]


_NODE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer", "minimum": 0, "maximum": 9},
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
    },
    "required": ["value", "next"],
}
TREES: list[Any] = [
    {"$ref": "#/$defs/node", "$defs": {"node": _NODE}},
    {"type": "array", "items": {"$ref": "#"}, "maxItems": 1},
    {
        "type": "object",
        "title": "An order, with annotations",
        "description": "as a tool would have it",
        "properties": {
            "id": {"type": "string", "format": "uuid", "description": "of the order"},
            "lines": {
                "type": "array",
                "minItems": 1,
                "maxItems": 3,
                "items": {
                    "type": "object",
                    "properties": {
                        "sku": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{3}$"},
                        "count": {"type": "integer", "minimum": 1, "maximum": 20, "default": 1},
                    },
                    "required": ["sku", "count"],
                    "additionalProperties": False,
                },
            },
            "paid": {"type": "boolean", "examples": [True]},
        },
        "required": ["id", "lines", "paid"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {"kind": {"const": "circle"}, "radius": {"type": "integer", "minimum": 1}},
        "required": ["kind", "radius"],
    },
]

REGEXES = [
    "a", "abc", "a|b", "(a|b)c", "[abc]", "[a-f]{3}", "[0-9]+", "[0-9]{3}-[0-9]{4}", "x?y",
    "x*y", "x+", "(ab){2}", "(ab){1,3}", "(ab)+c", "[^a-z]{2}", r"\d{2}", r"\w{3}", r"\s?x",
    r"\D\d", r"\W", r"\S{2}", ".", ".{3}", "a.c", "(?:ab|cd)ef", "^abc$", "^a|b$", r"\.\*\+",
    r"\(\)", r"\[x\]", r"\{1\}", r"a\|b", r"\\", r"\^\$", "[-a]", "[a-]", r"[\]x]", r"[\\]",
    r"[\d_]{2}", r"[\w.-]{1,8}@[a-z]{2,5}\.com", r"https://[a-z]{1,9}\.org", "(yes|no)( sir)?",
    r"[A-Z][a-z]{1,8} [A-Z][a-z]{1,8}", r"-?[0-9]{1,4}(\.[0-9]{1,2})?", r"\x41\x42", r"\u0041",
    "ä{2}", "日本", "[à-ü]{2}", "(a(b(c)?)?)?d", "((((x))))", "a{0}b", "a{2,}b", "(|a)b",
    r"(1[0-9]|2[0-3]):[0-5][0-9]", "#[0-9a-f]{6}", r"\$[0-9]{1,3}\.[0-9]{2}", r"[^\n]{1,4}",
    r"(foo|bar|baz)(-(foo|bar|baz)){0,2}", "[01]{8}",
]  # fmt: skip

GRAMMARS = [
    ('root ::= "a"', "a"),
    ('root ::= "a" | "b"', "a|b"),
    ('root ::= x y\nx ::= "1"\ny ::= "2"', "12"),
    ("root ::= [a-c]{2}", "[a-c]{2}"),
    ('root ::= "(" root ")" | "x"', r"\(*x\)*"),
    ('root ::= ("a" | "b")+ "."', r"[ab]+\."),
    ('root ::= "a"? "b"* "c"', "a?b*c"),
    ('root ::= "\\"" [a-z]{1,4} "\\""', '"[a-z]{1,4}"'),
    ('root ::= "\\n" | "\\t"', "\n|\t"),
    ('root ::= [^"]{3}', '[^"]{3}'),
    ("# a comment\nroot ::= [0-9]+ # digits", "[0-9]+"),
    ('root ::=\n  "x"\n  | "y"', "x|y"),
    ('root ::= item ("," item){0,3}\nitem ::= [0-9]{1,2}', "[0-9]{1,2}(,[0-9]{1,2}){0,3}"),
    ('root ::= sum\nsum ::= num ("+" num)*\nnum ::= [1-9]', r"[1-9](\+[1-9])*"),
    ('root ::= a-b a_c\na-b ::= "1"\na_c ::= "2"', "12"),
    ('root ::= "ü" [à-ý]', "ü[à-ý]"),
    ('start: "a" b\nb: /[0-9]{2}/', "a[0-9]{2}"),
    ('start: ("x" | "y")+', "[xy]+"),
    ("start: WORD\nWORD: /[a-z]{2,5}/", "[a-z]{2,5}"),
    ('root ::= ""  | "z"', "z?"),
]

_TAG = {
    "type": "structural_tag",
    "structures": [{"begin": "<n>", "schema": {"type": "integer", "maximum": 9}, "end": "</n>"}],
    "triggers": ["<n>"],
}
OTHERS = [
    Good({"choice": ["yes", "no"]}, lambda text: text in ("yes", "no")),
    Good({"choice": ["one \"two\"", "a\\b", "x\ny", "日本"]}, lambda t: t[0] in "oax日"),
    Good({"choice": [str(i) for i in range(300)]}, lambda text: int(text) < 300),
    Good({"json_object": True}, lambda text: isinstance(json.loads(text), dict)),
    Good({"json": '{"type": "boolean"}'}, lambda text: text in ("true", "false")),
    Good({"json": True}, lambda text: json.loads(text) is not Ellipsis),
    Good(
        {"json": TREES[2], "disable_any_whitespace": False},
        lambda text: jsonschema.Draft202012Validator(TREES[2]).is_valid(json.loads(text)),
    ),
    Good(
        {"json": {"type": "array", "items": {"const": 1}, "minItems": 2}, "whitespace_pattern": ""},
        lambda text: re.fullmatch(r"\[1(,1)+\]", text) is not None,
    ),
    Good({"structural_tag": _TAG}, lambda t: all(re.fullmatch("-?[0-9]+", n) for n in
         re.findall("<n>(.*?)</n>", t))),
    Good(
        {"structural_tag": {"type": "structural_tag", "format": {
            "type": "tag", "begin": "<a>", "content": {"type": "regex", "pattern": "[0-9]{2}"},
            "end": "</a>"}}},
        lambda text: re.fullmatch("<a>[0-9]{2}</a>", text) is not None,
    ),
]  # fmt: skip

GOOD: list[Good] = [
    *(_schema(schema) for leaf in LEAVES for schema in _within(leaf)),
    *map(_schema, TREES),
    *map(_regex, REGEXES),
    *(_grammar(*pair) for pair in GRAMMARS),
    *OTHERS,
]

BAD_SCHEMAS: list[Any] = [
    False,
    "{", "[1", "nonsense", '{"type": "integer",}', "NaN", '"a"', "5", "",
    {"type": "text"}, {"type": 5}, {"type": []}, {"type": ["integer", "whole"]}, {"type": {}},
    {"type": "object", "properties": []}, {"type": "object", "properties": {"a": 5}},
    {"type": "object", "properties": {"a": "integer"}}, {"type": "object", "properties": "a"},
    {"type": "object", "properties": {"a": False}},
    {"type": "object", "required": "a"}, {"type": "object", "required": [1]},
    {"type": "object", "required": ["a"], "additionalProperties": False},
    {"type": "object", "additionalProperties": 3},
    {"type": "object", "additionalProperties": {"type": "foo"}},
    {"type": "object", "minProperties": 3}, {"type": "object", "minProperties": -1},
    {"type": "object", "maxProperties": "2"}, {"type": "object", "maxProperties": 1.5},
    {"type": "object", "properties": {"a": True, "b": True}, "required": ["a", "b"],
     "maxProperties": 1},
    {"type": "object", "patternProperties": {"(?=a)": True}},
    {"type": "object", "patternProperties": {"(": True}},
    {"type": "object", "patternProperties": []},
    {"type": "object", "propertyNames": {"pattern": "("}},
    {"type": "object", "dependentRequired": {"a": ["b"]}},
    {"type": "object", "dependentSchemas": {"a": {}}}, {"dependencies": {}},
    {"type": "array", "items": 5}, {"type": "array", "items": [{"type": "integer"}]},
    {"type": "array", "items": {"type": "x"}}, {"type": "array", "prefixItems": {}},
    {"type": "array", "prefixItems": [3]}, {"type": "array", "minItems": -1},
    {"type": "array", "minItems": 5, "maxItems": 3}, {"type": "array", "minItems": "1"},
    {"type": "array", "items": False, "minItems": 1}, {"type": "array", "maxItems": 1e9},
    {"type": "array", "uniqueItems": True}, {"type": "array", "contains": {"type": "integer"}},
    {"type": "array", "minContains": 1}, {"type": "array", "additionalItems": False},
    {"type": "string", "minLength": -1}, {"type": "string", "maxLength": True},
    {"type": "string", "minLength": 5, "maxLength": 3}, {"type": "string", "maxLength": 10**16},
    {"type": "string", "pattern": "("}, {"type": "string", "pattern": 5},
    {"type": "string", "pattern": "a\"b"}, {"type": "string", "pattern": r"a\nb"},
    {"type": "string", "pattern": r"\bword\b"}, {"type": "string", "pattern": "(a)\\1"},
    {"type": "string", "pattern": "a(?!b)"}, {"type": "string", "pattern": "x", "minLength": 2},
    {"type": "string", "pattern": "a$b"}, {"type": "string", "pattern": r"\p{L}"},
    {"type": "integer", "minimum": "1"}, {"type": "integer", "minimum": True},
    {"type": "integer", "minimum": 5, "maximum": 1}, {"type": "integer", "minimum": 10**17},
    {"type": "integer", "multipleOf": 0}, {"type": "integer", "multipleOf": 0.5},
    {"type": "number", "multipleOf": 3}, {"multipleOf": 3},
    {"type": "number", "exclusiveMinimum": True}, {"type": "number", "maximum": None},
    {"enum": []}, {"enum": "a"}, {"enum": None}, {"type": "integer", "enum": ["a"]},
    {"type": "null", "const": 1}, {"type": "string", "const": None},
    {"anyOf": []}, {"anyOf": {}}, {"anyOf": [5]}, {"oneOf": []}, {"oneOf": [{"type": "x"}]},
    {"allOf": []}, {"allOf": [{"type": "integer"}, {"minimum": 1}]}, {"anyOf": [False]},
    {"anyOf": [{"type": "integer"}], "oneOf": [{"type": "integer"}]},
    {"enum": [1], "const": 1}, {"$ref": "#/$defs/a", "enum": [1], "$defs": {"a": {}}},
    {"type": "object", "properties": {"a": True}, "anyOf": [{"required": ["a"]}]},
    {"not": {}}, {"not": {"type": "integer"}}, {"if": {}, "then": {}}, {"else": {}},
    {"$ref": "http://example.com/schema"}, {"$ref": "other.json"}, {"$ref": "file:///etc/passwd"},
    {"$ref": 5}, {"$ref": "#/$defs/none"}, {"$ref": "#/definitions/a/b"}, {"$ref": "#anchor"},
    {"$ref": "#"}, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}]}}, "required": ["a"]},
    {"$dynamicRef": "#a"}, {"$recursiveRef": "#"}, {"$defs": []}, {"$defs": {"a": 3}},
    {"$ref": "#/title", "title": "text"}, {"minimum": 1, "minLength": 2},
    {"type": "object", "properties": {f"p{i}": {"description": "x" * 1000} for i in range(70)}},
]  # fmt: skip


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


BAD_REGEXES = [
    "", "(", ")", "a)", "(a", "((a)", "[", "[a", "[]", "[^", "\\", "a\\", "*", "+a", "?", "a**",
    "a++", "a{3,1}", "a{,3}", "a{1", "a{x}", "{3}", "[z-a]", "(?=a)", "(?!a)", "(?<=a)b",
    "(?<!a)b", "(?P<n>a)", "(?i)a", "(?#c)a", "(?>a)", "(a)\\1", "\\k<n>", "\\bword", "a\\B",
    "\\p{L}", "\\PL", "\\Aabc", "abc\\Z", "a^b", "a$b", "(^a)", "\\q", "\\8", "(?(1)a|b)",
    "(" * 200 + "a" + ")" * 200, "a" * 5000,
    "(((((a{1,90}){1,90}){1,90}){1,90}){1,90}){1,90}", "(.{1,50}){1,50}x",
]  # fmt: skip
BAD_GRAMMARS = [
    "", "root", "root ::=", 'root ::= "a" |', 'root ::= | "a"', "root ::= x", 'rot ::= "a"',
    'root ::= root "a" | "a"', 'root ::= a\na ::= b "x" | "y"\nb ::= a', 'root ::= "a" root',
    "root ::= a\na ::= b\nb ::= a", 'root ::= "a', "root ::= [a-", "root ::= []", "root ::= [^]",
    'root ::= ("a"', 'root ::= "a")', "root ::= *", 'root ::= "a"{3,1}', 'root ::= "a"{',
    'root ::= "a"\nroot ::= "b"', 'root = "a"', 'root := "a"', 'root ::= "a" $', "root ::= 'a'",
    'root ::= x? root "a" | "b"\nx ::= "c"', 'root ::= (root)? "a"', "root ::= [z-a]",
    'root ::= "a"\nother ::= other', "::= a", 'root ::= "a" ::= "b"', "start: missing",
    'start: start "a" | "b"', 'start: a\na: "x" a', "garbage in", 'root ::= "' + "a" * 70000 + '"',
    'root ::= s\ns ::= "a" s s s s | "a" s s s | "a" s s | "a"', "root ::= " + "(" * 300,
    'root ::= r0\n' + "\n".join(f"r{i} ::= r{i + 1} r{i + 1}" for i in range(40))
    + '\nr40 ::= "a" | ""',
]  # fmt: skip
BAD_TAGS: list[Any] = [
    {}, "text", {"type": "other"}, {"type": "structural_tag"},
    {"type": "structural_tag", "format": {}}, {"type": "structural_tag", "format": []},
    {"type": "structural_tag", "format": {"type": "unknown"}},
    {"type": "structural_tag", "structures": []}, {"type": "structural_tag", "triggers": ["<"]},
    {"type": "structural_tag", "structures": [{"begin": "<a>"}], "triggers": ["<a"]},
    {"type": "structural_tag", "structures": [{"begin": "<a>", "end": ">"}], "triggers": ["<b"]},
    {"type": "structural_tag", "structures": [5], "triggers": ["<b"]},
    {"type": "structural_tag", "format": {"type": "regex", "pattern": "("}},
    {"type": "structural_tag", "format": {"type": "grammar", "grammar": "root ::= x"}},
    {"type": "structural_tag", "format": {"type": "json_schema", "json_schema": {"type": "x"}}},
    {"type": "structural_tag", "format": {"type": "sequence", "elements": []}},
    {"type": "structural_tag", "format": {"type": "tag", "begin": "<a>", "content": {}, "end": ""}},
    {"type": "structural_tag", "format": {"type": "const_string"}},
]  # fmt: skip
BAD_OTHERS: list[Fields] = [
    {}, {"json_object": False}, {"regex": "a", "choice": ["a"]}, {"json": {}, "json_object": True},
    {"choice": []}, {"choice": [""]}, {"choice": ["a"] * 1001}, {"choice": ["x" * 300_000]},
    {"json": {"type": "integer"}, "whitespace_pattern": "[a-z]*"},
    {"json": {"type": "integer"}, "whitespace_pattern": " ?", "disable_any_whitespace": True},
]  # fmt: skip

BAD: list[Fields] = [
    *({"json": schema} for schema in [*BAD_SCHEMAS, _nested(80), _nested(33)]),
    *({"regex": pattern} for pattern in BAD_REGEXES),
    *({"grammar": text} for text in BAD_GRAMMARS),
    *({"structural_tag": tag} for tag in BAD_TAGS),
    *BAD_OTHERS,
]


def refused_early(fields: Fields) -> bool:
    """Whether the checks that need no compiler refuse it."""
    form = StructuredOutputs(**fields)
    try:
        form.check()
        form.check_form()
    except InvalidRequest:
        return True
    return False
