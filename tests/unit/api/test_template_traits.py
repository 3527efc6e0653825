"""What is found out about a chat template when its model is read."""

from __future__ import annotations

import pytest

from apps.api.chat_messages import Message, TemplateForm
from apps.api.rendering import template_kwargs
from apps.api.schemas import ChatBody
from apps.api.template_traits import template_form_of, thinks_unasked, words_of
from engine.errors import InvalidRequest
from engine.template_process import ChildTemplate

AS_JSON = (
    "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}"
)
JOINED = AS_JSON.replace("c.function.arguments | tojson", "'```' + c.function.arguments")
ONLY_NULL = JOINED.replace("m.content }}", "m.content or '' }}").replace(
    "m.tool_calls or []", "(m.tool_calls if m.content is none else none) or []"
)


@pytest.mark.parametrize(
    ("source", "form"),
    [
        (AS_JSON, TemplateForm()),
        (JOINED, TemplateForm(argument_text=True)),
        (ONLY_NULL, TemplateForm(argument_text=True, null_content=True)),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", TemplateForm()),
        ("{{ raise_exception('never') }}", TemplateForm()),
    ],
)
def test_the_form_of_calls_is_the_one_that_shows_them(source: str, form: TemplateForm) -> None:
    assert template_form_of(ChildTemplate(source, {})) == form


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "join"),
        ("{% for p in messages[0].content %}{{ p.text }}{% endfor %}", "wrap"),
        (
            "{% set c = messages[0].content %}{% if c is string %}{{ c }}{% else %}"
            "{% for p in c %}{{ p.text }}{% endfor %}{% endif %}",
            "keep",
        ),
    ],
)
def test_the_form_of_contents_is_the_one_that_shows_them(source: str, parts: str) -> None:
    template = ChildTemplate(source, {})
    assert template_form_of(template).parts == parts
    assert template_form_of(template, "string").parts == "join"
    assert template_form_of(template, "openai").parts == "wrap"


@pytest.mark.parametrize(
    ("source", "thinks"),
    [
        ("{{ messages[0].content }}", True),
        ("{% if enable_thinking is defined and enable_thinking is false %}closed{% endif %}", True),
        ("{% if enable_thinking %}Think first.{% endif %}", False),
        ("{{ 'open' if thinking else 'closed' }}", False),
    ],
)
def test_a_switch_that_is_off_unless_said_keeps_the_model_from_reasoning(
    source: str, thinks: bool
) -> None:
    template = ChildTemplate(source, {})
    assert thinks_unasked(template, words_of(source), template_form_of(template)) is thinks


def test_parts_are_joined_kept_or_made() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    listed = Message.model_validate({"role": "user", "content": parts})
    text = Message(role="user", content="ab")
    forms = {parts: TemplateForm(parts=parts) for parts in ("join", "keep", "wrap")}  # type: ignore[arg-type]
    assert [listed.for_template(f)["content"] for f in forms.values()] == ["ab", parts, parts]
    whole = [{"type": "text", "text": "ab"}]
    assert [text.for_template(f)["content"] for f in forms.values()] == ["ab", "ab", whole]


def kwargs(source: str, **fields: object) -> dict[str, object]:
    body = ChatBody(model="m", messages=[{"role": "user"}], **fields)  # type: ignore[list-item, arg-type]
    return template_kwargs(body, words_of(source))


def test_effort_is_given_as_the_template_reads_it() -> None:
    assert kwargs("{{ reasoning_effort }}", reasoning_effort="low") == {"reasoning_effort": "low"}
    assert kwargs("{{ enable_thinking }}", reasoning_effort="low") == {"enable_thinking": True}
    assert kwargs("{{ thinking }}", reasoning_effort="none") == {"thinking": False}
    with pytest.raises(InvalidRequest):
        kwargs("{{ messages }}", reasoning_effort="low")


def test_template_values_win_over_effort() -> None:
    given = {"enable_thinking": False}
    found = kwargs("{{ enable_thinking }}", reasoning_effort="high", chat_template_kwargs=given)
    assert found == given


@pytest.mark.parametrize("name", ["other", "messages", "tools", "_x", "a b", "", "enable"])
def test_only_names_that_the_template_reads_may_be_set(name: str) -> None:
    source = "{{ messages }}{{ tools }}{{ _x }}{{ enable_thinking }}"
    with pytest.raises(InvalidRequest) as caught:
        kwargs(source, chat_template_kwargs={name: 1})
    assert caught.value.param == "chat_template_kwargs"


def test_documents_reach_a_template() -> None:
    given = [{"title": "a", "text": "b"}]
    assert kwargs("{{ documents }}", documents=given) == {"documents": given}
    with pytest.raises(InvalidRequest) as caught:
        kwargs("{{ messages }}", documents=given)
    assert caught.value.param == "documents"
