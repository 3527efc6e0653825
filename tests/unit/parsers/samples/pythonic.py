"""Source: Llama 3.2 model card, zero-shot function calling: `[func_name1(params_name1=value1,
params_name2=value2...), func_name2(params)]`; Llama 4 adds `<|python_start|>`/`<|python_end|>`."""

from __future__ import annotations

from tests.unit.parsers.samples.answers import Answer, Sample


def render(answer: Answer) -> str | None:
    if answer.content and answer.calls:
        return None  # the form has no words beside a call
    calls = (
        f"{n}({', '.join(f'{key}={value!r}' for key, value in a.items())})" for n, a in answer.calls
    )
    return answer.content or f"[{', '.join(calls)}]"


SAMPLES = [
    Sample("markers", "<|python_start|>[now()]<|python_end|>", calls=[("now", {})]),
    Sample("after_words", "Hm. <|python_start|>[now()]", content="Hm.", calls=[("now", {})]),
    Sample(
        "kinds_of_strings",
        """[write_file(path="a\\tb\\x41\\u00e9\\101\\q", text=\'\'\'it's "so"\nyes\'\'\')]""",
        calls=[("write_file", {"path": "a\tbAéA\\q", "text": 'it\'s "so"\nyes'})],
    ),
    Sample(
        "words_of_json",
        "[tune(on=true, note=null)]",
        calls=[("tune", {"on": True, "note": None})],
    ),
    Sample("tuple", "[search(tags=('a', 'b',))]", calls=[("search", {"tags": ["a", "b"]})]),
    Sample(
        "numbers",
        "[tune(ratio=1e-3), search(limit=-12)]",
        calls=[("tune", {"ratio": 0.001}), ("search", {"limit": -12})],
    ),
    Sample(
        "keys_of_a_dict",
        "[search(filters={1: 'a', 'b': {'c': [None]}})]",
        calls=[("search", {"filters": {"1": "a", "b": {"c": [None]}}})],
    ),
    Sample(
        "lines_and_commas",
        "[\n  get_weather(\n    city = 'Ulm',\n  ),\n  now( )\n]\n",
        calls=[("get_weather", {"city": "Ulm"}), ("now", {})],
    ),
    Sample("link", "[now](http://a) is a link", content="[now](http://a) is a link"),
    Sample("list_of_words", "['a', 'b']", content="['a', 'b']"),
    Sample("unknown_name", "[boom(a=1)]", content="[boom(a=1)]"),
    Sample("positional", "[get_weather('Ulm')]", content="[get_weather('Ulm')]"),
    Sample(
        "nested_call",
        "[search(query=__import__('os').system('id'))]",
        content="[search(query=__import__('os').system('id'))]",
    ),
    Sample(
        "operator_in_the_second_argument",
        "[search(query='a', limit=2**9)]",
        content="[search(query='a', limit=2**9)]",
    ),
    Sample("bytes", "[search(query=b'a')]", content="[search(query=b'a')]"),
    Sample("set", "[search(tags={'a'})]", content="[search(tags={'a'})]"),
    Sample("infinite", "[tune(ratio=1e999)]", content="[tune(ratio=1e999)]"),
    Sample("half_pair", r"[search(query='\ud800')]", content=r"[search(query='\ud800')]"),
    Sample("cut_in_a_string", "[search(query='ab", content="[search(query='ab"),
    Sample(
        "cut_after_an_argument",
        "[now(), search(query='ab', limit=",
        content=", search(query='ab', limit=",
        calls=[("now", {})],
    ),
    Sample(
        "too_deep",
        f"[search(tags={'[' * 40}{']' * 40})]",
        content=f"[search(tags={'[' * 40}{']' * 40})]",
    ),
    Sample("list_after_words", "So: [now()]", content="So: [now()]"),
]
