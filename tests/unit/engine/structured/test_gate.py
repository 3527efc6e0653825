"""Requests wait for their grammar beside the scheduler; nobody else waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec

from engine.errors import InvalidRequest
from engine.messages import EventKind, Finish
from engine.structured.compiler import Compiled, Grammar
from engine.structured.gate import MAX_WAITING, GrammarGate
from engine.structured.outputs import StructuredOutputs
from tests.unit.engine.fakes import Harness, make_body, make_harness

FORM = StructuredOutputs(regex="a", field="guided_regex")


class SlowCompiler:
    """Ends a job when the test says so."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.dropped: list[bytes] = []
        self.done: list[Compiled] = []
        self.cache: dict[bytes, Any] = {}
        self.refused: dict[bytes, InvalidRequest] = {}

    def find(self, digest: bytes) -> Any:
        return self.cache.get(digest)

    def refusal(self, digest: bytes) -> Any:
        return self.refused.get(digest)

    def begin(self, digest: bytes, form: StructuredOutputs) -> None:
        self.begun.append(digest)

    def drop(self, digest: bytes) -> None:
        self.dropped.append(digest)

    def finished(self) -> list[Compiled]:
        done, self.done = self.done, []
        return done

    def wait(self, timeout_s: float) -> None:
        pass

    def close(self) -> None:
        pass


def grammar() -> Grammar:
    return Grammar(None, SimpleNamespace(eos_ids=frozenset()), 1, b"")  # type: ignore[arg-type]


def with_gate() -> tuple[Harness, SlowCompiler]:
    harness, compiler = make_harness(), SlowCompiler()
    harness.core.grammars = GrammarGate(compiler)  # type: ignore[arg-type]
    return harness, compiler


def test_others_run_while_a_grammar_compiles():
    harness, compiler = with_gate()
    credit = harness.core.credit()
    harness.submit("held", [1, 2], n=2, structured_outputs=FORM)
    assert harness.core.credit() == credit - 2
    harness.submit("free", [3, 4])
    for _ in range(20):
        harness.step()
    assert harness.kinds("free")[-1] is EventKind.END
    assert harness.kinds("held") == []
    compiler.done.append(Compiled(FORM.digest(), grammar()))
    harness.drain()
    assert harness.kinds("held")[-1] is EventKind.END
    assert len(harness.tokens("held", 1)) == 8


def test_one_compilation_serves_all_who_wait_for_it_and_a_refusal_names_each_ones_field():
    harness, compiler = with_gate()
    other = StructuredOutputs(regex="a")
    harness.submit("one", [1], structured_outputs=FORM)
    harness.submit("two", [2], structured_outputs=other)
    assert len(compiler.begun) == 1
    error = InvalidRequest("'guided_regex' is bad.", param="guided_regex")
    compiler.done.append(Compiled(FORM.digest(), error))
    harness.drain()
    assert [harness.kinds(rid) for rid in ("one", "two")] == [[EventKind.REFUSED]] * 2
    errors = [harness.last(rid).error for rid in ("one", "two")]
    assert [error.param for error in errors if error] == ["guided_regex", "structured_outputs"]


def test_a_request_that_waits_for_its_grammar_can_be_cancelled():
    harness, compiler = with_gate()
    harness.submit("gone", [1], n=2, structured_outputs=FORM)
    harness.core.cancel("gone", Finish.CANCELLED)
    harness.drain()
    assert harness.kinds("gone") == [EventKind.END]
    assert {choice.finish for choice in harness.choices("gone")} == {Finish.CANCELLED}
    assert harness.core.grammars.num_held == 0
    assert compiler.dropped == [FORM.digest()]
    compiler.done.append(Compiled(FORM.digest(), grammar()))
    harness.submit("next", [1])
    harness.drain()
    assert harness.kinds("gone") == [EventKind.END]


def test_a_known_grammar_needs_no_waiting():
    harness, compiler = with_gate()
    compiler.cache[FORM.digest()] = grammar()
    harness.submit("at once", [1], structured_outputs=FORM)
    harness.drain()
    assert compiler.begun == []
    assert harness.kinds("at once")[-1] is EventKind.END


def test_what_was_refused_a_moment_ago_is_refused_at_once():
    harness, compiler = with_gate()
    error = InvalidRequest("'guided_regex' is bad.", param="guided_regex")
    compiler.refused[FORM.digest()] = error
    harness.submit("again", [1], structured_outputs=FORM)
    harness.drain()
    assert harness.kinds("again") == [EventKind.REFUSED]
    assert compiler.begun == []


def test_an_engine_without_a_tokenizer_refuses_forms():
    harness = make_harness()
    harness.submit("r", [1], structured_outputs=FORM)
    harness.drain()
    error = harness.last("r").error
    assert error is not None
    assert error.param == "guided_regex"


def test_a_request_with_a_deadline_does_not_wait_behind_too_many_grammars():
    harness, compiler = with_gate()
    forms = [StructuredOutputs(regex=f"a{i}") for i in range(MAX_WAITING + 1)]

    def submit(rid: str, form: StructuredOutputs, deadline_ms: int = 1) -> None:
        body = make_body(rid, [1], structured_outputs=form)
        harness.core.submit(msgspec.structs.replace(body, deadline_ms=deadline_ms))

    for i, form in enumerate(forms[:-1]):
        submit(f"held {i}", form)
    submit("same", forms[0])
    submit("late", forms[-1])
    submit("patient", forms[-1], deadline_ms=0)
    harness.step()
    error = harness.last("late").error
    assert error is not None
    assert (error.kind, error.param, error.retry_after_s) == ("Overloaded", "grammars", 5.0)
    assert compiler.begun == [form.digest() for form in forms]
    assert harness.core.grammars.num_held == MAX_WAITING + 2
    compiler.cache[FORM.digest()] = grammar()
    submit("known", FORM)
    for _ in range(20):
        harness.step()
    assert harness.kinds("known")[-1] is EventKind.END


def test_one_who_left_does_not_take_the_grammar_from_those_who_wait():
    harness, compiler = with_gate()
    for rid in ("gone", "stays"):
        harness.submit(rid, [1], structured_outputs=FORM)
    harness.core.cancel("gone", Finish.CANCELLED)
    assert compiler.dropped == []
    compiler.done.append(Compiled(FORM.digest(), grammar()))
    harness.drain()
    assert harness.kinds("stays")[-1] is EventKind.END
