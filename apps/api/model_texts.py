"""Tokeniser, chat template and parsers of a served model, read once from its files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from apps.api.chat_messages import PLAIN_FORM, TemplateForm
from apps.api.parsers import ParserChoice, UnknownParser, parsers_for, pipeline_for
from apps.api.template_traits import (
    model_type_of,
    template_form_of,
    thinks_unasked,
    words_of,
)
from apps.models.catalog import PLAIN_TEXT, TextOptions
from engine.errors import EngineStartError, InvalidRequest
from engine.template_process import OPERATORS, STRANGERS, ChildTemplate
from engine.tokenizer import Tokenizer

MAX_TOKENIZERS = 64


@dataclass(frozen=True, slots=True)
class ModelText:
    """What turns text into ids and back for one checkpoint directory."""

    tokenizer: Tokenizer
    template: ChildTemplate | None
    template_words: frozenset[str]
    parsers: ParserChoice
    form: TemplateForm
    special_ids: dict[str, int]  # special tokens by their text
    options: TextOptions = PLAIN_TEXT
    thinks: bool = True  # where a request says nothing of it

    def ids_of(self, specials: frozenset[str]) -> frozenset[int]:
        """Those of the texts that are special tokens of this model, as ids."""
        return frozenset(self.special_ids[text] for text in specials & self.special_ids.keys())

    def with_template(self, source: str, *, vouched: bool) -> ModelText:
        """The same model with another chat template. Those that nobody vouches for keep no
        model's own waiting. Raises `EngineStartError` for a bad one."""
        process = OPERATORS if vouched else STRANGERS
        template = ChildTemplate(source, self.tokenizer.special_tokens, process)
        form = template_form_of(template, self.options.chat_template_content_format)
        words = words_of(source)
        return replace(
            self,
            template=template,
            template_words=words,
            form=form,
            thinks=thinks_unasked(template, words, form),
        )


@lru_cache(maxsize=MAX_TOKENIZERS)
def model_text(path: Path, options: TextOptions = PLAIN_TEXT) -> ModelText:
    """Read a checkpoint's text files, once. Raises `EngineStartError` if they are broken."""
    tokenizer = Tokenizer.load(path)
    source = tokenizer.chat_template
    if options.chat_template is not None:
        source = read_template(options.chat_template)
    found = parsers_for(model_type_of(path), source)
    text = ModelText(
        tokenizer,
        None,
        frozenset(),
        ParserChoice(
            tool=options.tool_call_parser or found.tool,
            reasoning=options.reasoning_parser or found.reasoning,
        ),
        PLAIN_FORM,
        {text: i for i in tokenizer.special_ids if (text := tokenizer.piece(i)) is not None},
        options,
    )
    return text.with_template(source, vouched=True) if source else text


def check_options(template: str | None, tool: str | None, reasoning: str | None) -> None:
    """What a model's options name exists. Raises `InvalidRequest` saying what would be right."""
    try:
        if template is not None:
            template_form_of(ChildTemplate(read_template(template), {}))
        pipeline_for(tool, reasoning)
    except (EngineStartError, UnknownParser) as error:
        raise InvalidRequest(str(error), param="engine_options") from None


def read_template(path: str) -> str:
    """Raises `EngineStartError` naming the file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise EngineStartError(
            f"The chat template {path} cannot be read ({error}).", "Correct --chat-template."
        ) from None
