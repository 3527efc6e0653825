"""Rows that follow grammars are asked together, and one by one once a token was slow."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import InternalError, InvalidRequest, PagodaError
from engine.runner.grammar_rows import SLOW_S, GrammarRows
from engine.sampling_params import SamplingParams
from engine.structured.bindings import compiled, compiler_for, tokenizer_info
from engine.structured.compiler import Grammar
from engine.structured.matcher import Matcher
from engine.structured.outputs import StructuredOutputs
from engine.structured.words import Words
from tests.unit.engine.runner.plans import row_start

LETTERS = [chr(ord("a") + i).encode() for i in range(25)] + [b""]
END = 25
TOKENIZER: Any = SimpleNamespace(token_bytes=LETTERS.__getitem__, special_ids=frozenset())
WORDS = Words(TOKENIZER, len(LETTERS), frozenset({END}))
ROWS = np.array([2, 7, 0], np.int32)  # row 7 follows nothing


@pytest.fixture(scope="module")
def compiler() -> Any:
    return compiler_for(tokenizer_info(LETTERS, [END]))


def seat(grammars: GrammarRows, compiler: Any, row: int, regex: str, **fields: Any) -> None:
    form = StructuredOutputs(regex=regex)
    grammar = Grammar(compiled(compiler, form), WORDS, 1, b"")
    params = SamplingParams(structured_outputs=form, **fields)
    grammars.start(replace(row_start(row, [1], [0], params), grammar=grammar))


def step(grammars: GrammarRows) -> tuple[list[str], dict[int, PagodaError]]:
    """What may follow each of `ROWS` ("$" ends), and failures."""
    logits = torch.zeros(3, len(LETTERS))
    grammars.prepare(ROWS)
    failed = grammars.apply(logits, ROWS)
    open_ids = [row.isfinite().nonzero()[:, 0].tolist() for row in logits]
    return ["".join("$" if i == END else chr(97 + i) for i in ids) for ids in open_ids], failed


def say(grammars: GrammarRows, letters: str) -> None:
    grammars.accept(ROWS, np.array([-1 if c == "-" else ord(c) - 97 for c in letters], np.int64))


def test_each_row_keeps_to_its_own_grammar(compiler: Any) -> None:
    grammars = GrammarRows(8, len(LETTERS))
    seat(grammars, compiler, 2, "a[bc]?")
    seat(grammars, compiler, 0, "[xy]+", ignore_eos=True)
    everything = "abcdefghijklmnopqrstuvwxy$"
    assert step(grammars) == (["a", everything, "xy"], {})
    say(grammars, "aqx")
    assert step(grammars) == (["bc$", everything, "xy"], {})
    grammars.end(2)
    say(grammars, "--y")
    assert step(grammars) == ([everything, everything, "xy"], {})
    grammars.close()


@pytest.mark.parametrize("slow_in", ["finish", "accept"])
def test_a_slow_row_ends_alone(
    compiler: Any, monkeypatch: pytest.MonkeyPatch, slow_in: str
) -> None:
    grammars, now = GrammarRows(8, len(LETTERS)), [0.0]
    seat(grammars, compiler, 2, "[ab]*")
    seat(grammars, compiler, 0, "[cd]*")
    slow, quick = grammars._matchers[2], getattr(Matcher, slow_in)

    def delayed(matcher: Matcher, *args: Any) -> None:
        now[0] += 2 * SLOW_S if matcher is slow else SLOW_S / 100
        quick(matcher, *args)

    monkeypatch.setattr(Matcher, slow_in, delayed)
    monkeypatch.setattr(time, "thread_time", lambda: now[0])
    found: list[dict[int, PagodaError]] = []
    for _ in range(3):
        texts, failed = step(grammars)
        assert texts[2] == "cd$"
        found.append(failed)
        say(grammars, "a-c")
    assert found[0] == {}
    assert [list(failed) for failed in found[1:]] == (
        [[0], [0]] if slow_in == "finish" else [[], [0]]
    )
    assert "too ambiguous" in str(found[2][0])
    grammars.close()


def test_a_row_that_cannot_be_asked_fails_alone(
    compiler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    grammars = GrammarRows(8, len(LETTERS))
    seat(grammars, compiler, 2, "[ab]*")
    seat(grammars, compiler, 0, "[cd]*")
    broken, finish = grammars._matchers[2], Matcher.finish

    def failing(matcher: Matcher, mask: Any) -> None:
        if matcher is broken:
            raise RuntimeError("broken")
        finish(matcher, mask)

    monkeypatch.setattr(Matcher, "finish", failing)
    texts, failed = step(grammars)
    assert texts[2] == "cd$"
    assert list(failed) == [0]
    assert isinstance(failed[0], InternalError)
    grammars.close()


def test_a_grammar_without_a_next_token_fails_its_row(compiler: Any) -> None:
    grammars = GrammarRows(8, len(LETTERS))
    seat(grammars, compiler, 2, "a[z]")  # no token says z
    seat(grammars, compiler, 0, "[cd]*")
    say(grammars, "a-c")
    texts, failed = step(grammars)
    assert texts[0] == ""
    assert texts[2] == "cd$"
    assert list(failed) == [0]
    assert isinstance(failed[0], InvalidRequest)
    grammars.close()
