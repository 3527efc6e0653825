"""Streaming and whole decoding give the same text, for every kind of vocabulary."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.detokenizer import IncrementalDetokenizer
from engine.tokenizer import Tokenizer

RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def joined(tokenizer: Tokenizer, ids: list[int], cuts: list[int], skip: bool) -> tuple[str, str]:
    detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=skip)
    borders = [0, *sorted({c % (len(ids) + 1) for c in cuts}), len(ids)]
    chunks = [ids[a:b] for a, b in pairwise(borders)]
    pieces = [detokenizer.push(chunk) for chunk in chunks]
    pieces.append(detokenizer.finish())
    return "".join(pieces), detokenizer.text


@RELAXED
@given(data=st.data(), skip=st.booleans())
def test_any_ids_in_any_pieces_equal_the_whole_decode(tokenizer, data, skip):
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=60))
    cuts = data.draw(st.lists(st.integers(0, 60), max_size=60))
    whole = tokenizer.decode(ids, skip_special_tokens=skip)
    assert joined(tokenizer, ids, cuts, skip) == (whole, whole)


@RELAXED
@given(text=st.text(max_size=80))
def test_text_token_by_token_equals_the_whole_decode(tokenizer, text):
    ids = tokenizer.encode(text)
    whole = tokenizer.decode(ids)
    assert joined(tokenizer, ids, list(range(len(ids))), True)[0] == whole


def test_no_piece_ends_inside_a_character(byte_tokenizer):
    detokenizer = IncrementalDetokenizer(byte_tokenizer)
    pieces = [detokenizer.push([i]) for i in byte_tokenizer.encode("中文 😀 naïve 😀😀 end")]
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert "".join([*pieces, detokenizer.finish()]).strip() == "中文 😀 naïve 😀😀 end"


def test_a_cut_character_shows_as_replacement_only_at_the_end(byte_tokenizer):
    detokenizer = IncrementalDetokenizer(byte_tokenizer)
    shown = "".join(detokenizer.push([i]) for i in byte_tokenizer.encode("ok 😁")[:-1])
    assert "\N{REPLACEMENT CHARACTER}" not in shown
    assert "\N{REPLACEMENT CHARACTER}" in detokenizer.finish()


def test_continuing_a_prompt_equals_decoding_both_together(tokenizer):
    ids = tokenizer.encode("The quick brown fox jumps")
    for cut in range(1, len(ids)):
        detokenizer = IncrementalDetokenizer(tokenizer, prompt_ids=ids[:cut])
        piece = detokenizer.push(ids[cut:]) + detokenizer.finish()
        assert tokenizer.decode(ids[:cut]) + piece == tokenizer.decode(ids)


def test_long_runs_of_invalid_bytes_equal_the_whole_decode(tokenizer):
    broken = [i for i in range(tokenizer.vocab_size) if tokenizer.token_bytes(i) == b"\x80"]
    ids = (broken or [5]) * 300
    assert joined(tokenizer, ids, list(range(300)), False)[0] == tokenizer.decode(
        ids, skip_special_tokens=False
    )


@RELAXED
@given(data=st.data())
def test_kept_tokens_stand_in_the_text_and_are_not_counted(tokenizer, data):
    """However the ids are cut: without the marks, the text up to any place is what it was."""
    mark = tokenizer.fast.token_to_id("<|im_end|>")
    words = st.sampled_from([*tokenizer.encode("naïve 中 fox", add_special_tokens=False), mark])
    ids = data.draw(st.lists(words, max_size=30))
    cut = data.draw(st.integers(0, 30))
    keeper = IncrementalDetokenizer(tokenizer, keep_ids=frozenset({mark}))
    text = keeper.push(ids[:cut]) + keeper.push(ids[cut:]) + keeper.finish()
    one_by_one = IncrementalDetokenizer(tokenizer, keep_ids=frozenset({mark}))
    assert text == "".join(map(one_by_one.push, ([i] for i in ids))) + one_by_one.finish()
    assert text.count("<|im_end|>") == ids.count(mark)
    plain = text.replace("<|im_end|>", "")
    for count in range(len(plain) + 1):
        end = keeper.chars_until(count)
        assert text[:end].replace("<|im_end|>", "") == plain[:count]
        assert not text[end:].startswith("<|im_end|>")


@pytest.mark.parametrize("skip", [True, False])
def test_other_special_tokens_are_hidden_beside_kept_ones(byte_tokenizer, skip):
    ids = [byte_tokenizer.fast.token_to_id(t) for t in ("<|im_start|>", "<|im_end|>")]
    keeper = IncrementalDetokenizer(
        byte_tokenizer, skip_special_tokens=skip, keep_ids=frozenset(ids[1:])
    )
    shown = keeper.push(ids) + keeper.finish()
    assert shown.replace(" ", "") == ("<|im_end|>" if skip else "<|im_start|><|im_end|>")
