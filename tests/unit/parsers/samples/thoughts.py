"""Texts with reasoning. Sources: chat templates of deepseek-ai/DeepSeek-R1, Qwen/Qwen3-8B
(`enable_thinking`), mistralai/Magistral-Small-2507, ibm-granite/granite-3.2-8b-instruct and 3.3."""

from __future__ import annotations

from tests.unit.parsers.samples.answers import Sample

PAIRS = [  # name, reasoning, content
    ("short", "Hm.", "Yes."),
    ("lines", "First.\n\nSecond.", "A\n\n- b\n- c"),
    ("unicode", "naïve 東京 🦊", "né"),
    ("looks_like_tags", "a < b, </thin [/THIN Here is my respons", "<think [THINK Here is"),
    ("code", "if x:\n    y()", "```py\nif x:\n    y()\n```"),
    ("json", '{"a": "</b>"}', '{"a": [1]}'),
    ("no_answer", "Only thought.", ""),
    ("one_letter", "a", "b"),
    ("long", "ab " * 150 + "c", "de " * 150 + "f"),
    ("wide_space", "a" + " " * 200 + "b", "c" + "\n" * 200 + "d"),
]


def wrap(start: str, end: str) -> list[Sample]:
    return [
        Sample(name, f"{start}\n{reasoning}\n{end}\n\n{content}", content, [], reasoning)
        for name, reasoning, content in PAIRS
    ]


def tagged(start: str, end: str) -> list[Sample]:
    """What a family with a start and an end marker has in common."""
    opened, closed = {"prompt": f"<|a|>{start}\n"}, {"prompt": f"<|a|>{start}\n\n{end}\n\n"}
    return [
        *wrap(start, end),
        Sample("tight", f"{start}a{end}b", "b", [], "a"),
        Sample("nothing_thought", f"{start}\n\n{end}\n\nb", "b"),
        Sample("cut_while_thinking", f"{start}\na b", "", [], "a b"),
        Sample("cut_in_the_end_marker", f"{start}a{end[:-1]}", "", [], "a" + end[:-1]),
        Sample("second_end_marker", f"{start}a{end}b{end}c", f"b{end}c", [], "a"),
        Sample("start_marker_later", f"{start}a{end}b{start}c", f"b{start}c", [], "a"),
        Sample("opened_by_the_prompt", f"a\n{end}\n\nb", "b", [], "a", opened),
        Sample("opened_twice", f"{start}\na\n{end}b", "b", [], "a", opened),
        Sample("closed_by_the_prompt", "a b", "a b", options=closed),
        Sample("thinking_off", f"a {end} b", f"a {end} b", options={"thinking": False}),
    ]


def chooses(start: str, end: str) -> list[Sample]:
    """A family that thinks only after its start marker."""
    return [
        *tagged(start, end),
        Sample("does_not_think", " Yes.", " Yes."),
        Sample("end_marker_alone", f"a{end}b", f"a{end}b"),
        Sample("start_marker_begun", start[:-1], start[:-1]),
        Sample("words_before", f"a {start}b{end}", f"a {start}b{end}"),
    ]


ASK, REPLY = "Here is my thought process:", "Here is my response:"
SAMPLES = {
    "deepseek_r1": [
        *tagged("<think>", "</think>"),
        *wrap("", "</think>"),
        Sample("never_ends", "a b", "", [], "a b"),
        Sample("empty", "", ""),
    ],
    "qwen3": chooses("<think>", "</think>"),
    "mistral": chooses("[THINK]", "[/THINK]"),
    "granite": [
        *chooses(ASK, REPLY),
        *wrap("Here's my thought process:", "Here's my response:"),
        Sample("tags", "<think>a</think><response>b</response>", "b", [], "a"),
        Sample("tag_unclosed", "<think>a</think>\n<response>b < c</resp", "b < c</resp", [], "a"),
    ],
}
