"""Which parser is used: by name, by an installed package, by the model's family."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from apps.api.parsers import (
    Content,
    ParserChoice,
    UnknownParser,
    collect,
    parsers_for,
    pipeline_for,
    reasoning_parser,
    registry,
    tool_parser,
)
from apps.api.parsers.hermes import HermesParser
from apps.api.parsers.reasoning import Qwen3Parser


@pytest.fixture
def installed(monkeypatch):
    """A package that brings one parser of each kind."""
    points = EntryPoints(
        [
            EntryPoint("mine", "apps.api.parsers.hermes:HermesParser", registry.TOOL_GROUP),
            EntryPoint("mine", "apps.api.parsers.reasoning:Qwen3Parser", registry.REASONING_GROUP),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda *, group: points.select(group=group))


@pytest.mark.usefixtures("installed")
def test_an_installed_package_adds_parsers_by_entry_point():
    assert tool_parser("mine") is HermesParser
    assert reasoning_parser("mine") is Qwen3Parser


@pytest.mark.usefixtures("installed")
def test_an_unknown_name_is_refused_with_the_near_one_and_all_others():
    with pytest.raises(
        UnknownParser, match=r"'hermse'\. Did you mean 'hermes'\?.*llama3_json, mine"
    ):
        tool_parser("hermse")


def test_a_file_is_no_parser():
    with pytest.raises(UnknownParser, match="Known: deepseek_r1, gpt_oss"):
        reasoning_parser("./parser.py")


def test_keeps_name_the_markers_of_both_parsers():
    assert {"<think>", "[TOOL_CALLS]"} <= pipeline_for("mistral", "qwen3").keeps
    assert "<|channel|>" in pipeline_for("gpt_oss", "gpt_oss").keeps


@pytest.mark.parametrize("names", [("gpt_oss", None), (None, "openai_gptoss"), ("openai", "qwen3")])
def test_either_name_of_gpt_oss_reads_reasoning_and_calls(names):
    text = "<|channel|>analysis<|message|>a<|end|><|start|>assistant to=functions.f"
    text += "<|channel|>commentary<|message|>{}<|call|>"
    parser = pipeline_for(*names)
    message = collect(parser.parse_whole(text))
    assert (message.reasoning, message.calls[0].name, parser.num_calls) == ("a", "f", 1)


def test_thinking_switched_off_makes_all_content():
    pieces = pipeline_for(None, "deepseek_r1", thinking=False).parse_whole("a</think>b")
    assert pieces == [Content("a</think>b")]


R1 = "{{'<｜Assistant｜>'}}{{'<｜tool▁calls▁begin｜>'}}{{content.split('</think>')}}"
QWEN3 = "<tool_call>{{ name }}</tool_call>{% if enable_thinking is false %}<think></think>"
FAMILIES = [
    ("qwen2", "{{ tools }}<tool_call>", "hermes", None),
    ("qwen3", QWEN3, "hermes", "qwen3"),
    ("qwen3_moe", "<tool_call>\n<function=x>\n<parameter=y>", "qwen3_coder", None),
    ("llama", "<|python_tag|>", "llama3_json", None),
    ("llama", '{{ tools }} {"name": f, "parameters": d}', "llama3_json", None),
    ("llama", "[func_name1(params_name1=value1)]", "pythonic", None),
    ("llama4", "{{ tools }}<|python_start|>", "pythonic", None),
    ("mistral", "[TOOL_CALLS]", "mistral", None),
    ("mistral", "[THINK]{{ tools }}[TOOL_CALLS]", "mistral", "mistral"),
    ("granite", "<|tool_call|> Here is my thought process:", "granite", "granite"),
    ("granitemoehybrid", "<tool_call>", "granite", None),
    ("deepseek_v3", R1, "deepseek_v3", "deepseek_r1"),
    ("deepseek_v3", R1 + "{% if thinking %}<think>", "deepseek_v3", "qwen3"),
    ("qwen2", "<｜Assistant｜><think>\n", None, "deepseek_r1"),
    ("gpt_oss", "<|start|>assistant<|channel|>analysis", "gpt_oss", "gpt_oss"),
    ("llama4", "{{ tools }}", "pythonic", None),
    ("llama", "{{ messages }}", None, None),
    ("gpt2", None, None, None),
]


@pytest.mark.parametrize(("model_type", "template", "tool", "reasoning"), FAMILIES)
def test_family_decides_the_parsers(model_type, template, tool, reasoning):
    assert parsers_for(model_type, template) == ParserChoice(tool, reasoning)


@pytest.mark.parametrize(("model_type", "template", "tool", "reasoning"), FAMILIES)
def test_every_choice_has_a_parser(model_type, template, tool, reasoning):
    assert pipeline_for(tool, reasoning).parse_whole("") == []
