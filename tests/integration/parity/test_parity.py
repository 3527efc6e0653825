"""Greedy output equals transformers `generate` token for token, in float32, alone and in a crowd.

The engine gets little KV memory and a small token budget, so that the same tokens pass through
preemption, prefix hits, chunks and mixed steps; the counters prove that they did.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.kernels import cpu
from engine.runner.build import build_core
from engine.sampling_params import SamplingParams
from tests.integration.parity.checkpoints import CASES, VOCAB, Case, make_model
from tests.integration.parity.driver import run

BATCH, MAX_LEN = 32, 160
TIE_GAP = 1e-4  # below this the reference's own choice is rounding noise
Job = tuple[list[int], int]


@dataclass
class Subject:
    """One checkpoint with its reference and our engine on it."""

    case: Case
    reference: PreTrainedModel
    core: EngineCore
    jobs: list[Job]
    expected: list[list[int]]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    case: Case = request.param
    folder = tmp_path_factory.mktemp(case.name)
    torch.set_num_threads(1)
    reference = make_model(case, folder)
    core = build_core(config_for(folder, num_blocks=20))
    jobs = ragged_jobs()
    yield Subject(case, reference, core, jobs, [generate(reference, *job) for job in jobs])
    core.close()


def config_for(folder: Path, num_blocks: int) -> EngineConfig:
    return EngineConfig(
        model=str(folder),
        skip_tokenizer_init=True,
        max_num_seqs=BATCH,
        max_model_len=MAX_LEN,
        max_num_batched_tokens=40,
        block_size=16,
        num_gpu_blocks_override=num_blocks,
    )


def ragged_jobs() -> list[Job]:
    """Mostly short prompts that outgrow their blocks; some of three chunks, some with a prefix."""
    draw = random.Random(7)
    shared = [draw.randrange(VOCAB) for _ in range(48)]
    jobs = []
    for i in range(BATCH):
        longest = 120 if i % 8 == 1 else 14
        prompt = [draw.randrange(VOCAB) for _ in range(draw.randint(3, longest))]
        jobs.append((shared + prompt if i % 8 == 0 else prompt, draw.randint(20, 36)))
    return jobs


@torch.inference_mode()
def generate(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    _forget_length(model)
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False
    )
    found: list[int] = out[0, len(prompt) :].tolist()
    return found


def _forget_length(model: PreTrainedModel) -> None:
    """Dynamic rope in transformers remembers the longest sequence so far; a short one resets it."""
    model(torch.zeros((1, 2), dtype=torch.long))


def greedy(jobs: list[Job]) -> list[tuple[list[int], SamplingParams]]:
    return [
        (prompt, SamplingParams(temperature=0, max_tokens=count, ignore_eos=True))
        for prompt, count in jobs
    ]


def real_differences(subject: Subject, found: list[list[int]]) -> list[int]:
    """Jobs that differ where the reference's two best tokens were not a tie."""
    return [
        i
        for i, (ours, theirs) in enumerate(zip(found, subject.expected, strict=False))
        if ours != theirs and not _tied(subject, i, ours)
    ]


@torch.inference_mode()
def _tied(subject: Subject, i: int, ours: list[int]) -> bool:
    prompt, theirs = subject.jobs[i][0], subject.expected[i]
    at = next(k for k, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    _forget_length(subject.reference)
    logits = subject.reference(torch.tensor([prompt + theirs[:at]])).logits[0, -1]
    best = logits.topk(2).values
    return bool(best[0] - best[1] < TIE_GAP)


def test_reference_output_varies(subject: Subject) -> None:
    longest = max(subject.expected, key=len)
    assert len(set(longest)) >= 5
    assert len({tuple(tokens[:5]) for tokens in subject.expected}) >= BATCH // 2


def test_each_request_alone_equals_generate(subject: Subject) -> None:
    found = [run(subject.core, [job])[0].token_ids for job in greedy(subject.jobs[:6])]
    assert real_differences(subject, found) == []


def test_crowd_equals_generate_through_chunks_hits_and_preemption(subject: Subject) -> None:
    counters = subject.core.counters
    answers = run(subject.core, greedy(subject.jobs))
    assert [answer.error for answer in answers if answer.error] == []
    found = [answer.token_ids for answer in answers]
    differing = sum(a != b for a, b in zip(found, subject.expected, strict=True))
    assert real_differences(subject, found) == []
    assert differing <= BATCH // 100 + 1
    assert counters.preemptions >= 10
    assert counters.chunked_prompts > 0
    assert counters.mixed_steps >= 10
    assert (counters.prefix_hit_tokens > 0) is subject.case.prefix_caching


def test_logprobs_equal_the_reference(subject: Subject) -> None:
    prompt, count = subject.jobs[0]
    params = SamplingParams(
        temperature=0, max_tokens=count, ignore_eos=True, logprobs=4, prompt_logprobs=2
    )
    answer = run(subject.core, [(prompt, params)])[0]
    known = prompt + answer.token_ids
    with torch.inference_mode():
        _forget_length(subject.reference)
        scores = subject.reference(torch.tensor([known])).logits[0].log_softmax(-1)
    rows = [*answer.prompt_logprobs, *answer.logprobs]
    assert rows[0] is None
    if subject.case.name == "llama-dynamic" and len(known) > 64:
        return  # one pass over the whole text uses another rope base than generate does
    for position, row in enumerate(rows[1:], 1):
        assert row is not None
        assert row[0].token_id == known[position]
        for candidate in row:
            expected = float(scores[position - 1, candidate.token_id])
            assert candidate.logprob == pytest.approx(expected, abs=1e-4)
        better = int((scores[position - 1] > scores[position - 1, row[0].token_id]).sum())
        assert row[0].rank == better + 1


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        patch.setenv("PAGODA_CACHE_DIR", str(tmp_path / "empty"))
        yield
    cpu.configure()  # later tests find the library again


@pytest.mark.usefixtures("no_compiler")
def test_references_alone_give_the_same_text(tmp_path: Path) -> None:
    """The torch references are the whole CPU path where there is no C compiler."""
    case = next(case for case in CASES if case.name == "qwen3-layer-types")
    reference = make_model(case, tmp_path)
    core = build_core(config_for(tmp_path, num_blocks=20))
    assert cpu.library() is None
    jobs = ragged_jobs()[:10]
    answers = run(core, greedy(jobs))
    assert [a.token_ids for a in answers] == [generate(reference, *job) for job in jobs]
