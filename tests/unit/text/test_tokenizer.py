"""Reading a checkpoint's tokenizer files, and refusing unreadable ones in words."""

from __future__ import annotations

import json

import pytest

from engine.errors import EngineStartError
from engine.tokenizer import Tokenizer


def test_bytes_of_all_tokens_join_to_the_text(byte_tokenizer):
    text = "naïve 中 😀"
    ids = byte_tokenizer.encode(text)
    joined = b"".join(byte_tokenizer.token_bytes(i) for i in ids)
    assert joined.decode().removeprefix(" ") == text


def test_end_of_text_is_the_union_of_all_sources(tokenizer, tmp_path):
    tokenizer.fast.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 3}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [4, 7]}))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.eos_ids == {3, 4, 7, loaded.fast.token_to_id("</s>")}


def test_template_file_wins_over_the_config(tokenizer, tmp_path):
    tokenizer.fast.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "old"}))
    (tmp_path / "chat_template.jinja").write_text("new")
    assert Tokenizer.load(tmp_path).chat_template == "new"


def test_named_templates_use_the_default(tokenizer):
    tokenizer.config["chat_template"] = [{"name": "default", "template": "x"}]
    assert tokenizer.chat_template == "x"


def test_missing_tokenizer_is_refused_with_the_fix(tmp_path):
    with pytest.raises(EngineStartError, match=r"no tokenizer\.json.*--tokenizer"):
        Tokenizer.load(tmp_path)


def test_broken_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EngineStartError, match="not a readable tokenizer"):
        Tokenizer.load(tmp_path)
