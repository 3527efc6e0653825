"""The slots as the runner sees them: what each holds, and which tokens of a step use which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.kernels.add_norm import add_norm
from engine.kernels.gated_activation import silu_mul
from engine.kernels.lora_delta import TILE_TOKENS, LoraTable, lora_delta
from engine.kernels.lora_plan import LoraTiles, make_tiles
from engine.lora.layout import GROUPS, linear_shapes
from engine.lora.weights import HostAdapter
from engine.models.spec import ModelSpec
from engine.scheduler.plan import SlotChange


class SlotBank:
    """Slots of a CPU: they hold no copies, only the addresses of what lies in host memory.

    A slot keeps its adapter's memory alive until it gets another or is cleared.
    """

    def __init__(self, spec: ModelSpec, hosts: Mapping[str, HostAdapter], num_slots: int) -> None:
        self._hosts, self._num_slots = hosts, num_slots
        shapes = linear_shapes(spec)
        self._shapes = {
            group: (shapes[parts[0]][1], tuple(shapes[part][0] for part in parts))
            for group, parts in GROUPS.items()
        }
        self._num_layers = spec.num_layers
        self._tables: list[dict[str, LoraTable]] = []  # by layer; made for the first adapter

    def change(self, changes: Sequence[SlotChange]) -> None:
        """Fill and clear slots, in order."""
        if changes and not self._tables:
            self._tables = [
                {
                    group: LoraTable(self._num_slots, num_in, widths)
                    for group, (num_in, widths) in self._shapes.items()
                }
                for _ in range(self._num_layers)
            ]
        for change in changes:
            host = None if change.digest is None else self._hosts[change.digest]
            for i, tables in enumerate(self._tables):
                for group, table in tables.items():
                    table.put(change.slot, None if host is None else host.layers[i][group])

    def step(
        self, slots: NDArray[np.int32], num_tokens: NDArray[np.int32], out_rows: Tensor | None
    ) -> LoraStep:
        """The plan of one step: `slots` [S] per row, -1 for base rows."""
        slot_T = np.repeat(slots, num_tokens)
        tiles = make_tiles(slot_T, TILE_TOKENS)
        out_tiles = tiles
        if out_rows is not None:
            out_tiles = make_tiles(slot_T[out_rows.numpy()], TILE_TOKENS)
        return LoraStep(self._tables, tiles, out_tiles)


@dataclass(frozen=True, slots=True)
class LoraStep:
    """What the forward pass adds to the base model's linears in one step."""

    tables: list[dict[str, LoraTable]]
    tiles: LoraTiles
    out_tiles: LoraTiles  # of the tokens whose hidden state is wanted

    def shrink(self, layer: int, group: str, x_TK: Tensor, *, out: bool) -> Tensor:
        """Left to `expand`: one call of the compiled kernel does both halves."""
        return x_TK

    def expand(self, layer: int, group: str, narrow: Tensor, y_TN: Tensor, *, out: bool) -> None:
        tiles = self.out_tiles if out else self.tiles
        lora_delta(y_TN, narrow, self.tables[layer][group], tiles)

    def add_norm(
        self,
        layer: int,
        group: str,
        narrow: Tensor,
        x_TE: Tensor,
        residual_TE: Tensor,
        weight_E: Tensor,
        eps: float,
        *,
        out: bool,
    ) -> Tensor:
        self.expand(layer, group, narrow, x_TE, out=out)
        return add_norm(x_TE, residual_TE, weight_E, eps)

    def gate(self, layer: int, narrow: Tensor, gate_up_TF: Tensor, *, out: bool) -> Tensor:
        self.expand(layer, "gate_up", narrow, gate_up_TF, out=out)
        return silu_mul(gate_up_TF)
