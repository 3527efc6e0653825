"""A template that would take this process down takes a child of it down."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from engine.chat_template import ChatTemplate
from engine.errors import EngineStartError, InvalidRequest
from engine.template_process import ChildTemplate, RenderProcess

HELLO = [{"role": "user", "content": "Hello"}]
SHOW = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
BOMBS = {  # each one expression: no loop turn in which time could be asked for
    "joined": "{{ ([messages[0].content * 1000000] * 1000000) | join }}",
    "compared": "{% set a = [messages] %}{% set b = [messages] %}"
    + "{% set a = [a, a] %}{% set b = [b, b] %}" * 40
    + "{{ a == b }}",
    "folded": "{{ '%1000000000d' % 1 }}",  # by the compiler of templates
    "endless recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
}


@pytest.fixture(scope="module")
def process() -> Iterator[RenderProcess]:
    made = RenderProcess()
    yield made
    made.close()


def test_a_child_renders_the_same_text(process: RenderProcess):
    child = ChildTemplate(SHOW, {"bos_token": "<s>"}, process)
    assert child.render(HELLO) == ChatTemplate(SHOW, {"bos_token": "<s>"}).render(HELLO)
    with pytest.raises(InvalidRequest, match="too much"):
        child.render(HELLO, max_chars=3)
    with pytest.raises(InvalidRequest, match="exclude each other"):
        child.render(HELLO, continue_final_message=True)


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS)
def test_no_expression_is_endless(process: RenderProcess, source: str):
    with pytest.raises(
        (InvalidRequest, EngineStartError), match=r"too much|more than 0.5 s|cannot"
    ):
        ChildTemplate(source, {}, process).render(HELLO)
    assert ChildTemplate(SHOW, {}, process).render(HELLO) == "Hello"


def test_bad_jinja_and_values_that_cannot_travel_are_told(process: RenderProcess):
    with pytest.raises(EngineStartError, match="syntax error in line 1"):
        ChildTemplate("{% if %}", {}, process).render(HELLO)
    for content in ("\ud800", 10**30):
        with pytest.raises(InvalidRequest, match="cannot be rendered"):
            ChildTemplate(SHOW, {}, process).render([{"role": "user", "content": content}])


def test_a_child_killed_from_outside_is_replaced(process: RenderProcess):
    child = ChildTemplate(SHOW, {}, process)
    child.render(HELLO)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    assert child.render(HELLO) == "Hello"
