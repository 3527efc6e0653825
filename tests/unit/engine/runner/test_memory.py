"""The memory plan: defaults that fit the machine, refusals that hold the numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from engine.config import EngineConfig
from engine.errors import EngineStartError
from engine.models.spec import ModelSpec
from engine.runner.memory import (
    GPU,
    MIB,
    SLACK_BYTES,
    MemoryPlan,
    free_memory,
    plan_memory,
    workspace_bytes,
)
from tests.unit.engine.runner.plans import SPEC

GIB = 1 << 30
TOKEN = SPEC.kv_bytes_per_token(4)


def plan(free: int = 8 * GIB, weights: int = 100 * MIB, **options: Any) -> MemoryPlan:
    return plan_memory(
        EngineConfig(**options), SPEC, weight_bytes=weights, kv_itemsize=4, free_bytes=free
    )


def test_default_holds_every_sequence_at_full_length() -> None:
    found = plan(max_num_seqs=10)
    assert found.block_size == 32
    assert found.num_blocks == 10 * 2
    assert found.max_model_len == SPEC.max_len


def test_default_stays_under_a_quarter_of_free_memory() -> None:
    found = plan(free=500 * MIB, weights=10 * MIB, max_num_seqs=4096)
    assert found.kv_bytes <= 125 * MIB
    assert plan(max_num_seqs=4096, free=64 * GIB).kv_bytes <= GIB


def test_default_fits_what_weights_and_workspace_leave() -> None:
    rest = SLACK_BYTES + workspace_bytes(4096, 512, SPEC, SPEC.max_len)
    found = plan(free=700 * MIB + rest, weights=690 * MIB, max_num_seqs=4096)
    assert 9 * MIB < found.kv_bytes <= 10 * MIB


def test_workspace_grows_with_rows_vocabulary_and_budget() -> None:
    def size(max_num_seqs: int = 256, tokens: int = 512, spec: ModelSpec = SPEC) -> int:
        return workspace_bytes(max_num_seqs, tokens, spec, SPEC.max_len)

    wide = dataclasses.replace(SPEC, vocab_size=128_256)
    assert size(256, spec=wide) - size(16, spec=wide) == 240 * 128_256 * 16
    assert size(tokens=8192) > size()
    assert size(256, spec=wide) > 4 * 256 * 128_256 * 4


def test_a_gpu_takes_all_that_is_left_in_blocks_of_64() -> None:
    found = plan_memory(
        EngineConfig(max_num_seqs=4096), SPEC, weight_bytes=100 * MIB, kv_itemsize=4,
        free_bytes=1200 * MIB, kind=GPU,
    )  # fmt: skip
    assert (found.block_size, found.max_num_batched_tokens) == (64, 8192)
    assert found.kv_bytes > 25 * MIB
    with pytest.raises(EngineStartError, match="block_size 48 does not work on a GPU"):
        plan_memory(
            EngineConfig(block_size=48), SPEC, weight_bytes=0, kv_itemsize=4, free_bytes=8 * GIB,
            kind=GPU,
        )  # fmt: skip


def test_bytes_and_blocks_that_were_asked_for_are_taken() -> None:
    assert plan(num_gpu_blocks_override=7).num_blocks == 7
    assert plan(kv_cache_memory_bytes=5 * 32 * TOKEN + 1).num_blocks == 5


def test_default_context_is_cut_to_the_cache() -> None:
    assert plan(num_gpu_blocks_override=2, block_size=16).max_model_len == 32


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"max_model_len": 65}, "64 positions"),
        ({"max_model_len": 64, "num_gpu_blocks_override": 2, "block_size": 16}, "at most 32"),
        ({"kv_cache_memory_bytes": 100}, "holds 0 blocks"),
        ({"kv_cache_memory_bytes": 9 * GIB}, "9216 MiB"),
        ({"weights": 9 * GIB}, "9216 MiB"),
    ],
)
def test_what_cannot_fit_is_refused_with_numbers(options: dict[str, Any], word: str) -> None:
    with pytest.raises(EngineStartError, match=word):
        plan(**options)


def test_this_machine_has_free_memory() -> None:
    assert free_memory() > 0


def test_a_length_beyond_the_model_needs_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    longer = 2 * SPEC.max_len
    with pytest.raises(EngineStartError, match="PAGODA_ALLOW_LONG_MAX_MODEL_LEN"):
        plan(max_model_len=longer)
    monkeypatch.setenv("PAGODA_ALLOW_LONG_MAX_MODEL_LEN", "true")
    assert plan(max_model_len=longer).max_model_len == longer
