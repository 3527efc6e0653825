"""With adapters, greedy output equals peft + transformers token for token, in float32.

Alone, and in a crowd that mixes adapters of all rank buckets with base rows under little KV memory,
a small token budget and few slots: chunks, prefix hits, preemption and slot changes all happen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest
import torch

from engine.core import EngineCore
from engine.lora.bank import SlotBank
from engine.lora.device_bank import DeviceBank
from engine.messages import AdapterSource, QueueBody
from engine.runner.build import build_core
from engine.sampling_params import SamplingParams
from tests.integration.parity.checkpoints import CASES as CHECKPOINTS
from tests.integration.parity.checkpoints import VOCAB, make_model
from tests.integration.parity.peft_adapters import CASES, PeftReference, make_adapter
from tests.integration.parity.test_parity import TIE_GAP, config_for

Job = tuple[str | None, list[int], int]  # adapter, prompt, tokens wanted
NAMES = [None, *(case.name for case in CASES)]


@dataclass
class Subject:
    reference: PeftReference
    core: EngineCore
    sources: dict[str, AdapterSource]
    jobs: list[Job]


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    folder = tmp_path_factory.mktemp("lora")
    torch.set_num_threads(1)
    base = make_model(next(c for c in CHECKPOINTS if c.name == "qwen3-layer-types"), folder)
    folders = {case.name: folder / case.name for case in CASES}
    sources = {case.name: make_adapter(base, case, folders[case.name]) for case in CASES}
    config = replace(config_for(folder, num_blocks=20), max_loras=2, max_lora_rank=256)
    core = build_core(config)
    for source in sources.values():
        core.load_adapter(source)
    reference = PeftReference(base, folders)
    yield Subject(reference, core, sources, mixed_jobs())
    core.close()


def mixed_jobs() -> list[Job]:
    """Three jobs an adapter: a short prompt, one that starts like everybody's, and a long one.

    Prompts of the first two kinds are the same for all, so that outputs can be told apart and a
    prefix computed with one adapter must not serve another.
    """
    draw = random.Random(3)
    short, shared, long = ([draw.randrange(VOCAB) for _ in range(n)] for n in (9, 50, 97))
    jobs: list[Job] = []
    for name in NAMES:
        jobs += [(name, short, 24), (name, shared, 20), (name, [*shared[:48], *long[48:]], 12)]
    draw.shuffle(jobs)
    return jobs


def run(subject: Subject, jobs: list[Job]) -> list[list[int]]:
    """All jobs at once; tokens of each."""
    core, found = subject.core, [list[int]() for _ in jobs]
    for i, (name, prompt, count) in enumerate(jobs):
        params = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True)
        digest = None if name is None else subject.sources[name].digest
        core.submit(
            QueueBody(
                rid=str(i), attempt=1, web="w", model="m", prompts=[prompt], params=params,
                adapter=digest, deadline_ms=0,
            )
        )  # fmt: skip
    while core.has_work():
        for delta in core.step():
            assert delta.error is None, delta.error
            for choice in delta.choices:
                found[int(delta.rid)] += choice.token_ids
    return found


@torch.inference_mode()
def wrong(subject: Subject, jobs: list[Job], found: list[list[int]]) -> list[str]:
    """Jobs with a token that is not the reference's best for the text before it, or tied with it.

    One pass of the reference over prompt and output judges every token of the output at once.
    """
    bad = []
    for (name, prompt, count), tokens in zip(jobs, found, strict=True):
        assert len(tokens) == count
        logits = subject.reference.use(name)(torch.tensor([prompt + tokens[:-1]])).logits[0]
        scores_TV = logits[len(prompt) - 1 :]
        ours = scores_TV.gather(1, torch.tensor(tokens)[:, None])[:, 0]
        lost = (scores_TV.amax(1) - ours).tolist()
        if max(lost) >= TIE_GAP:
            bad.append(f"{name}: {tokens} lacks {lost}")
    return bad


def test_each_adapter_alone_equals_peft_and_speaks_in_its_own_way(subject: Subject) -> None:
    """All outputs of a prompt differ from the base's and from each other within 8 tokens."""
    found = []
    for job in subject.jobs:
        subject.core.reset_prefix_cache()
        found += run(subject, [job])
    assert wrong(subject, subject.jobs, found) == []
    for prompt in {tuple(prompt) for _, prompt, _ in subject.jobs}:
        starts = {
            tuple(tokens[:8])
            for job, tokens in zip(subject.jobs, found, strict=True)
            if tuple(job[1]) == prompt
        }
        assert len(starts) == len(NAMES)


def test_crowd_of_adapters_equals_peft(subject: Subject) -> None:
    subject.core.reset_prefix_cache()
    before = msgspec.structs.asdict(subject.core.counters)
    assert wrong(subject, subject.jobs, run(subject, subject.jobs)) == []
    gained = {k: v - before[k] for k, v in msgspec.structs.asdict(subject.core.counters).items()}
    assert gained["preemptions"] > 0
    assert gained["chunked_prompts"] > 0
    assert gained["mixed_steps"] > 0
    assert gained["prefix_hit_tokens"] > 0
    gauges = subject.core.gauges()
    assert gauges.lora_slots_used <= gauges.lora_slots_total < len(CASES)


def test_equal_prefixes_of_other_adapters_are_never_shared(subject: Subject) -> None:
    """One adapter after the other on one prompt: only a repetition finds its prefix."""
    subject.core.reset_prefix_cache()
    jobs = [job for job in subject.jobs if len(job[1]) == 50]
    hits = subject.core.counters.prefix_hit_tokens
    for job in jobs:
        run(subject, [job])
    assert subject.core.counters.prefix_hit_tokens == hits
    run(subject, jobs[-1:])
    assert subject.core.counters.prefix_hit_tokens == hits + 48


def test_a_shuffled_slot_map_is_noticed(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, method = (DeviceBank, "plan") if torch.cuda.is_available() else (SlotBank, "step")
    right = getattr(kind, method)

    def shuffled(self: object, slots: np.ndarray, *rest: object, **named: object) -> object:
        swapped = np.where(slots >= 0, slots ^ 1, slots).astype(np.int32)
        return right(self, swapped, *rest, **named)

    monkeypatch.setattr(kind, method, shuffled)
    subject.core.reset_prefix_cache()
    try:
        assert (
            len(wrong(subject, subject.jobs, run(subject, subject.jobs))) >= len(subject.jobs) // 2
        )
    finally:
        subject.core.reset_prefix_cache()
