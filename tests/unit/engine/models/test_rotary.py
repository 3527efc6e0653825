"""Frequencies of every rope kind against the published formulas, worked out in float64."""

from __future__ import annotations

import math

import pytest
import torch

from engine.layers.rotary import Rotary, dynamic_frequencies, inverse_frequencies
from engine.models.spec import RopeSpec

DIM, THETA = 64, 10000.0
CPU = torch.device("cpu")


def rope(kind: str, **values: float) -> RopeSpec:
    known = {"theta": THETA, "dim": DIM, "trained_len": 64, "original_len": 64} | values
    return RopeSpec(kind=kind, **known)  # type: ignore[arg-type]


def plain(theta: float = THETA) -> list[float]:
    return [theta ** (-2 * i / DIM) for i in range(DIM // 2)]


def test_linear_divides_every_frequency() -> None:
    found = inverse_frequencies(rope("linear", factor=4.0)).tolist()
    assert found == pytest.approx([f / 4 for f in plain()], rel=1e-5)


def test_dynamic_is_plain_up_to_the_trained_length_and_slower_after() -> None:
    short, long = dynamic_frequencies(rope("dynamic", factor=2.0), torch.tensor([64, 128])).tolist()
    assert short == pytest.approx(plain(), rel=1e-5)
    base = THETA * (2.0 * 128 / 64 - 1) ** (DIM / (DIM - 2))
    assert long == pytest.approx(plain(base), rel=1e-5)


def test_llama3_keeps_short_waves_and_divides_long_ones() -> None:
    found = inverse_frequencies(
        rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
    ).tolist()
    for got, before in zip(found, plain(), strict=True):
        wave = 2 * math.pi / before
        if wave < 64 / 4:
            assert got == pytest.approx(before, rel=1e-5)
        elif wave > 64:
            assert got == pytest.approx(before / 8, rel=1e-5)
        else:
            smooth = (64 / wave - 1) / 3
            assert got == pytest.approx((1 - smooth) * before / 8 + smooth * before, rel=1e-4)


def test_yarn_stretches_only_slow_dimensions_and_scales_the_result() -> None:
    yarn = rope("yarn", factor=4.0, attention_factor=1.5)
    found = inverse_frequencies(yarn).tolist()
    assert found[0] == pytest.approx(plain()[0], rel=1e-6)
    assert found[-1] == pytest.approx(plain()[-1] / 4, rel=1e-5)
    cos, sin = Rotary(yarn, 8, CPU).rows(torch.tensor([0]))
    assert cos.tolist() == [pytest.approx([1.5] * (DIM // 2))]
    assert sin.tolist() == [[0.0] * (DIM // 2)]


def test_dynamic_rows_follow_the_length_given() -> None:
    rotary = Rotary(rope("dynamic", factor=2.0), 128, CPU)
    assert rotary.dynamic
    at = torch.tensor([10, 10])
    cos, _ = rotary.rows(at, torch.tensor([20, 128]))
    assert not torch.equal(cos[0], cos[1])
    assert torch.equal(cos[0], rotary.table_cos[10])
