"""The demo model under constraints: whatever it says has the form, and nobody else notices."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import LLM
from engine.errors import InvalidRequest
from engine.sampling_params import SamplingParams
from engine.structured.compiler import Compiled, Grammar, GrammarCompiler
from engine.structured.outputs import StructuredOutputs, Thought
from engine.tokenizer import Tokenizer
from tests.structured_cases import BAD, GOOD, refused_early

DEMO = str(Path(__file__).parents[3] / "demo" / "pagoda-demo")
SLICE = [*GOOD[::13], *GOOD[-10::3]]  # all of them: tests/volume
SLOW = StructuredOutputs(json={"type": "string", "maxLength": 5000})  # about half a second of CPU
LOOSE = {"type": "array", "items": {"type": "integer"}, "minItems": 30}


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(DEMO, max_model_len=1024, max_num_seqs=32) as made:
        yield made


def params(form: dict[str, Any], **fields: Any) -> SamplingParams:
    wanted = {"temperature": 1.0, "max_tokens": 120, "seed": 7} | fields
    return SamplingParams(structured_outputs=StructuredOutputs(**form), **wanted)


def answers(llm: LLM, form: dict[str, Any], prompt: str = "The answer:", **fields: Any) -> Any:
    return llm.generate(prompt, params(form, **fields), use_tqdm=False)[0].outputs


def test_every_whole_answer_has_its_form(llm: LLM):
    prompts = [f"Number {i}:" for i in range(len(SLICE))]
    given = [params(good.fields, seed=i) for i, good in enumerate(SLICE)]
    whole = 0
    for good, output in zip(SLICE, llm.generate(prompts, given, use_tqdm=False), strict=True):
        answer = output.outputs[0]
        if answer.finish_reason == "stop":
            whole += 1
            assert good.holds(answer.text), (good.fields, answer.text)
    assert whole >= 0.7 * len(SLICE)


@pytest.mark.parametrize(
    "form", [f for f in BAD if not refused_early(f)][::3], ids=lambda form: str(form)[:50]
)
def test_what_only_the_compiler_can_tell_is_a_refusal_of_that_request(
    llm: LLM, form: dict[str, Any]
):
    with pytest.raises(InvalidRequest) as caught:
        answers(llm, form)
    assert caught.value.param == "structured_outputs"
    assert ".cc" not in str(caught.value)  # no place in somebody's source
    assert answers(llm, {"choice": ["fine"]})[0].text == "fine"


def test_each_choice_follows_the_form_on_its_own(llm: LLM):
    found = answers(llm, {"regex": "[a-z]{3,9}[0-9]{2}"}, n=4, temperature=1.8)
    assert all(re.fullmatch("[a-z]{3,9}[0-9]{2}", answer.text) for answer in found)
    assert len({answer.text for answer in found}) > 1


def test_neighbours_and_preemption_do_not_change_an_answer():
    form = {"json": LOOSE}
    with LLM(DEMO, max_model_len=200, max_num_seqs=4, num_gpu_blocks_override=8) as small:
        alone = answers(small, form, max_tokens=80, seed=3)[0].text
        prompts = ["The answer:"] * 4
        given = [params(form, max_tokens=80, seed=seed) for seed in (3, 4, 5, 6)]
        crowd = small.generate(prompts, given, use_tqdm=False)
        assert small.get_metrics()["preemptions"] > 0
    assert crowd[0].outputs[0].text == alone


def test_a_complete_form_ends_the_answer_whatever_else_is_asked(llm: LLM):
    for fields in ({"ignore_eos": True}, {"min_tokens": 50}):
        (answer,) = answers(llm, {"regex": "abc"}, **fields)
        assert (answer.text, answer.finish_reason) == ("abc", "stop")


def test_an_open_form_goes_on_while_it_may(llm: LLM):
    (answer,) = answers(llm, {"regex": "a+"}, ignore_eos=True, max_tokens=20)
    assert (len(answer.token_ids), answer.finish_reason) == (20, "length")
    (answer,) = answers(llm, {"regex": "(a|b)*"}, min_tokens=15, max_tokens=60, temperature=0.3)
    assert len(answer.token_ids) >= 15


def test_a_stop_string_still_stops(llm: LLM):
    (answer,) = answers(llm, {"regex": "left middle right"}, stop=["middle"])
    assert (answer.text, answer.stop_reason) == ("left ", "middle")


def test_log_probabilities_are_those_of_the_model_not_of_the_form(llm: LLM):
    free = llm.generate("A, B, C,", SamplingParams(temperature=0, max_tokens=1, logprobs=5),
                        use_tqdm=False)[0].outputs[0]  # fmt: skip
    bound = answers(llm, {"choice": ["zebra"]}, "A, B, C,", temperature=0, logprobs=5)[0]
    likely = {i: score.logprob for i, score in free.logprobs[0].items()}
    shown = {i: score.logprob for i, score in bound.logprobs[0].items() if i in likely}
    assert shown == pytest.approx(likely)


def test_fields_that_leave_no_token_fail_one_request(llm: LLM):
    token = llm.get_tokenizer().encode("q")[0]
    with pytest.raises(InvalidRequest, match="leave no token"):
        answers(llm, {"choice": ["zebra"]}, allowed_token_ids=[token])
    assert answers(llm, {"choice": ["zebra"]})[0].text == "zebra"


def test_reasoning_is_free_and_the_form_begins_after_it(llm: LLM):
    thought = Thought(("<think>",), ("</think>",), begun=True)
    form = StructuredOutputs(choice=["yes", "no"], thought=thought)
    given = SamplingParams(
        structured_outputs=form, temperature=0, max_tokens=60, skip_special_tokens=False
    )
    prompt = "<|im_start|>assistant\n<think>\nWhat is 2 + 2? It is 4.\n"
    text = llm.generate(prompt, given, use_tqdm=False)[0].outputs[0].text
    if "</think>" in text:
        assert re.search(r"</think>(yes|no)", text)
    optional = StructuredOutputs(
        choice=["yes", "no"], thought=Thought(("<think>",), ("</think>",), begun=False)
    )
    given = SamplingParams(structured_outputs=optional, temperature=0, max_tokens=60)
    text = llm.generate("Is it?", given, use_tqdm=False)[0].outputs[0].text
    assert text in ("yes", "no") or "<think>" in text


@pytest.fixture
def compiler() -> Iterator[GrammarCompiler]:
    made = compiler_with()
    yield made
    made.close()


def compiler_with(**limits: Any) -> GrammarCompiler:
    tokenizer = Tokenizer.load(DEMO)
    return GrammarCompiler(
        tokenizer, vocab_size=tokenizer.vocab_size, eos_ids=tokenizer.eos_ids, **limits
    )


def outcome(compiler: GrammarCompiler, form: StructuredOutputs) -> Any:
    compiler.begin(form.digest(), form)
    return ended(compiler).result


def ended(compiler: GrammarCompiler) -> Compiled:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := compiler.finished():
            return found[0]
        compiler.wait(1.0)
    raise AssertionError("a job never ended")


def test_a_killed_compiler_costs_one_request_at_most(compiler: GrammarCompiler):
    compiler.begin(SLOW.digest(), SLOW)
    over = threading.Event()

    def kill_all() -> None:
        while not over.is_set():
            for pid in compiler.pids:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_all)
    killer.start()
    result = ended(compiler).result
    over.set()
    killer.join()
    assert isinstance(result, InvalidRequest)
    assert isinstance(outcome(compiler, StructuredOutputs(regex="a+")), Grammar)


def test_one_death_of_the_compiler_costs_nothing(compiler: GrammarCompiler):
    assert isinstance(outcome(compiler, StructuredOutputs(regex="a+")), Grammar)
    (pid,) = compiler.pids
    os.kill(pid, signal.SIGKILL)
    assert isinstance(outcome(compiler, StructuredOutputs(regex="b+")), Grammar)


def test_a_grammar_compiled_twice_is_counted_once(compiler: GrammarCompiler):
    form = StructuredOutputs(regex="a+")
    assert isinstance(outcome(compiler, form), Grammar)
    size = compiler.cached_bytes
    assert isinstance(outcome(compiler, form), Grammar)
    assert compiler.cached_bytes == size > 0


def test_what_takes_too_long_is_given_up_and_the_next_one_compiles():
    compiler = compiler_with(grammar_s=0.05)
    assert isinstance(outcome(compiler, StructuredOutputs(regex="a+")), Grammar)
    result = outcome(compiler, SLOW)
    assert isinstance(result, InvalidRequest)
    assert "takes longer than 0.05 s" in str(result)
    assert isinstance(outcome(compiler, StructuredOutputs(regex="b+")), Grammar)
    compiler.close()


def test_a_job_that_nobody_waits_for_is_not_begun(compiler: GrammarCompiler):
    first, second, left, wanted = (StructuredOutputs(regex=f"{letter}+") for letter in "abcd")
    for form in (first, second, left, wanted):  # two workers begin: they start their children
        compiler.begin(form.digest(), form)
    compiler.drop(left.digest())
    done = set[bytes]()
    while len(done) < 3:
        compiler.wait(1.0)
        done.update(job.digest for job in compiler.finished())
    assert done == {form.digest() for form in (first, second, wanted)}
    assert compiler.find(left.digest()) is None
    assert isinstance(outcome(compiler, left), Grammar)


def test_the_cache_keeps_to_its_bytes_and_drops_the_oldest():
    compiler = compiler_with(cache_bytes=6000)
    forms = [StructuredOutputs(regex=f"[a-z]+{i}") for i in range(12)]
    for form in forms:
        assert isinstance(outcome(compiler, form), Grammar)
    assert 0 < compiler.cached_bytes <= 6000
    assert compiler.find(forms[0].digest()) is None
    assert compiler.find(forms[-1].digest()) is not None
    compiler.close()
