"""Greedy, filter and Gumbel draws: right tokens, right distribution, the same numbers for ever."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.kernels.apply_masks import apply_masks_ref
from engine.kernels.cpu.bindings import CpuLibrary
from engine.kernels.sample_filter import sample_filter
from engine.kernels.sample_greedy import sample_greedy_ref
from engine.kernels.sample_gumbel import philox, sample_gumbel, sample_gumbel_ref

INF = float("inf")


@pytest.mark.parametrize("vocab", [1, 15, 16, 17, 1000])
def test_greedy_takes_the_first_of_the_largest(lib: CpuLibrary, vocab: int) -> None:
    torch.manual_seed(vocab)
    logits = torch.randint(-3, 4, (6, vocab)).float()
    assert torch.equal(lib.argmax(logits), sample_greedy_ref(logits))


def test_greedy_marks_rows_that_hold_nan_and_bears_infinity(lib: CpuLibrary) -> None:
    logits = torch.randn(3, 40)
    logits[0, 39] = float("nan")
    logits[1, :20] = -INF
    logits[2, 7] = INF
    for found in (lib.argmax(logits), sample_greedy_ref(logits)):
        assert found[0] == -1
        assert found[1] == logits[1].argmax()
        assert found[2] == 7


def test_philox_matches_the_known_answer() -> None:
    """Vector of the authors' kat_vectors file: all ones in, these four words out."""
    ones = np.full((1, 1), 0xFFFFFFFF, np.uint64)
    words = philox((ones, ones, ones, ones), (ones, ones))
    assert [int(w[0, 0]) for w in words] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_compiled_draw_equals_the_reference(lib: CpuLibrary) -> None:
    torch.manual_seed(3)
    logits = torch.randn(20, 501) * 3
    logits[:, 100:200] = -INF
    seeds = np.arange(20, dtype=np.uint64) * np.uint64(0x123456789ABCDEF)
    positions = np.arange(20, dtype=np.int64) + 5
    expected = sample_gumbel_ref(logits, seeds, positions)
    assert torch.equal(lib.sample_gumbel(logits, seeds, positions), expected)
    assert len(set(expected.tolist())) > 5


def test_draws_follow_the_probabilities() -> None:
    share = np.array([0.5, 0.25, 0.15, 0.1, 0.0])
    count = 4000
    logits = torch.from_numpy(np.log(share + 1e-30)).float().repeat(count, 1)
    tokens = sample_gumbel(logits, np.full(count, 11, np.uint64), np.arange(count)).numpy()
    found = np.bincount(tokens, minlength=5)
    expected = share[:4] * count
    assert found[4] == 0
    assert float(((found[:4] - expected) ** 2 / expected).sum()) < 16.27  # chi², 3 df, p = 0.001


def limits(k: int = -1, p: float = 1.0, m: float = 0.0) -> tuple[torch.Tensor, ...]:
    return torch.tensor([k]), torch.tensor([p]), torch.tensor([m])


def kept(logits: torch.Tensor) -> list[int]:
    return torch.isfinite(logits[0]).nonzero().flatten().tolist()


def test_filters_keep_what_their_names_say() -> None:
    logits = torch.tensor([[0.4, 0.05, 0.3, 0.15, 0.1]]).log()
    assert kept(sample_filter(logits.clone(), *limits())) == [0, 1, 2, 3, 4]
    assert kept(sample_filter(logits.clone(), *limits(k=2))) == [0, 2]
    assert kept(sample_filter(logits.clone(), *limits(p=0.69))) == [0, 2]
    assert kept(sample_filter(logits.clone(), *limits(p=0.71))) == [0, 2, 3]
    assert kept(sample_filter(logits.clone(), *limits(p=1e-6))) == [0]
    assert kept(sample_filter(logits.clone(), *limits(m=0.3))) == [0, 2, 3]
    assert kept(sample_filter(logits.clone(), *limits(k=3, p=0.8))) == [0, 2]  # 0.47 + 0.35 of 0.85


@pytest.mark.parametrize("k", [1, 40, 1500])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.95, 0.9999, 1.0])
def test_filter_equals_a_full_sort_on_a_large_vocabulary(k: int, p: float) -> None:
    torch.manual_seed(k)
    logits = torch.randn(3, 5000)
    found = sample_filter(
        logits.clone(), torch.tensor([k, -1, k]), torch.tensor([p, p, 1.0]), torch.zeros(3)
    )
    for row, (top, share) in enumerate([(k, p), (5000, p), (k, 1.0)]):
        order = logits[row].argsort(descending=True)[:top]
        probs = logits[row][order].double().softmax(-1)
        count = int((probs.cumsum(0) - probs < share).sum())
        assert abs(int(torch.isfinite(found[row]).sum()) - count) <= 1  # float32 sums at the edge
        assert torch.isfinite(found[row][order[: count - 1]]).all()


@pytest.mark.parametrize("vocab", [1, 15, 16, 17, 31, 33, 1000])
def test_a_mask_takes_out_what_its_bits_leave_out(lib: CpuLibrary, vocab: int) -> None:
    draws, words = np.random.default_rng(vocab), -(-vocab // 32)
    masks = draws.integers(-(2**31), 2**31, (5, words), np.int64).astype(np.int32)
    masks[2], masks[3] = 0, -1
    if vocab % 32:  # bits past the vocabulary stand for nothing
        masks[2, -1] = -1 << (vocab % 32)
    places, rows = np.array([4, 0, 2, 1]), np.array([2, 4, 3, 0])
    logits = torch.randn(6, vocab)
    logits[0, 0] = float("nan")
    expected, found = logits.clone(), logits.clone()
    alive = apply_masks_ref(expected, masks, places, rows)
    assert lib.apply_masks(found, masks, places, rows).tolist() == alive.tolist()
    assert torch.equal(found.nan_to_num(nan=9.0), expected.nan_to_num(nan=9.0))
    assert not alive[0]
    assert (found[4] == -INF).all()
    assert torch.equal(found[[2, 3, 5]], logits[[2, 3, 5]])
    one = [v for v in range(vocab) if masks[0, v // 32] >> v % 32 & 1]
    assert torch.equal(torch.isfinite(found[1]).nonzero()[:, 0], torch.tensor(one).long())
