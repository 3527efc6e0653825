"""Bad forms are refused by name, most of them before anything is compiled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.errors import InvalidRequest
from engine.sampling_params import GuidedDecodingParams, SamplingParams
from engine.structured import ebnf, json_schema, tags
from engine.structured.outputs import StructuredCaps, StructuredOutputs, Thought
from engine.structured.refusal import Refusal
from tests.structured_cases import BAD, GOOD, refused_early


def checked(form: StructuredOutputs) -> None:
    form.check()
    form.check_form()


@pytest.mark.parametrize("fields", [f for f in BAD if refused_early(f)], ids=lambda f: str(f)[:60])
def test_a_bad_form_is_refused_under_the_callers_name(fields: dict[str, Any]):
    with pytest.raises(InvalidRequest, match=r"^'guided_json' .*\.$") as caught:
        checked(StructuredOutputs(**fields, field="guided_json"))
    assert caught.value.param == "guided_json"
    assert len(str(caught.value)) < 500


def test_two_hundred_bad_forms_need_no_compiler():
    assert sum(map(refused_early, BAD)) >= 200


def test_three_hundred_good_forms_pass():
    assert len(GOOD) >= 300
    assert [good.fields for good in GOOD if refused_early(good.fields)] == []


def test_sizes_over_their_cap_are_refused():
    caps = StructuredCaps(schema_bytes=100, regex_chars=10, grammar_bytes=20, choices=2)
    for fields in (
        {"json": {"type": "object", "title": "x" * 100}},
        {"json": '{"title": "' + "x" * 100 + '"}'},
        {"regex": "a" * 11},
        {"grammar": 'root ::= "' + "ä" * 8 + '"'},
        {"choice": ["a", "b", "c"]},
        {"choice": ["\ud800"]},
        {"regex": "\ud800"},
        {"json": {"title": "\ud800"}},
    ):
        with pytest.raises(InvalidRequest, match="structured_outputs"):
            StructuredOutputs(**fields).check(caps)
    StructuredOutputs(regex="a" * 10).check(caps)
    StructuredOutputs(choice=["a", "b"]).check(caps)


@pytest.mark.parametrize(
    "schema", ['{"properties": {"\\ud800": false}}', '{"enum": ["\\udc00"]}', '{"x": "\\ud83d"}']
)
def test_half_a_surrogate_pair_inside_json_text_is_refused_in_words_that_can_be_sent(schema: str):
    with pytest.raises(InvalidRequest, match="'guided_json' is no readable JSON") as caught:
        checked(StructuredOutputs(json=schema, field="guided_json"))
    assert caught.value.message.encode()
    checked(StructuredOutputs(json='{"enum": ["\\ud83d\\ude00"]}'))


@pytest.mark.parametrize(
    "fields",
    [
        {"grammar": 'root ::= "a" [b-d]{1\x1f,3}'},
        {"grammar": 'root ::= "a"{\u0661,\u0663}'},
        {"json": {"anyOf": [{"$ref": "#/anyOf/\u00b2"}, {"type": "string"}]}},
        {"json": {"anyOf": [{"$ref": "#/anyOf/" + "1" * 5000}, {"type": "string"}]}},
    ],
    ids=["blank", "digits of Arabic", "a raised digit", "digits without end"],
)
def test_numbers_are_what_a_reader_of_numbers_takes(fields: dict[str, Any]):
    with pytest.raises(InvalidRequest, match="guided_json"):
        checked(StructuredOutputs(**fields, field="guided_json"))


def test_a_form_survives_the_wire():
    import msgspec

    params = SamplingParams(
        structured_outputs=StructuredOutputs(
            json={"type": "object"}, field="x", thought=Thought(("<t>",), ("</t>",), begun=True)
        )
    )
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(params), type=SamplingParams)
    assert read == params


def test_the_older_name_becomes_the_newer_one():
    params = SamplingParams(guided_decoding=GuidedDecodingParams(choice=["a"], backend="outlines"))
    assert params.structured_outputs == StructuredOutputs(choice=["a"])
    with pytest.raises(InvalidRequest, match="older name"):
        SamplingParams(
            guided_decoding=GuidedDecodingParams(choice=["a"]),
            structured_outputs=StructuredOutputs(choice=["a"]),
        )


def test_a_pydantic_model_is_a_schema():
    from pydantic import BaseModel

    class Point(BaseModel):
        x: int

    assert StructuredOutputs(json=Point).document()["properties"]["x"]["type"] == "integer"  # type: ignore[arg-type]


def test_equal_sources_share_a_digest_whatever_they_are_called():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    first, second = StructuredOutputs(json=schema, field="a"), StructuredOutputs(json=schema)
    assert first.digest() == second.digest()
    assert first.digest() != StructuredOutputs(json=schema, disable_any_whitespace=False).digest()
    assert first.digest() != StructuredOutputs(json=json.dumps({"type": "null"})).digest()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, True),
        ({"title": "anything"}, True),
        ({"minimum": 1}, {"minimum": 1, "type": "number"}),
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": True}}),
        (
            {"type": "object", "required": ["a"], "additionalProperties": {"type": "null"}},
            {
                "type": "object",
                "required": ["a"],
                "properties": {"a": {"type": "null"}},
                "additionalProperties": {"type": "null"},
            },
        ),
        ({"type": "integer", "enum": [1, "a", 2.0]}, {"enum": [1, 2.0]}),
        ({"type": "string", "format": "unknown"}, {"type": "string"}),
        (
            {"type": "string", "anyOf": [{"maxLength": 2}, {"enum": ["abc"]}]},
            {"anyOf": [{"type": "string", "maxLength": 2}, {"enum": ["abc"]}]},
        ),
    ],
)
def test_what_a_schema_leaves_open_is_written_out(given: Any, wanted: Any):
    assert json_schema.normalised(given) == wanted


def test_a_schema_that_refers_to_itself_in_very_many_ways_is_given_up():
    parts = {f"n{i}": {"anyOf": [{"$ref": f"#/$defs/n{j}"} for j in range(20)]} for i in range(20)}
    with pytest.raises(Refusal, match=r"never end|too many ways"):
        json_schema.normalised({"$ref": "#/$defs/n0", "$defs": parts})


def test_the_rule_at_fault_is_named():
    for text, words in (
        ('root ::= a\na ::= b\nb ::= a "x" | "y"', "left-recursive: the rule 'a'"),
        ('root ::= "x" | more\nmore ::= "y" more', "never comes to an end: 'more'"),
        ('root ::= "x"\n\n  "y" %', "line 3"),
    ):
        with pytest.raises(Refusal, match=words):
            ebnf.check(text)


def test_the_older_form_of_a_tag_becomes_the_newer_one():
    older = {
        "type": "structural_tag",
        "structures": [{"begin": "<f>", "schema": {"type": "null"}, "end": "</f>"}],
        "triggers": ["<f"],
    }
    part = tags.normalised(older)["format"]
    assert part["type"] == "triggered_tags"
    assert part["tags"][0]["content"]["json_schema"] == {"type": "null"}
    assert tags.normalised({"type": "structural_tag", "format": part})["format"] == part
