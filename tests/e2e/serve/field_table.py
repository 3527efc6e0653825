"""Every field that a route of generation accepts: rows of `tests.fields`, and one kind more, for
a field that another API hands to the chat as it is (`AsInChat`).

A field of a route's schema without a row fails `test_field_table.py`. The routes of pooling have
their rows in `tests/integration/api/pooling_table.py`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from tests.fields import Changes, Facts, Fields, Ignored, ShownBy, changes


@dataclass(frozen=True)
class AsInChat:
    """The field reaches the chat as it is; its row there shows what it does."""

    value: Any


Row = Changes | Ignored | ShownBy | AsInChat

PROMPT = "Once upon a time there was a little"
LONG = "The cat sat on the mat and looked at the moon. " * 12
ASKED = "Tell me a short story."
TALK = [{"role": "user", "content": ASKED}]
REPEAT = "Repeat: la la la la la"
REPEATING = [{"role": "user", "content": REPEAT}]
SUM = [{"role": "user", "content": "What is 12 + 7?"}]
NAMES = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello, my name"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
ONES = {"type": "array", "items": {"const": 1}, "minItems": 3}
FUNCTION = {"name": "now", "description": "Tell the time", "parameters": SCHEMA}
TOOL = {"type": "function", "function": FUNCTION}
WARM: Fields = {"temperature": 1.5, "seed": 1}
ENDS = lambda facts: {"logit_bias": {str(facts.eos): 100}, "ignore_eos": False}  # noqa: E731


def salt(facts: Facts) -> str:
    """One that nobody has used."""
    return secrets.token_hex(8)


UNIT = "tests/unit/api/"
ADMISSION, PROMPTS = UNIT + "test_admission.py", UNIT + "test_prompts.py"
PARROT = "tests/integration/api/test_tools.py"

SHARED: dict[str, Row] = {
    "model": changes("nobody"),
    "stream": changes(True),
    "stream_options": changes({"include_usage": True}, stream=True),
    "n": changes(2),
    "max_tokens": changes(3),
    "min_tokens": Changes(lambda f: 4, ENDS),
    "temperature": changes(1.7, seed=1, max_tokens=24),
    "top_p": changes(0.01, **WARM),
    "top_k": changes(1, **WARM),
    "min_p": changes(1.0, **WARM),
    "presence_penalty": changes(2.0, max_tokens=120, **WARM),
    "frequency_penalty": changes(2.0, max_tokens=120, **WARM),
    "repetition_penalty": changes(5.0, max_tokens=24),
    "seed": changes(2, **WARM),
    "stop": Changes(lambda f: f.words[2]),
    "include_stop_str_in_output": Changes(lambda f: True, lambda f: {"stop": f.words[2]}),
    "stop_token_ids": Changes(lambda f: [f.tokens[2]]),
    "ignore_eos": Changes(lambda f: True, ENDS),
    "bad_words": Changes(lambda f: [f.words[0].strip()]),
    "allowed_token_ids": Changes(lambda f: f.tokens[4:6]),
    "logit_bias": Changes(lambda f: {str(f.tokens[5]): 100}),
    "prompt_logprobs": changes(1),
    "repetition_detection": Changes(
        lambda f: {"max_pattern_size": 2, "min_count": 3},
        lambda f: {"logit_bias": {str(f.tokens[5]): 100}},
    ),
    "truncate_prompt_tokens": changes(3),
    "truncation_side": changes("right", truncate_prompt_tokens=3),
    "return_token_ids": changes(True),
    "stream_interval": changes(5, stream=True),
    "priority": ShownBy(ADMISSION, "test_priority_needs_a_model_that_orders_by_it"),
    "use_beam_search": changes(True, n=3),
    "length_penalty": Changes(
        lambda f: -8.0,
        lambda f: {"use_beam_search": True, "n": 4, "stop_token_ids": list(range(20, 120))},
    ),
    "skip_special_tokens": Changes(
        lambda f: False, lambda f: ENDS(f) | {"ignore_eos": True, "max_tokens": 2}
    ),
    "spaces_between_special_tokens": Ignored(False),
    "user": Ignored("somebody"),
    "request_id": changes("mine"),
    "response_format": changes({"type": "json_object"}),
    "structured_outputs": changes({"choice": ["yes", "no"]}),
    "guided_json": changes(SCHEMA),
    "guided_regex": changes("[0-9]{4}"),
    "guided_choice": changes(["yes", "no"]),
    "guided_whitespace_pattern": changes("", guided_json=ONES),
    "guided_grammar": changes('root ::= "yes" | "no"'),
}
COMPLETIONS: dict[str, Row] = SHARED | {
    "prompt": changes("The dog"),
    "echo": changes(True),
    "logprobs": changes(2),
    "logprob_token_ids": changes([5, 6]),
    "add_special_tokens": ShownBy(PROMPTS, "test_special_tokens_can_be_left_out"),
    "return_tokens_as_token_ids": changes(True, logprobs=1),
    "cache_salt": Changes(salt, lambda f: {"prompt": LONG}, primed=True),
    "skip_reading_prefix_cache": Changes(lambda f: True, lambda f: {"prompt": LONG}, primed=True),
}
LONG_TALK = [{"role": "user", "content": LONG}]
CHAT: dict[str, Row] = SHARED | {
    "messages": changes([{"role": "user", "content": "Hello!"}]),
    "presence_penalty": changes(2.0, messages=REPEATING, max_tokens=40, **WARM),
    "frequency_penalty": changes(2.0, messages=REPEATING, max_tokens=40, **WARM),
    "documents": ShownBy(UNIT + "test_template_traits.py", "test_documents_reach_a_template"),
    "chat_template": ShownBy(PROMPTS, "test_a_trusted_request_brings_its_template"),
    "echo": changes(True, messages=NAMES),
    "max_completion_tokens": changes(3),
    "logprobs": changes(True),
    "top_logprobs": changes(2, logprobs=True),
    "logprob_token_ids": changes([5, 6], logprobs=True),
    "add_generation_prompt": changes(False),
    "continue_final_message": changes(True, messages=NAMES),
    "add_special_tokens": ShownBy(PROMPTS, "test_special_tokens_can_be_left_out"),
    "chat_template_kwargs": changes({"enable_thinking": True}),
    "metadata": Ignored({"a": "b"}),
    "tools": changes([TOOL]),
    "tool_choice": changes("none", tools=[TOOL]),
    "parallel_tool_calls": ShownBy(PARROT, "test_without_parallel_calls_the_first_one_is_shown"),
    "include_reasoning": changes(False, messages=SUM, reasoning_effort="high", max_tokens=40),
    "reasoning_effort": changes("high"),
    "thinking_token_budget": changes(2, messages=SUM, reasoning_effort="high", max_tokens=40),
    "guided_whitespace_pattern": changes("", guided_json=ONES, reasoning_effort="none"),
    "return_tokens_as_token_ids": changes(True, logprobs=True),
    "cache_salt": Changes(salt, lambda f: {"messages": LONG_TALK}, primed=True),
    "skip_reading_prefix_cache": Changes(
        lambda f: True, lambda f: {"messages": LONG_TALK}, primed=True
    ),
}
RESPONSE_TOOL = {"type": "function"} | FUNCTION
OF_CHAT = (  # handed to the chat as they are: rows of the chat prove them
    "model", "stream", "temperature", "top_p", "top_k", "min_p", "seed", "stop", "priority",
    "chat_template_kwargs", "repetition_penalty", "presence_penalty", "frequency_penalty",
    "ignore_eos", "include_reasoning", "skip_special_tokens", "request_id", "parallel_tool_calls",
)  # fmt: skip
RESPONSES: dict[str, Row] = {name: CHAT[name] for name in OF_CHAT} | {
    "ignore_eos": AsInChat(True),
    "skip_special_tokens": AsInChat(False),
    "include_reasoning": changes(
        False, input=SUM[0]["content"], reasoning={"effort": "high"}, max_output_tokens=40
    ),
    "presence_penalty": changes(2.0, input=REPEAT, max_output_tokens=40, **WARM),
    "frequency_penalty": changes(2.0, input=REPEAT, max_output_tokens=40, **WARM),
    "repetition_penalty": changes(5.0, max_output_tokens=24),
    "temperature": changes(1.7, seed=1, max_output_tokens=24),
    "input": changes("Hello!"),
    "instructions": changes("You are a pirate."),
    "max_output_tokens": changes(3),
    "tools": changes([RESPONSE_TOOL]),
    "tool_choice": changes("none", tools=[RESPONSE_TOOL]),
    "text": changes({"format": {"type": "json_object"}}),
    "reasoning": changes({"effort": "high"}),
    "include": changes(["message.output_text.logprobs"]),
    "truncation": changes("auto", input=LONG * 40),
    "store": Ignored(True),
    "background": changes(True),
    "metadata": changes({"a": "b"}),
    "user": changes("somebody"),
    "top_logprobs": changes(2),
    "cache_salt": Changes(salt, lambda f: {"input": LONG}, primed=True),
}
MESSAGE_TOOL = {"name": "now", "description": "Tell the time", "input_schema": SCHEMA}
MESSAGES: dict[str, Row] = {
    name: CHAT[name]
    for name in (
        "model", "stream", "top_p", "top_k", "min_p", "seed", "priority", "request_id",
        "chat_template_kwargs", "temperature",
    )
} | {
    "ignore_eos": AsInChat(True),
    "repetition_penalty": changes(5.0, max_tokens=24),
    "messages": changes([{"role": "user", "content": "Hello!"}]),
    "system": changes("You are a pirate."),
    "max_tokens": changes(3),
    "stop_sequences": changes(["1", "2", "e", "a"]),
    "tools": changes([MESSAGE_TOOL]),
    "tool_choice": changes({"type": "none"}, tools=[MESSAGE_TOOL]),
    "thinking": changes({"type": "enabled", "budget_tokens": 1024}),
    "metadata": Ignored({"user_id": "u"}),
    "cache_salt": Changes(salt, lambda f: {"messages": LONG_TALK}, primed=True),
}  # fmt: skip
COUNT: dict[str, Row] = {
    name: MESSAGES[name]
    for name in ("model", "messages", "system", "tools", "chat_template_kwargs", "thinking")
} | {
    "tool_choice": changes({"type": "none"}, tools=[MESSAGE_TOOL]),
}
TOKENIZE: dict[str, Row] = {
    "model": changes("nobody"),
    "prompt": changes("other words"),
    "messages": Changes(lambda f: TALK, lambda f: {"prompt": None}),
    "add_special_tokens": ShownBy(PROMPTS, "test_special_tokens_can_be_left_out"),
    "add_generation_prompt": changes(False, prompt=None, messages=TALK),
    "continue_final_message": changes(True, prompt=None, messages=NAMES),
    "chat_template_kwargs": changes({"enable_thinking": True}, prompt=None, messages=TALK),
    "tools": changes([TOOL], prompt=None, messages=TALK),
    "return_token_strs": changes(True),
}
DETOKENIZE: dict[str, Row] = {"model": changes("nobody"), "tokens": changes([30, 31])}

ROUTES: dict[str, tuple[Fields, dict[str, Row]]] = {
    "/v1/completions": (
        {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, "ignore_eos": True}, COMPLETIONS,
    ),
    "/v1/chat/completions": (
        {"messages": TALK, "max_tokens": 8, "temperature": 0}, CHAT,
    ),
    "/v1/responses": (
        {"input": ASKED, "max_output_tokens": 8, "temperature": 0}, RESPONSES,
    ),
    "/v1/messages": ({"messages": TALK, "max_tokens": 8, "temperature": 0}, MESSAGES),
    "/v1/messages/count_tokens": ({"messages": TALK}, COUNT),
    "/tokenize": ({"prompt": PROMPT}, TOKENIZE),
    "/detokenize": ({"tokens": [40, 41, 42]}, DETOKENIZE),
}  # fmt: skip
