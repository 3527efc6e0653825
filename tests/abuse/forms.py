"""Values that fields must refuse: each cap at its edge, each type that is not its own."""

from __future__ import annotations

from typing import Any

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
GENERATE = (CHAT, COMPLETIONS)
INPUTS = ("/v1/embeddings", "/pooling", "/classify")
POOLING = (*INPUTS, "/score", "/rerank")
NO_NUMBERS: tuple[Any, ...] = ("1", [1], {"a": 1}, True)
NO_WHOLE = (*NO_NUMBERS, 1.5, 1e308)
OPTIONAL = {  # fields of the good bodies that may be left out
    (CHAT, "max_tokens"), (COMPLETIONS, "max_tokens"), (RESPONSES, "max_output_tokens"),
    ("/tokenize", "model"), ("/detokenize", "model"),
}  # fmt: skip
DEEP: Any = {}
for _ in range(20):
    DEEP = {"type": "object", "properties": {"a": DEEP}}
BIG = {"type": "object", "description": "a" * 66_000}
AFAR = {"$ref": "http://169.254.169.254/schema.json"}
BACKTRACKS = "(a+)+" * 1000

Values = tuple[Any, ...]
FIELDS: tuple[tuple[str, tuple[str, ...], str, Values], ...] = (
    ("n", GENERATE, "n", (0, -1, 9, 2**31, 10**16, *NO_WHOLE)),
    ("output length", GENERATE, "max_tokens", (-1, 2**31, 10**16, *NO_WHOLE)),
    ("output length", GENERATE, "min_tokens", (-1, 5, 2**31, *NO_WHOLE)),
    ("output length", (CHAT,), "max_completion_tokens", (0, -1, 2**31, *NO_WHOLE)),
    ("output length", (RESPONSES,), "max_output_tokens", (0, -1, 2**31, *NO_WHOLE)),
    ("output length", (MESSAGES,), "max_tokens", (0, -1, 2**31, *NO_WHOLE)),
    ("temperature", (*GENERATE, RESPONSES, MESSAGES), "temperature", (-0.1, 2.01, 1e308, "1", [])),
    ("nucleus", (*GENERATE, RESPONSES), "top_p", (0, -1, 1.01, 1e308, *NO_NUMBERS)),
    ("nucleus", GENERATE, "top_k", (-2, 10**16, *NO_WHOLE)),
    ("nucleus", GENERATE, "min_p", (-0.1, 1.1, 1e308, *NO_NUMBERS)),
    ("penalties", GENERATE, "presence_penalty", (-2.1, 2.1, 1e308, *NO_NUMBERS)),
    ("penalties", GENERATE, "frequency_penalty", (-2.1, 2.1, 1e308, *NO_NUMBERS)),
    ("penalties", GENERATE, "repetition_penalty", (0, -1, 1e308, *NO_NUMBERS)),
    ("seed", GENERATE, "seed", (2**64, -(2**64), *NO_WHOLE)),
    ("stop strings", GENERATE, "stop", (["a"] * 5, ["a"] * 100_000, "a" * 257, [""], [1], 7, {})),
    ("stop ids", GENERATE, "stop_token_ids", ([-1], [2**31], [1] * 129, ["1"], "1", [1.5], [True])),
    ("bad words", GENERATE, "bad_words", (["a"] * 129, ["a" * 257], [""], [1], "a", {})),
    ("allowed ids", GENERATE, "allowed_token_ids", ([], [-1], [2**31], ["1"], 1)),
    ("logit bias", GENERATE, "logit_bias", (
        {"1": 101}, {"1": -101}, {"x": 1}, {"-1": 1}, {str(2**31): 1}, {"1": "1"}, [], "a",
        {str(i): 1 for i in range(301)},
    )),
    ("logprobs", (COMPLETIONS,), "logprobs", (-1, 21, 2**31, *NO_WHOLE)),
    ("logprobs", (CHAT,), "logprobs", (1, "true", [], {})),
    ("logprobs", GENERATE, "prompt_logprobs", (-2, -1, 21, 2**31, *NO_WHOLE)),
    ("stream", GENERATE, "stream", ("true", 1, [], {})),
    ("stream", GENERATE, "stream_options", ({}, {"include_usage": True}, "a", 1, [])),
    ("priority", GENERATE, "priority", (1001, -1001, *NO_WHOLE)),
    ("user", GENERATE, "user", ("a" * 257, 1, [], {})),
    ("user", GENERATE, "request_id", ("a" * 129, 1, [])),
    ("user", GENERATE, "cache_salt", ("", "a" * 257, 1)),
    ("truncation", GENERATE, "truncate_prompt_tokens", (0, -2, 10**16, *NO_WHOLE)),
    ("truncation", GENERATE, "truncation_side", ("up", 1, [])),
    ("code and tensors", GENERATE, "logits_processors", (["os.system"], [{"qualname": "os"}])),
    ("code and tensors", GENERATE, "prompt_embeds", ("gASVAA==", ["AAAA"])),
    ("best_of", GENERATE, "best_of", (1, 2, 2**31, "a")),
    ("repetition detection", GENERATE, "repetition_detection", (
        {}, 1, {"max_pattern_size": 0}, {"max_pattern_size": 257},
        {"max_pattern_size": 4, "min_count": 65},
    )),
    ("prompt", (COMPLETIONS,), "prompt", (
        [], 1, {}, [[]], [1, "a"], [["a"]], ["a"] * 129, [-1], [2**31], [1.5], [True], "", [""],
    )),
    ("prompt too long", (COMPLETIONS,), "prompt", ([1] * 200_000, "word " * 100_000)),
    ("prompt too long", (COMPLETIONS,), "prompt", ("a" * (2 * 1024 * 1024 + 1),)),
    ("messages", (CHAT, MESSAGES), "messages", ([], {}, "Hi", 1, ["Hi"], [{}], [[]])),
    ("messages", (CHAT,), "messages", (
        [{"role": "user", "content": "a"}] * 2049,
        [{"role": "user", "content": "word " * 100_000}],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": {"text": "a"}}],
    )),
    ("roles", (CHAT, MESSAGES), "messages", tuple(
        [{"role": role, "content": "a"}] for role in ("root", "", 1, None, "SYSTEM", "user ")
    )),
    ("media", (CHAT,), "messages", tuple(
        [{"role": "user", "content": [part]}]
        for part in (
            {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}},
            {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "video_url", "video_url": {"url": "gopher://127.0.0.1:6379/_FLUSHALL"}},
            {"type": "file", "file": {"file_id": "../../etc/passwd"}},
            {"type": "text"}, {"type": "text", "text": 1}, {"type": 1}, {}, "text", 7,
        )
    )),
    ("tools", (CHAT,), "tools", (
        [{}], "a", {}, [{"type": "function"}], [{"type": "function", "function": {}}],
        [{"type": "function", "function": {"name": ""}}],
        [{"type": "function", "function": {"name": "a\nb"}}],
        [{"type": "function", "function": {"name": "a" * 257}}],
        [{"type": "code_interpreter"}],
        [{"type": "function", "function": {"name": "f"}}] * 129,
        [{"type": "function", "function": {"name": "f", "parameters": DEEP}}],
        [{"type": "function", "function": {"name": "f", "parameters": BIG}}],
        [{"type": "function", "function": {"name": "f", "parameters": AFAR}}],
    )),
    ("tool choice", (CHAT,), "tool_choice", (
        "required", "any", 1, {"type": "function", "function": {"name": "g"}}, {"type": "x"},
    )),
    ("response format", GENERATE, "response_format", (
        "json", {}, {"type": "xml"}, {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "a"}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": BIG}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": AFAR}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "nothing"}}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {"$ref": "#/no"}}},
        {"type": "structural_tag"},
    )),
    ("schema", GENERATE, "guided_json", ("{", "[]", 1, AFAR, {"type": "nothing"})),
    ("expression", GENERATE, "guided_regex", (
        "(", "[", "a{2,1}", "*", "a" * 4097, "(?<=a)b", "(a)\\1", 7, BACKTRACKS,
    )),
    ("choices", GENERATE, "guided_choice", ([], [""], ["a"] * 1001, "a", [1])),
    ("grammar", GENERATE, "guided_grammar", (
        "", "root", "root ::= ", "root ::= other", "root ::= root", 'root ::= "a', "a" * 66_000, 7,
    )),
    ("several forms", GENERATE, "structured_outputs", (
        {}, {"regex": "a", "choice": ["a"]}, {"json": {}, "grammar": "root ::= \"a\""}, "a", [],
    )),
    ("template", (CHAT,), "chat_template", (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for a in range(25000) %}{% for b in range(25000) %}x{% endfor %}{% endfor %}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{% include '/etc/passwd' %}",
        7, [],
    )),
    ("template values", (CHAT, "/tokenize"), "chat_template_kwargs", (
        {"a": {"b": 1}}, {"a": [1]}, [], "a", {"a": [["x"] * 10] * 10},
    )),
    ("metadata", (CHAT,), "metadata", (
        {"a": 1}, {"a" * 65: "b"}, {"a": "b" * 513}, {str(i): "a" for i in range(17)}, [], "a",
    )),
    ("older fields", (CHAT,), "functions", ([{"name": "f"}], "a")),
    ("older fields", (CHAT,), "function_call", ({"name": "f"}, "required")),
    ("other kinds of answer", (CHAT,), "modalities", (["audio"], ["text", "image"], "audio")),
    ("other kinds of answer", (CHAT,), "audio", ({"voice": "a"},)),
    ("other kinds of answer", (CHAT,), "web_search_options", ({}, {"user_location": None})),
    ("stored state", (RESPONSES,), "previous_response_id", ("resp_1", "../x", 1)),
    ("stored state", (RESPONSES,), "conversation", ("conv_1", {"id": "c"})),
    ("stored state", (RESPONSES,), "background", (True,)),
    ("input items", (RESPONSES,), "input", (
        7, {}, [7], [{"type": "computer_call"}], [{"type": "message", "role": "root"}],
        [{"role": "user", "content": [{"type": "input_image", "image_url": "http://10.0.0.1"}]}],
    )),
    ("inputs", INPUTS, "input", ([], 7, {}, [1, "a"], ["a"] * 2049, [-1.5], [True])),
    ("sizes of vectors", ("/v1/embeddings",), "dimensions", (0, -1, 10**16, *NO_WHOLE)),
    ("sizes of vectors", ("/v1/embeddings",), "encoding_format", ("pickle", 1, [])),
    ("sizes of vectors", ("/pooling",), "task", ("generate", 1, [])),
    ("documents", ("/score", "/rerank"), "documents", ([], 7, [7], [{"x": 1}], ["a"] * 1001, {})),
    ("documents", ("/rerank",), "query", (7, [], ["a"], {"x": 1})),
    ("documents", ("/rerank",), "top_n", (-1, 10**16, *NO_WHOLE)),
    ("truncation", POOLING, "truncate_prompt_tokens", (0, -2, 10**16, *NO_WHOLE)),
    ("token ids", ("/detokenize",), "tokens", ([-1], [2**31], ["1"], 7, [1.5], [True], {})),
    ("token ids", ("/tokenize",), "prompt", (7, [], {}, ["a"])),
    ("token ids", ("/tokenize",), "messages", ([], "a", [{}], [{"role": "root"}])),
)  # fmt: skip

