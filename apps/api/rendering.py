"""A conversation → the prompt that the model's chat template makes of it."""

from __future__ import annotations

from typing import Any

from apps.api.model_texts import ModelText
from apps.api.prompt import Prompt
from apps.api.schemas import ChatBody, GenerationBody
from apps.api.template_traits import THINKING_SWITCHES
from apps.models.catalog import CatalogModel
from engine.chat_template import MAX_CHARS
from engine.errors import EngineStartError, InvalidRequest

TAIL_CHARS = 256  # of a rendered prompt; reasoning parsers look for a marker at its end
RESERVED_NAMES = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "self"}
)


def conversation_prompt(text: ModelText, body: ChatBody, model: CatalogModel) -> Prompt:
    """Template, then tokeniser. Raises `InvalidRequest` naming what the template refused."""
    text = _with_own_template(text, body)
    if text.template is None:
        raise InvalidRequest(
            f"The model {model.name!r} has no chat template, so it cannot read messages: send a "
            "text (of a chat: to /v1/completions).",
            param="model",
        )
    offered = body.offered
    if offered and text.parsers.tool is None:
        raise InvalidRequest(
            f"The model {model.name!r} cannot call tools: its chat template has no form of calls "
            "that is known here. Leave 'tools' out.",
            param="tools",
        )
    if offered and body.tool_choice in (None, "auto") and not text.options.enable_auto_tool_choice:
        raise InvalidRequest(
            "This deployment lets no model choose tools by itself (--no-enable-auto-tool-choice). "
            "Leave 'tools' out.",
            param="tool_choice",
        )
    try:
        rendered = text.template.render(
            [message.for_template(text.form) for message in body.messages],
            tools=[tool.for_template() for tool in offered] or None,
            add_generation_prompt=body.add_generation_prompt and not body.continue_final_message,
            continue_final_message=body.continue_final_message,
            max_chars=most_chars(body, model),
            **template_kwargs(body, text.template_words),
        )
    except EngineStartError as error:
        own = "messages" if body.chat_template is None else "chat_template"
        raise InvalidRequest(error.cause, param=own) from None
    ids = text.tokenizer.encode(rendered, add_special_tokens=body.add_special_tokens)
    return Prompt(ids, tail=rendered[-TAIL_CHARS:])


def template_kwargs(body: ChatBody, words: frozenset[str]) -> dict[str, Any]:
    """Values for the template: only names that it reads. Raises `InvalidRequest`."""
    given: dict[str, Any] = dict(body.chat_template_kwargs)
    for name in given:
        if name in RESERVED_NAMES or name.startswith("_") or name not in words:
            raise InvalidRequest(
                f"'chat_template_kwargs' holds {name[:64]!r}, which the model's template "
                "does not read.",
                param="chat_template_kwargs",
            )
    if body.documents:
        if "documents" not in words:
            raise InvalidRequest(
                "'documents' has no meaning for this model: its chat template does not show them. "
                "Put the text into a message.",
                param="documents",
            )
        given = given | {"documents": body.documents}
    return given if body.reasoning_effort is None else _effort(body.reasoning_effort, words) | given


def _effort(effort: str, words: frozenset[str]) -> dict[str, Any]:
    """A template without degrees of effort but with a switch gets the switch."""
    if "reasoning_effort" in words:
        return {"reasoning_effort": effort}
    for switch in THINKING_SWITCHES:
        if switch in words:
            return {switch: effort != "none"}
    raise InvalidRequest(
        "'reasoning_effort' has no meaning for this model: its chat template does not read it.",
        param="reasoning_effort",
    )


def _with_own_template(text: ModelText, body: ChatBody) -> ModelText:
    """Raises `InvalidRequest` for a template that the deployment does not want or Jinja refuses."""
    if body.chat_template is None:
        return text
    if not text.options.trust_request_chat_template:
        raise InvalidRequest(
            "'chat_template' is not accepted: the model's own template is used, unless it was "
            "started with --trust-request-chat-template.",
            param="chat_template",
        )
    try:
        return text.with_template(body.chat_template, vouched=False)
    except EngineStartError as error:
        raise InvalidRequest(error.cause, param="chat_template") from None


def most_chars(body: GenerationBody, model: CatalogModel) -> int:
    """More characters cannot fit the context in any language; what is cut afterwards may."""
    if body.truncate_prompt_tokens is not None:
        return MAX_CHARS
    return max(32 * model.max_model_len, 1 << 16)
