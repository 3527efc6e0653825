"""Greedy output equals transformers `generate` token for token, in float32, alone and in a crowd.

The engine gets little KV memory and a small token budget, so that the same tokens pass through
preemption, prefix hits, chunks and mixed steps; the counters prove that they did.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
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
DIFFERING: dict[str, int] = {}  # sequences of each checkpoint that differ, over a tie


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
    yield Subject(case, reference, core, jobs, generate_all(reference, jobs))
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
    """Mostly short prompts that outgrow their blocks; some of three chunks, some with a prefix
    of 48 tokens, one with nearly that prefix.

    Every shape occurs four times, so that the reference computes four of them at once, unpadded.
    """
    draw = random.Random(7)
    shared = [draw.randrange(VOCAB) for _ in range(48)]
    lengths = [draw.randint(3, 14) for _ in range(6)] + [draw.randint(85, 118), 57]
    counts = [draw.randint(20, 36) for _ in lengths]
    jobs = []
    for i in range(BATCH):
        length, count = lengths[i % 8], counts[i % 8]
        prompt = [draw.randrange(VOCAB) for _ in range(length)]
        if i % 8 == 7:
            prompt[:48] = shared
        if i == 31:
            prompt[31] = (prompt[31] + 1) % VOCAB  # the last token of a block differs
        jobs.append((prompt, count))
    return jobs


def generate_all(model: PreTrainedModel, jobs: list[Job]) -> list[list[int]]:
    """The reference's output of each job, jobs of one shape together."""
    found: dict[int, list[int]] = {}
    shapes = {(len(prompt), count) for prompt, count in jobs}
    for length, count in shapes:
        where = [i for i, (prompt, n) in enumerate(jobs) if (len(prompt), n) == (length, count)]
        texts = generate(model, [jobs[i][0] for i in where], count)
        found |= zip(where, texts, strict=True)
    return [found[i] for i in range(len(jobs))]


@torch.inference_mode()
def generate(model: PreTrainedModel, prompts: list[list[int]], count: int) -> list[list[int]]:
    """Greedy output of prompts of one length."""
    _forget_length(model)
    ids = torch.tensor(prompts)
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False
    )
    found: list[list[int]] = out[:, ids.shape[1] :].tolist()
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
    found = [run(subject.core, [job])[0].token_ids for job in greedy(subject.jobs[:8])]
    assert real_differences(subject, found) == []


def test_crowd_equals_generate_through_chunks_hits_and_preemption(subject: Subject) -> None:
    subject.core.reset_prefix_cache()
    before = msgspec.structs.asdict(subject.core.counters)
    answers = run(subject.core, greedy(subject.jobs))
    assert [answer.error for answer in answers if answer.error] == []
    found = [answer.token_ids for answer in answers]
    assert real_differences(subject, found) == []
    DIFFERING[subject.case.name] = sum(map(operator.ne, found, subject.expected))
    assert sum(DIFFERING.values()) <= len(CASES) * BATCH // 100, DIFFERING
    after = msgspec.structs.asdict(subject.core.counters)
    gained = {name: after[name] - before[name] for name in after}
    assert gained["preemptions"] >= 10
    assert gained["chunked_prompts"] > 0
    assert gained["mixed_steps"] >= 10
    assert (gained["prefix_hit_tokens"] > 0) is subject.case.prefix_caching
    assert gained["prompt_tokens"] == sum(len(prompt) for prompt, _ in subject.jobs)
    assert gained["generation_tokens"] == sum(count for _, count in subject.jobs)


def test_logprobs_equal_the_reference(subject: Subject) -> None:
    """The prompt's from one pass over it, the output's from the steps of `generate`."""
    prompt, count = subject.jobs[7]
    params = SamplingParams(
        temperature=0, max_tokens=count, ignore_eos=True, logprobs=4, prompt_logprobs=2
    )
    answer = run(subject.core, [(prompt, params)])[0]
    assert answer.token_ids == subject.expected[7]
    assert answer.prompt_logprobs[0] is None
    rows = [*answer.prompt_logprobs[1:], *answer.logprobs]
    scores = reference_scores(subject.reference, prompt, count)
    for scores_V, token, row in zip(scores, [*prompt[1:], *answer.token_ids], rows, strict=True):
        assert row is not None
        assert row[0].token_id == token
        for candidate in row:
            assert candidate.logprob == pytest.approx(float(scores_V[candidate.token_id]), abs=1e-4)
        assert row[0].rank == int((scores_V > scores_V[token]).sum()) + 1


@torch.inference_mode()
def reference_scores(model: PreTrainedModel, prompt: list[int], count: int) -> torch.Tensor:
    """Log-softmax that predicts each prompt token but the first, then each output token."""
    _forget_length(model)
    ids = torch.tensor([prompt])
    whole = model(ids).logits[0, :-1]
    _forget_length(model)
    steps = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return torch.cat([whole, *steps.logits]).log_softmax(-1)


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
    assert [a.token_ids for a in answers] == generate_all(reference, jobs)
