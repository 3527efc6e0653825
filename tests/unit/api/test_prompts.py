"""From a body to token ids: special tokens, templates of requests, options of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from apps.api.caps import ApiSettings
from apps.api.model_texts import check_options, model_text
from apps.api.prompts import PromptPool
from apps.api.schemas import ChatBody, CompletionBody
from apps.models.catalog import TextOptions
from engine.errors import EngineStartError, InvalidRequest
from tests.unit.api.samples import model

MESSAGES: Any = [{"role": "user", "content": "ab"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer of letters that puts a first token before every text."""
    vocab = {chr(ord("a") + i): i for i in range(26)}
    fast = FastTokenizer(BPE(vocab, []))
    fast.decoder = Fuse()
    fast.add_special_tokens([AddedToken("<first>", special=True)])
    fast.post_processor = TemplateProcessing(single="<first> $A", special_tokens=[("<first>", 26)])
    fast.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}{{ documents }}")
    return tmp_path


async def ids(folder: Path, body: Any, **options: Any) -> list[int]:
    pool = PromptPool(ApiSettings())
    served = model(path=folder, vocab_size=27, text=TextOptions(**options))
    read = pool.chat if isinstance(body, ChatBody) else pool.completion
    try:
        return (await read(body, served))[0].token_ids  # type: ignore[operator]
    finally:
        pool.close()


async def test_special_tokens_can_be_left_out(folder: Path) -> None:
    for add, first in ((True, [26]), (False, [])):
        prompt = CompletionBody(model="m", prompt="ab", add_special_tokens=add)
        assert await ids(folder, prompt) == [*first, 0, 1]
        chat = ChatBody(model="m", messages=MESSAGES, add_special_tokens=add)
        assert await ids(folder, chat) == [*first, 0, 1]


async def test_a_trusted_request_brings_its_template(folder: Path) -> None:
    body = ChatBody(model="m", messages=MESSAGES, chat_template="x{{ messages[0].content }}")
    assert await ids(folder, body, trust_request_chat_template=True) == [23, 0, 1]
    with pytest.raises(InvalidRequest, match="trust-request-chat-template"):
        await ids(folder, body)
    broken = ChatBody(model="m", messages=MESSAGES, chat_template="{% if %}")
    with pytest.raises(InvalidRequest, match="syntax error"):
        await ids(folder, broken, trust_request_chat_template=True)


async def test_a_model_may_be_served_with_another_template(folder: Path) -> None:
    other = folder / "other.jinja"
    other.write_text("y{{ messages[0].content }}")
    body = ChatBody(model="m", messages=MESSAGES)
    assert await ids(folder, body, chat_template=str(other)) == [24, 0, 1]
    with pytest.raises(EngineStartError, match="cannot be read"):
        model_text(folder, TextOptions(chat_template=str(folder / "none")))


def test_a_template_that_takes_too_long_is_no_template(folder: Path) -> None:
    template = folder / "chat_template.jinja"
    doubled = "{% set a = [a, a] %}{% set b = [b, b] %}" * 40
    template.write_text(f"{{% set a = [1] %}}{{% set b = [1] %}}{doubled}{{{{ a == b }}}}")
    with pytest.raises(EngineStartError, match=r"more than 0\.5 s"):
        model_text(folder)
    with pytest.raises(InvalidRequest, match=r"more than 0\.5 s"):
        check_options(str(template), None, None)


async def test_a_models_own_template_takes_nothing_down(folder: Path) -> None:
    """It passes what is tried when it is read, and then one expression takes all time or memory."""
    bomb = "{{ ([messages[0].content * 1000000] * 1000000) | join }}"
    source = "{% if messages | length > 4 %}" + bomb + "{% endif %}{{ messages[0].content }}"
    (folder / "chat_template.jinja").write_text(source)
    with pytest.raises(InvalidRequest, match=r"too much|more than 0.5 s") as refused:
        await ids(folder, ChatBody(model="m", messages=MESSAGES * 5))
    assert refused.value.param == "messages"
    assert await ids(folder, ChatBody(model="m", messages=MESSAGES)) == [0, 1]


def test_parsers_can_be_named(folder: Path) -> None:
    found = model_text(folder, TextOptions(tool_call_parser="hermes", reasoning_parser="qwen3"))
    assert (found.parsers.tool, found.parsers.reasoning) == ("hermes", "qwen3")


@pytest.mark.parametrize("side", ["left", "right"])
async def test_a_prompt_is_cut(folder: Path, side: Any) -> None:
    body = CompletionBody(
        model="m", prompt="abcd", truncate_prompt_tokens=2, truncation_side=side,
        add_special_tokens=False,
    )  # fmt: skip
    assert await ids(folder, body) == ([2, 3] if side == "left" else [0, 1])
    whole = CompletionBody(model="m", prompt=[1] * 200, truncate_prompt_tokens=-1, max_tokens=40)
    assert len(await ids(folder, whole)) == 60


def test_options_of_a_model_must_name_what_exists(folder: Path) -> None:
    template = folder / "chat_template.jinja"
    check_options(str(template), "hermes", "openai_gptoss")
    template.write_text("{% if %}")
    for wrong, words in (
        ((str(template), None, None), "syntax error"),
        ((str(folder / "none"), None, None), "cannot be read"),
        ((None, "hermess", None), "Did you mean 'hermes'"),
        ((None, None, "qwen"), "No reasoning parser"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            check_options(*wrong)
