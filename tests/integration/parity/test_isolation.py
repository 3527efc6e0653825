"""What one request leaves in memory reaches no other: blocks without an owner are filled with NaN
after every step, and tenants find nothing of each other's prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.messages import EventKind, QueueBody
from engine.runner.build import build_core
from engine.runner.runner import ModelRunner
from engine.sampling_params import SamplingParams
from tests.integration.parity.checkpoints import CASES, make_model
from tests.integration.parity.driver import run
from tests.integration.parity.test_parity import greedy, ragged_jobs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("isolation")
    make_model(CASES[0], made)
    return made


def core_of(folder: Path) -> EngineCore:
    """A cache so small that blocks change their owners all the time."""
    return build_core(
        EngineConfig(
            model=str(folder), skip_tokenizer_init=True, max_num_seqs=8, block_size=16,
            num_gpu_blocks_override=40, max_num_batched_tokens=64, num_threads=1,
        )
    )  # fmt: skip


class Poisoned:
    """A core whose ownerless blocks hold NaN whenever a step begins."""

    def __init__(self, core: EngineCore) -> None:
        assert isinstance(core.runner, ModelRunner)
        self.core, self.blocks = core, 0
        self._tensors = [*core.runner._cache.keys, *core.runner._cache.values]
        self._poison()

    def submit(self, body: QueueBody) -> None:
        self.core.submit(body)

    def has_work(self) -> bool:
        return self.core.has_work()

    def step(self) -> list[object]:
        out = self.core.step()
        self._poison()
        return list(out)

    def _poison(self) -> None:
        cache = self.core._cache
        owned = zip(cache.uses(), cache.findable(), strict=True)
        free = [block for block, (uses, found) in enumerate(owned) if not uses and not found]
        self.blocks += len(free)
        for tensor in self._tensors:
            tensor[torch.tensor(free, dtype=torch.int64)] = torch.nan


def test_nan_in_every_block_without_an_owner_changes_no_answer(folder: Path) -> None:
    jobs = greedy(ragged_jobs()[:12])
    clean = run(core_of(folder), jobs)
    poisoned = Poisoned(core_of(folder))
    assert run(poisoned, jobs) == clean  # type: ignore[arg-type]
    assert poisoned.blocks > 100


def test_a_tenant_finds_its_own_prefixes_and_nobody_elses(folder: Path) -> None:
    core, prompt = core_of(folder), list(range(100))
    cached = {}
    for name, salt in (("a", b"one"), ("b", b"other"), ("a again", b"one"), ("c", b"")):
        core.submit(
            QueueBody(
                rid=name, attempt=1, web="w", model="m", prompts=[prompt], salt=salt,
                params=SamplingParams(temperature=0, max_tokens=2), deadline_ms=0,
            )
        )  # fmt: skip
        while core.has_work():
            for delta in core.step():
                if delta.kind is EventKind.END and delta.counts is not None:
                    cached[delta.rid] = delta.counts.cached_tokens
    assert cached == {"a": 0, "b": 0, "a again": 96, "c": 0}
