"""Whatever a caller sends, the checks answer with a refusal or with silence."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.structured import ebnf, json_schema, regex, tags
from engine.structured.refusal import Refusal
from tests.structured_cases import BAD_SCHEMAS, BAD_TAGS, LEAVES, TREES

SCHEMAS = [schema for schema in [*LEAVES, *TREES, *BAD_SCHEMAS] if isinstance(schema, dict)]
WORDS = sorted({word for schema in SCHEMAS for word in schema})
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    plain | st.sampled_from([leaf for leaf in [*LEAVES, *BAD_TAGS] if isinstance(leaf, dict)]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(WORDS), anything, max_size=5))
def test_any_object_is_a_schema_or_a_refusal(schema: dict[str, Any]):
    with contextlib.suppress(Refusal):
        json_schema.normalised(schema)


@given(anything)
def test_any_value_is_a_tag_or_a_refusal(value: Any):
    document = {"type": "structural_tag", "format": value, "structures": value}
    for wrong in (document, {"type": "structural_tag", "format": value}):
        with contextlib.suppress(Refusal):
            tags.normalised(wrong)


@given(st.text(alphabet='root::=ab"[]()|*+?{}0,-1#\\\n ^', max_size=80))
def test_any_text_is_a_grammar_or_a_refusal(text: str):
    for grammar in (text, "root ::= " + text):
        with contextlib.suppress(Refusal):
            ebnf.check(grammar)


@given(st.text(alphabet="abc()[]{}|*+?^$\\.-,01dwnkpP<>=!:", max_size=60))
def test_any_text_is_an_expression_or_a_refusal(text: str):
    for quoted in (False, True):
        with contextlib.suppress(Refusal):
            regex.check(text, quoted=quoted)