BODIES: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("logprobs", CHAT, {"top_logprobs": 2}, "top_logprobs"),
    ("logprobs", CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ("logprobs", CHAT, {"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
    ("beams", COMPLETIONS, {"use_beam_search": True, "n": 11}, "n"),
    ("beams", COMPLETIONS, {"use_beam_search": True, "stop": ["a"]}, "stop"),
    ("beams", COMPLETIONS, {"use_beam_search": True, "stream": True}, "use_beam_search"),
    ("beams", COMPLETIONS, {"use_beam_search": True, "length_penalty": 1e9}, "length_penalty"),
    ("stream", COMPLETIONS, {"stream": True, "prompt_logprobs": 1}, "prompt_logprobs"),
    ("several forms", CHAT, {"guided_regex": "a", "guided_choice": ["a"]}, "guided_regex"),
    ("tools", "/v1/messages", {"tools": [{"name": "a", "type": "bash_1"}]}, "tools[0]"),
    ("tools", "/v1/responses", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ("documents", "/score", {"queries": ["a", "b"], "documents": ["c"] * 3}, "queries"),
    ("documents", "/score", {"text_1": "a"}, ""),
)

FRAMES: tuple[tuple[str, str], ...] = (  # of a WebSocket; "{model}" stands for the model's name
    ("frame without JSON", ""),
    ("frame without JSON", "hello"),
    ("frame without JSON", "[]"),
    ("frame without JSON", "[" * 100_000),
    ("frame without an id", '{"type": "chat", "model": "{model}"}'),
    ("frame without an id", '{"id": 7, "type": "chat"}'),
    ("frame without an id", '{"id": "' + "a" * 129 + '", "type": "chat"}'),
    ("frame of no type", '{"id": "a"}'),
    ("frame of no type", '{"id": "a", "type": "exec"}'),
    ("frame with a wrong body", '{"id": "a", "type": "chat"}'),
    ("frame with a wrong body", '{"id": "a", "type": "chat", "model": "{model}", "messages": []}'),
    ("frame with a wrong body", '{"id": "a", "type": "completions", "model": "' + "m" * 999 + '"}'),
    ("frame with a wrong body",
     '{"id": "a", "type": "completions", "model": "{model}", "prompt": "a", "n": 99}'),
    ("frame with a wrong body",
     '{"id": "a", "type": "completions", "model": "{model}", "prompt": "a", "stop": ["a", 1]}'),
)  # fmt: skip
