"""Literals of Python and values typed by a schema."""

from __future__ import annotations

import ast
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.api.parsers.literals import DEPTH, literal_as_json
from apps.api.parsers.schema_values import parameter_types, typed_json
from apps.api.parsers.source import Malformed

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | texts
scalars |= st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(values)
@settings(max_examples=150, deadline=None)
def test_a_written_value_is_read_back(value):
    assert json.loads(literal_as_json(repr(value))) == value


@pytest.mark.parametrize(
    "text",
    [
        r"'\a\b\f\n\r\t\v\\\'\"'",
        r"'\x41\u00e9\U0001F98A\101\0'",
        '"a\\\nb"',
        "'''a\n'b'\"'''",
        "()",
    ],
)
def test_reads_what_python_reads(text):
    value = ast.literal_eval(text)
    assert json.loads(literal_as_json(text)) == (list(value) if value == () else value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "f()", "1+1", "-'a'", "b'a'", "f'a'", "r'a'", "{1}", "{None: 1}", "[1", "(1]"),
        *("'a' 'b'", "'a", "'a\nb'", r"'\x4'", r"'\U00110000'", "1j", "...", "[*a]", "lambda: 1"),
        *("1e999", "9" * 65, "not 1", "a.b", "[x for x in y]", "__import__('os')", "1 if 1 else 2"),
    ],
)
def test_refuses_what_is_no_literal(text):
    with pytest.raises(Malformed):
        literal_as_json(text)


def test_depth_is_bounded():
    assert literal_as_json("[" * DEPTH + "]" * DEPTH)
    with pytest.raises(Malformed):
        literal_as_json("[" * (DEPTH + 1) + "]" * (DEPTH + 1))


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "12", "12"),
        ({"type": "string"}, "null", "null"),
        ({"type": "integer"}, " -3 ", -3),
        ({"type": "integer"}, "3.5", "3.5"),
        ({"type": "integer"}, "007", "007"),
        ({"type": "number"}, "2.5e3", 2500.0),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "boolean"}, "TRUE", True),
        ({"type": "boolean"}, "yes", "yes"),
        ({"type": "object"}, '{"a": [1]}', {"a": [1]}),
        ({"type": "object"}, "[1]", "[1]"),
        ({"type": "array"}, "['a', True]", ["a", True]),
        ({"type": ["integer", "null"]}, "None", None),
        ({"oneOf": [{"type": "boolean"}, {"type": "array"}]}, "[]", []),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "5", "5"),
        ({"enum": [1, 2]}, "2", 2),
        ({"const": True}, "true", True),
        ({"enum": ["a", None]}, "null", None),
        ({"$ref": "#/x"}, "5", "5"),
        ("no schema", "5", "5"),
        ({"type": 3}, "5", "5"),
    ],
)
def test_a_value_gets_the_type_its_schema_names(schema, text, value):
    types = parameter_types({"properties": {"a": schema}}, "a")
    assert json.loads(typed_json(text, types)) == value


def test_an_endless_schema_is_read_to_a_depth():
    schema: dict[str, object] = {}
    schema["anyOf"] = [schema, {"type": "integer"}]
    assert parameter_types({"properties": {"a": schema}}, "a") == {"integer"}


def test_parameters_without_properties_are_strings():
    assert parameter_types({}, "a") == {"string"}
    assert parameter_types({"properties": []}, "a") == {"string"}
