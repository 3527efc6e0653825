"""Bodies of the generation routes: caps, types, refusals, ignored fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.api import responses_body
from apps.api.admission import sampling_for
from apps.api.caps import ApiCaps
from apps.api.chat_messages import PLAIN_FORM, TemplateForm
from apps.api.foreign import own_parts
from apps.api.parse import parse_chat, parse_completion
from apps.api.schemas import ChatBody, CompletionBody, GenerationBody
from engine.errors import InvalidRequest
from tests.unit.api.samples import model

CAPS = ApiCaps()
COMPLETION: dict[str, Any] = {"model": "tiny", "prompt": "hello"}
CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}


def completion(**fields: Any) -> CompletionBody:
    body, _ = parse_completion(json.dumps(COMPLETION | fields).encode(), CAPS)
    sampling_for(body, model(), CAPS)
    return body


def chat(**fields: Any) -> ChatBody:
    body, _ = parse_chat(json.dumps(CHAT | fields).encode(), CAPS)
    sampling_for(body, model(), CAPS)
    return body


def refused(route: Any, raw: bytes | None = None, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        route(**fields)
    return caught.value


# name → (largest value allowed, smallest value allowed); probed one step outside both
INT_RANGES = {
    "n": (8, 1),
    "logprobs": (20, 0),
    "prompt_logprobs": (20, 0),
    "max_tokens": (10**15, 1),
    "min_tokens": (16, 0),
    "seed": (2**63 - 1, -(2**63)),
}
FLOAT_RANGES = {
    "temperature": (2.0, 0.0),
    "top_p": (1.0, 0.001),
    "min_p": (1.0, 0.0),
    "presence_penalty": (2.0, -2.0),
    "frequency_penalty": (2.0, -2.0),
}
NEVER_NUMBERS: list[Any] = ["5", "x", True, [1], {"a": 1}]


@pytest.mark.parametrize("name", INT_RANGES)
def test_whole_numbers_have_both_bounds(name: str) -> None:
    high, low = INT_RANGES[name]
    assert getattr(completion(**{name: high}), name) == high
    assert getattr(completion(**{name: low}), name) == low
    for outside in (high + 1, low - 1, 1e308, *NEVER_NUMBERS):
        assert refused(completion, **{name: outside}).param == name


@pytest.mark.parametrize("name", FLOAT_RANGES)
def test_numbers_have_both_bounds(name: str) -> None:
    high, low = FLOAT_RANGES[name]
    completion(**{name: high})
    completion(**{name: low})
    for outside in (high + 1, low - 1, 2**31, -(2**31), 1e308, *NEVER_NUMBERS):
        assert refused(completion, **{name: outside}).param == name


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_no_number_may_be_infinite(number: str) -> None:
    raw = b'{"model":"tiny","prompt":"a","temperature":' + number.encode() + b"}"
    with pytest.raises(InvalidRequest):
        parse_completion(raw, CAPS)


LISTS: dict[str, tuple[list[Any], list[Any]]] = {
    "stop": (["x" * 256] * 4, ["x"] * 5),
    "stop_token_ids": ([1] * 128, [1] * 129),
    "bad_words": (["x" * 256] * 128, ["x"] * 129),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_hold_their_cap_and_no_more(name: str) -> None:
    most, over = LISTS[name]
    completion(**{name: most})
    assert refused(completion, **{name: over}).param == name
    assert refused(completion, **{name: {"a": 1}}).param == name


def test_logit_bias_is_capped_and_checked() -> None:
    completion(logit_bias={str(i): 1 for i in range(250)})
    for bad in ({"x": 1}, {"1": 101}, {"1": True}, {"-1": 1}, {"999999": 1}, [1], {"1": None}):
        assert refused(completion, logit_bias=bad).param == "logit_bias"


@pytest.mark.parametrize("stop", ["", [""], ["x" * 257], [1], 5])
def test_stop_strings_have_one_to_256_characters(stop: Any) -> None:
    assert refused(completion, stop=stop).param == "stop"


def test_token_ids_lie_in_the_vocabulary() -> None:
    assert refused(completion, stop_token_ids=[300]).param == "stop_token_ids"
    assert refused(completion, allowed_token_ids=[]).param == "allowed_token_ids"


@pytest.mark.parametrize("prompt", ["text", ["a", "b"], [1, 2, 3], [[1, 2], [3]], "", ["only"]])
def test_prompts_come_in_four_forms(prompt: Any) -> None:
    assert completion(prompt=prompt).prompt == prompt


@pytest.mark.parametrize("prompt", [[], [1, "a"], [[1], "a"], [[True]], 5, {"a": 1}, [[[1]]], None])
def test_other_prompts_are_refused(prompt: Any) -> None:
    assert refused(completion, prompt=prompt).param == "prompt"


def test_prompts_per_call_are_capped() -> None:
    completion(prompt=["a"] * 128)
    assert refused(completion, prompt=["a"] * 129).param == "prompt"
    completion(prompt=[1] * 4000)  # one prompt of token ids


def test_messages_are_capped_and_checked() -> None:
    message = {"role": "user", "content": "x"}
    chat(messages=[message] * 2048)
    assert refused(chat, messages=[message] * 2049).param == "messages"
    assert refused(chat, messages=[]).param == "messages"
    assert refused(chat, messages=[{"role": "robot", "content": "x"}]).param == "messages[0].role"
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}
    assert refused(chat, messages=[message, image]).param == "messages[1].content"


def test_text_parts_become_one_text_and_developer_speaks_as_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = chat(messages=[{"role": "developer", "content": parts}])
    assert body.messages[0].for_template() == {"role": "system", "content": "ab"}


def test_null_means_absent() -> None:
    body = completion(temperature=None, stop=None, n=None, logprobs=None, stream=None)
    assert (body.temperature, body.stop, body.n, body.stream) == (None, [], 1, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("best_of", 2),
        ("logits_processors", ["x"]),
        ("prompt_embeds", "x"),
        ("suffix", "x"),
        ("logprob_token_ids", []),
        ("logprob_token_ids", [-1]),
        ("logprob_token_ids", list(range(129))),
        ("guided_json", False),
        ("guided_regex", "(?=a)"),
        ("guided_choice", []),
        ("guided_grammar", "root ::= other"),
        ("guided_whitespace_pattern", " ?"),
        ("structured_outputs", {}),
        ("structured_outputs", {"json_object": False}),
        ("response_format", {"type": "json_schema"}),
        ("truncate_prompt_tokens", 0),
        ("priority", 1),
    ],
)
def test_known_fields_we_do_not_serve_are_refused_by_name(field: str, value: Any) -> None:
    assert refused(completion, **{field: value}).param == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ("tool_choice", "any"),
        ("functions", [{"name": "f"}]),
        ("top_logprobs", 3),
        ("logprobs", 3),
        ("logprob_token_ids", [1]),  # without logprobs
        ("max_completion_tokens", 0),
        ("metadata", {str(i): "x" for i in range(17)}),
    ],
)
def test_chat_refuses_by_name(field: str, value: Any) -> None:
    assert refused(chat, **{field: value}).param == field


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"response_format": {"type": "text"}},
        {"echo": False},
        {"use_beam_search": False},
    ],
)
def test_values_that_ask_for_nothing_pass(fields: dict[str, Any]) -> None:
    chat(**fields)


def test_unknown_fields_are_named_never_refused() -> None:
    raw = COMPLETION | {"zebra": 1, "line\nbreak": 2, "a,b": 3} | {f"x{i}": i for i in range(40)}
    _, ignored = parse_completion(json.dumps(raw).encode(), CAPS)
    assert ignored[0] == "zebra"
    assert len(ignored) == 20
    assert not any("\n" in name or "," in name for name in ignored)


def test_a_field_without_effect_is_named_when_it_asks_for_one() -> None:
    for value, named in ((False, ["spaces_between_special_tokens"]), (True, [])):
        raw = COMPLETION | {"spaces_between_special_tokens": value}
        assert parse_completion(json.dumps(raw).encode(), CAPS)[1] == named


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"stream_interval": 2}, ["stream_interval"]),
        ({"stream_interval": 2, "stream": True}, []),
        ({"return_tokens_as_token_ids": True}, ["return_tokens_as_token_ids"]),
        ({"return_tokens_as_token_ids": True, "logprobs": True, "logprob_token_ids": [1],
          "top_logprobs": 2}, ["top_logprobs"]),
        ({"max_tokens": 5, "max_completion_tokens": 7}, ["max_tokens"]),
        ({"tool_choice": "auto", "parallel_tool_calls": False},
         ["tool_choice", "parallel_tool_calls"]),
        ({"stream": True, "stream_options": {"include_usag": True}},
         ["stream_options.include_usag"]),
        ({"structured_outputs": {"regex": "a", "whitespace": 1}},
         ["structured_outputs.whitespace"]),
        ({"response_format": {"type": "json_schema",
                              "json_schema": {"name": "a", "schema": {}, "kind": 1}}},
         ["response_format.json_schema.kind"]),
        ({"messages": [{"role": "user", "content": "x", "mood": 1, "audio": None}] * 2},
         ["messages.mood"]),
    ],
)  # fmt: skip
def test_what_changes_nothing_is_named_wherever_it_stands(
    fields: dict[str, Any], named: list[str]
) -> None:
    assert parse_chat(json.dumps(CHAT | fields).encode(), CAPS)[1] == named


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"response_format": "json_object"}, "'response_format': must be an object."),
        ({"messages": []}, "'messages': must have at least 1 item."),
        ({"user": "x" * 257}, "'user': must have at most 256 characters."),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "'response_format.json_schema.name' is required.",
        ),
        ({"metadata": {"a": 5}}, "'metadata': must be an object whose values are strings."),
        (
            {"chat_template_kwargs": {"a": [1]}},
            "'chat_template_kwargs': must be an object whose values are strings, numbers, "
            "booleans or null.",
        ),
        ({"guided_choice": []}, "'guided_choice' must be a list of at least one text."),
        (
            {"structured_outputs": {"choice": []}},
            "'structured_outputs.choice' must be a list of at least one text.",
        ),
        (
            {"guided_json": 5},
            "'guided_json': must be an object or a valid string or a valid boolean.",
        ),
    ],
)
def test_a_refusal_says_what_would_be_right(fields: dict[str, Any], message: str) -> None:
    assert refused(chat, **fields).message == message


@pytest.mark.parametrize(
    ("of_chat", "own"),
    [
        ("tools[1].function.kind", "tools[1].kind"),
        ("response_format.json_schema.kind", "text.format.kind"),
        ("response_format.kind", "text.format.kind"),
    ],
)
def test_responses_have_names_of_their_own(of_chat: str, own: str) -> None:
    assert own_parts(of_chat, responses_body.PARTS) == own


def test_stream_options_need_a_stream() -> None:
    assert refused(chat, stream_options={"include_usage": True}).param == "stream_options"
    options = {"continuous_usage_stats": True}
    assert refused(chat, stream=True, stream_options=options).param == "stream_options"
    assert chat(stream=True, stream_options={"include_usage": True}).include_usage


def test_max_completion_tokens_wins() -> None:
    body = chat(max_tokens=5, max_completion_tokens=7)
    assert body.sampling({}).max_tokens == 7


def test_request_beats_model_default_beats_ours() -> None:
    defaults = {"temperature": 0.5, "top_k": 40}
    params = completion(temperature=0.9).sampling(defaults)
    assert (params.temperature, params.top_k, params.top_p) == (0.9, 40, 1.0)


@pytest.mark.parametrize(("body", "tokens"), [(completion, 16), (chat, None)])
def test_each_route_has_its_own_default_length(body: Any, tokens: int | None) -> None:
    made: GenerationBody = body()
    assert made.sampling({}).max_tokens == tokens


def test_named_tokens_are_scored_without_a_count_and_never_in_an_echo() -> None:
    params = completion(logprob_token_ids=[1], logprobs=20).sampling({})
    assert (params.logprobs, params.logprob_token_ids, params.scored) == (None, [1], True)
    raw = COMPLETION | {"logprob_token_ids": [1], "logprobs": 20}
    assert parse_completion(json.dumps(raw).encode(), CAPS)[1] == ["logprobs"]
    assert refused(completion, logprob_token_ids=[1], echo=True).param == "logprob_token_ids"


def test_echo_of_nothing_scores_the_prompt() -> None:
    params = completion(echo=True, max_tokens=0, logprobs=3).sampling({})
    assert (params.max_tokens, params.prompt_logprobs) == (0, 3)
    assert refused(completion, max_tokens=0).param == "max_tokens"


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f"} | function}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"items": schema}
    return schema


def test_tools_hold_their_caps_and_no_more() -> None:
    chat(tools=[tool()] * 128)
    assert refused(chat, tools=[tool()] * 129).param == "tools"
    chat(tools=[tool(description="x" * (64 * 1024 - 200))])
    assert "larger" in str(refused(chat, tools=[tool(description="x" * 64 * 1024)]))
    chat(tools=[tool(parameters=nested(32))])
    refusal = refused(chat, tools=[tool(), tool(parameters=nested(33))])
    assert refusal.param == "tools[1].function.parameters"


@pytest.mark.parametrize(
    ("bad", "param"),
    [
        ({"type": "code"}, "tools[0].type"),
        (tool(name=""), "tools[0].function.name"),
        (tool(name="a\nb"), "tools[0].function.name"),
        (tool(name="x" * 257), "tools[0].function.name"),
        (tool(parameters=[]), "tools[0].function.parameters"),
        (tool(parameters={"$ref": "http://x/y"}), "tools[0].function.parameters"),
        (tool(parameters={"a": [{"$ref": "file:///x"}]}), "tools[0].function.parameters"),
        (tool(strict="yes"), "tools[0].function.strict"),
        ("f", "tools[0]"),
    ],
)
def test_tools_of_another_form_are_refused_by_name(bad: Any, param: str) -> None:
    assert refused(chat, tools=[bad]).param == param


def test_references_inside_a_tool_and_properties_of_that_name_pass() -> None:
    chat(tools=[tool(parameters={"$ref": "#/$defs/a", "properties": {"$ref": {"type": "null"}}})])


def test_tools_reach_the_template_without_unset_keys() -> None:
    given = [tool(description=None, parameters={"a": None}, strict=False) | {"x": 1}]
    body = chat(tools=given)
    assert body.offered[0].for_template() == {
        "type": "function",
        "function": {"name": "f", "parameters": {"a": None}},
    }
    assert chat(tools=given, tool_choice="none").offered == []


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def rendered(arguments: str | None, form: TemplateForm = PLAIN_FORM) -> Any:
    call = CALL | {"function": {"name": "f", "arguments": arguments}}
    message = chat(messages=[{"role": "assistant", "tool_calls": [call]}]).messages[0]
    return message.for_template(form)


@pytest.mark.parametrize(
    ("text", "object_"),
    [
        ('{"a": [1]}', {"a": [1]}),
        ("", {}),
        (None, {}),
        ("[1]", "[1]"),
        ('{"a"', '{"a"'),
        ('{"a":' + "[" * 90 + "]" * 90 + "}", '{"a":' + "[" * 90 + "]" * 90 + "}"),
    ],
)
def test_arguments_become_an_object_where_they_spell_one(text: str | None, object_: Any) -> None:
    assert rendered(text)["tool_calls"][0]["function"]["arguments"] == object_


def test_calls_take_the_form_of_the_template() -> None:
    found = rendered('{"a": 1}', TemplateForm(argument_text=True, null_content=True))
    assert found["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'
    assert (found["content"], rendered("{}")["content"]) == (None, "")


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_of_earlier_answers_has_both_names(name: str) -> None:
    message = chat(messages=[{"role": "assistant", "content": "x", name: "hm"}]).messages[0]
    found = message.for_template()
    assert (found["reasoning"], found["reasoning_content"]) == ("hm", "hm")


@pytest.mark.parametrize("part", [{"type": "text"}, {"type": "text", "text": 5}, "x", None])
def test_a_part_without_text_is_refused(part: Any) -> None:
    assert refused(chat, messages=[{"role": "user", "content": [part]}]).param == (
        "messages[0].content"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("presence_penalty", 1),
        ("frequency_penalty", 1),
        ("repetition_penalty", 1.5),
        ("seed", 1),
        ("skip_reading_prefix_cache", True),
    ],
)
def test_what_beams_do_not_follow_is_named(name: str, value: float) -> None:
    raw = COMPLETION | {name: value}
    assert parse_completion(json.dumps(raw).encode(), CAPS)[1] == []
    assert parse_completion(json.dumps(raw | {"use_beam_search": True}).encode(), CAPS)[1] == [name]
