"""Templates render what the field's templates use, and cannot leave the sandbox."""

from __future__ import annotations

import pytest

from engine.chat_template import ChatTemplate
from engine.errors import EngineStartError, InvalidRequest

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HELLO = [{"role": "user", "content": "Hello"}]


def test_messages_and_the_generation_prompt():
    text = ChatTemplate(CHATML, {}).render(HELLO)
    assert text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def test_continuing_the_last_message_leaves_it_open():
    talk = [*HELLO, {"role": "assistant", "content": "Hi, I am"}]
    text = ChatTemplate(CHATML, {}).render(
        talk, add_generation_prompt=False, continue_final_message=True
    )
    assert text.endswith("assistant\nHi, I am")


def test_special_tokens_tools_and_extra_values_are_visible():
    template = ChatTemplate(
        "{{ bos_token }}{{ tools | tojson }}{% if enable_thinking %}think{% endif %}",
        {"bos_token": "<s>"},
    )
    assert (
        template.render(HELLO, tools=[{"n": "ü"}], enable_thinking=True) == '<s>[{"n": "ü"}]think'
    )


def test_generation_tag_and_loop_controls_are_understood():
    source = (
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% break %}{% endfor %}"
    )
    assert ChatTemplate(source, {}).render([*HELLO, *HELLO]) == "Hello"


def test_words_of_a_refusing_template_reach_the_caller():
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}", {})
    with pytest.raises(InvalidRequest, match="roles must alternate") as caught:
        template.render(HELLO)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ 1 / 0 }}",
        "{{ messages[99].content.x }}",
    ],
)
def test_escapes_and_broken_templates_are_a_clean_refusal(source):
    with pytest.raises(InvalidRequest, match="cannot render"):
        ChatTemplate(source, {}).render(HELLO)


def test_syntax_error_names_the_line():
    with pytest.raises(EngineStartError, match="line 2"):
        ChatTemplate("ok\n{% if %}", {})


ENDLESS = (
    "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}"
    "{% set x = 1 %}{% endfor %}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{% for a in range(9999) %}"
    "{% if messages %}{% endif %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "{{ 'x' * 10 ** 9 }}",
    "{{ 10 ** 10 ** 9 }}",
    "{% for a in range(9999) %}{{ messages[0].content }}{% endfor %}",
)


@pytest.mark.parametrize("source", ENDLESS)
def test_a_template_without_end_is_stopped(source):
    with pytest.raises(InvalidRequest, match="too much"):
        ChatTemplate(source, {}).render(
            [{"role": "user", "content": "x" * 1000}], max_chars=1_000_000
        )


def test_small_repetitions_are_no_concern():
    template = ChatTemplate("{{ '-' * 20 }}{{ 2 ** 10 }}", {})
    assert template.render([]) == "-" * 20 + "1024"
