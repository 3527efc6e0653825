"""The layers between a trunk and an answer: classifiers, reward heads, Dense modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import EngineStartError
from engine.kernels.add_norm import add_layer_norm
from engine.kernels.gated_activation import activate
from engine.kernels.packed_gemm import PackedWeight, pack, packed_gemm
from engine.models.checkpoint import Checkpoint
from engine.models.encoder_spec import EncoderSpec
from engine.pooling.card import DenseModule, PoolingCard, architecture, is_encoder


@dataclass(slots=True, kw_only=True)
class Layer:
    """x [S, E] → activation(x · Wᵀ + b), then a layer norm where there is one."""

    weight: PackedWeight
    activation: str = "identity"
    norm: tuple[Tensor, Tensor | None, float] | None = None  # weight, bias, eps

    def __call__(self, x_SE: Tensor) -> Tensor:
        out = activate(packed_gemm(x_SE.contiguous(), self.weight), self.activation)
        return out if self.norm is None else add_layer_norm(None, out, *self.norm)


@dataclass(frozen=True, slots=True)
class HeadNames:
    """Where a class head lies in a checkpoint; biases are there or not."""

    out: str
    dense: str | None = None
    activation: str = "tanh"
    norm: str | None = None

    def tensors(self) -> list[str]:
        found = [f"{n}.weight" for n in (self.out, self.dense, self.norm) if n is not None]
        return found + [f"{n}.bias" for n in (self.out, self.dense, self.norm) if n is not None]


def head_names(config: Mapping[str, Any], spec: EncoderSpec | None) -> HeadNames:
    """The class head of an architecture."""
    name = architecture(config)
    if not is_encoder(config):
        if name.endswith("RewardModel"):
            return HeadNames("score.2", dense="score.0", activation="relu")
        return HeadNames("score")
    if spec is not None and spec.modern:
        return HeadNames("classifier", "head.dense", spec.head_activation, "head.norm")
    if name.endswith("ForTokenClassification"):
        return HeadNames("classifier")
    if name.startswith("Bert"):
        return HeadNames("classifier", dense="pooler.dense")
    return HeadNames("classifier.out_proj", dense="classifier.dense")


def load_head(
    names: HeadNames, card: PoolingCard, source: Checkpoint, eps: float
) -> tuple[Layer, ...]:
    """Raises `EngineStartError` when head and labels do not fit each other."""
    missing = [f"{n}.weight" for n in (names.out, names.dense, names.norm) if n is not None]
    missing = [name for name in missing if name not in source.shapes]
    if missing:
        raise EngineStartError(
            f"The checkpoint has no {', '.join(missing)}.", "Download the checkpoint again."
        )
    classes = source.shapes[f"{names.out}.weight"][0]
    if classes != len(card.labels):
        raise EngineStartError(
            f"The class head has {classes} outputs and config.json names {len(card.labels)}.",
            "Correct id2label or num_labels in config.json.",
        )
    layers = [] if names.dense is None else [_layer(source, names.dense, names.activation)]
    if names.norm is not None:
        layers[-1].norm = (
            source.read(f"{names.norm}.weight").float(),
            _optional(source, f"{names.norm}.bias"),
            eps,
        )
    return (*layers, _layer(source, names.out, "identity"))


def load_dense(folder: Path, module: DenseModule) -> Layer:
    """A Dense module of sentence-transformers. Raises `EngineStartError`."""
    source = Checkpoint(folder / module.folder)
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (module.num_out, module.num_in)}
    if module.bias:
        shapes["linear.bias"] = (module.num_out,)
    source.check(shapes)
    return _layer(source, "linear", module.activation)


def _layer(source: Checkpoint, name: str, activation: str) -> Layer:
    weight = source.read(f"{name}.weight").float()
    return Layer(weight=pack(weight, _optional(source, f"{name}.bias")), activation=activation)


def _optional(source: Checkpoint, name: str) -> torch.Tensor | None:
    return source.read(name).float() if name in source.shapes else None
