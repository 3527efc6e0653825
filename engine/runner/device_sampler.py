"""The sampler of a GPU: settings of every row on the host, draws and counts on the device.

A step whose rows have neither filters nor constraints is one captured graph: vocabulary projection
and draw. Any other step projects in a graph too, then adjusts, filters and draws with launches of
its own. Rows whose mask depends on the token before (grammar, bad words, minimum length, reasoning
budget) make the step wait for that token; their masks are filled while the forward pass runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import PagodaError
from engine.kernels.sample_gumbel import make_draw_buffers, sample_draw_gpu
from engine.kernels.sample_logits import ADJUSTED, FILTERED, SampleRows
from engine.kernels.sample_step import sample_step, token_logprobs
from engine.messages import TokenLogprob
from engine.runner.constraints import Constraints, Encode, needs_constraints
from engine.runner.grammar_rows import GrammarRows
from engine.runner.sampler import chosen_and_named, chosen_first
from engine.runner.step_buffers import NUM_SETTINGS, DrawFields
from engine.sampling_params import SamplingParams
from engine.scheduler.plan import RowStart

BIAS_WIDTHS = (16, 128, 1024)  # biases a row of the table holds: few, each compiles a kernel
FLAGS, TABLE, TEMPERATURE, TOP_K, TOP_P, MIN_P, REPETITION, FREQUENCY, PRESENCE = range(9)
_SEED_MASK = 2**64 - 1


@dataclass(slots=True)
class _Tables:
    """Per batch row, for those with constraints; made when the first of them comes."""

    uses: Tensor  # [rows, V] int32
    allowed: Tensor  # [rows, words] int32
    bias_ids: Tensor  # [rows, K] int32
    bias: Tensor  # [rows, K] float32


class DeviceSampler:
    """Rows are the batch's. `draws` is where the device finds the sampled rows of a step, and
    `last_tokens` [rows + 1] where the next step finds their tokens."""

    def __init__(
        self,
        rows: int,
        vocab_size: int,
        device: torch.device,
        draws: DrawFields[Tensor],
        last_tokens: Tensor,
        encode: Encode | None = None,
    ) -> None:
        self._vocab_size, self._encode, self._device = vocab_size, encode, device
        self._rows = rows
        self._settings = np.zeros((NUM_SETTINGS, rows), np.int32)
        self._reals = self._settings.view(np.float32)
        self._seeds = np.zeros(rows, np.int64)
        self._constraints: dict[int, Constraints] = {}
        self._scored: dict[int, SamplingParams] = {}
        self.grammars = GrammarRows(rows, vocab_size)
        self._draws, self._last_tokens = draws, last_tokens
        self.tokens = torch.zeros(rows, dtype=torch.int64, device=device)
        self._buffers = make_draw_buffers(rows, vocab_size, device)
        self._tables = self._no_tables()
        self._has_tables = False

    def start(self, start: RowStart) -> None:
        row, params, reals = start.row, start.params, self._reals
        self.end(row)
        filtered = params.top_k > 0 or params.top_p < 1.0 or params.min_p > 0.0
        reals[TEMPERATURE, row] = 0.0 if params.greedy else params.temperature
        self._settings[TOP_K, row] = min(params.top_k, self._vocab_size)
        reals[TOP_P, row], reals[MIN_P, row] = params.top_p, params.min_p
        reals[REPETITION, row] = params.repetition_penalty
        reals[FREQUENCY, row] = params.frequency_penalty
        reals[PRESENCE, row] = params.presence_penalty
        self._seeds[row] = np.uint64(start.seed & _SEED_MASK).astype(np.int64)
        self.grammars.start(start)
        constrained = needs_constraints(params) or row in self.grammars
        if constrained:
            self._constraints[row] = Constraints(start, self._vocab_size, self._encode)
            self._fill_tables(start)
        self._settings[TABLE, row] = row if constrained else -1
        flags = ADJUSTED | FILTERED if filtered and not params.greedy else 0
        self._settings[FLAGS, row] = flags | (ADJUSTED if constrained else 0)
        if params.scored:
            self._scored[row] = params

    def end(self, row: int) -> None:
        self._settings[FLAGS, row] = 0
        self._constraints.pop(row, None)
        self._scored.pop(row, None)
        self.grammars.end(row)

    @property
    def follows_tokens(self) -> bool:
        """Some row's next mask depends on the token before."""
        return any(c.follows_tokens or row in self.grammars for row, c in self._constraints.items())

    def is_plain(self, rows: NDArray[np.int32]) -> bool:
        """One graph does for these rows."""
        if self._scored and not self._scored.keys().isdisjoint(rows.tolist()):
            return False
        return not self._settings[FLAGS, rows].any()

    def write(
        self,
        fields: DrawFields[NDArray[np.int64]],
        rows: NDArray[np.int32],
        places: NDArray[np.int32],
    ) -> None:
        """Lay the rows' settings out for the device; the rest draws for nobody."""
        count = len(rows)
        fields.seeds[:count] = self._seeds[rows]
        fields.places[:count] = places
        fields.rows[:count] = rows
        fields.rows[count:] = self._rows
        np.take(self._settings, rows, axis=1, out=fields.settings[:, :count], mode="clip")

    def draw_plain(self, logits_SV: Tensor) -> None:
        """For a graph: one launch over raw logits, and the tokens to their rows."""
        count = logits_SV.shape[0]
        sample_draw_gpu(self.tokens[:count], logits_SV, self._sample_rows(count), self._buffers)
        self._feed_back(count)

    def draw(self, logits_SV: Tensor, rows: NDArray[np.int32]) -> Drawn:
        """With everything the rows ask for."""
        count = logits_SV.shape[0]
        failed = self._send_masks(rows)
        on_device = self._sample_rows(count)
        sample_step(self.tokens[:count], logits_SV, on_device, self._buffers)
        self._feed_back(count)
        self._count_uses(rows)
        drawn = Drawn(failed=failed)
        for i, row in enumerate(rows.tolist()):
            if row in self._scored:
                drawn.asked.append((i, self._scored[row]))
        if drawn.asked:
            picked = torch.tensor([i for i, _ in drawn.asked]).pin_memory()
            picked = picked.to(self._device, non_blocking=True)
            named = _named_ids([params for _, params in drawn.asked]).pin_memory()
            named = named.to(self._device, non_blocking=True)
            most = min(max(params.logprobs or 0 for _, params in drawn.asked), self._vocab_size)
            scores = token_logprobs(logits_SV[picked], self.tokens[picked], most, named)
            drawn.scores = tuple(part.to("cpu", non_blocking=True) for part in scores)
        return drawn

    def followers(self, rows: NDArray[np.int32]) -> list[tuple[int, Constraints]]:
        """Index and state of the rows that must be told their token."""
        if not self._constraints:
            return []
        pairs = ((i, self._constraints.get(row)) for i, row in enumerate(rows.tolist()))
        return [(i, found) for i, found in pairs if found is not None]

    def _feed_back(self, count: int) -> None:
        self._last_tokens.index_copy_(0, self._draws.rows[:count], self.tokens[:count])

    def _sample_rows(self, count: int) -> SampleRows:
        settings = self._draws.settings[:, :count]
        reals, tables = settings.view(torch.float32), self._tables
        return SampleRows(
            flags=settings[FLAGS],
            table_row=settings[TABLE],
            temperature=reals[TEMPERATURE],
            top_k=settings[TOP_K],
            top_p=reals[TOP_P],
            min_p=reals[MIN_P],
            repetition=reals[REPETITION],
            frequency=reals[FREQUENCY],
            presence=reals[PRESENCE],
            seeds=self._draws.seeds[:count],
            positions=self._draws.places[:count],
            uses=tables.uses,
            allowed=tables.allowed,
            bias_ids=tables.bias_ids,
            bias=tables.bias,
        )

    def _make_tables(self) -> _Tables:
        rows, words = self._rows, (self._vocab_size + 31) // 32
        ints: dict[str, Any] = {"dtype": torch.int32, "device": self._device}
        return _Tables(
            uses=torch.zeros((rows, self._vocab_size), **ints),
            allowed=torch.full((rows, words), -1, **ints),
            bias_ids=torch.full((rows, BIAS_WIDTHS[0]), -1, **ints),
            bias=torch.zeros(rows, BIAS_WIDTHS[0], device=self._device),
        )

    def _no_tables(self) -> _Tables:
        """What launches are given while no row has constraints: nothing reads it."""
        none = torch.zeros((1, 1), dtype=torch.int32, device=self._device)
        return _Tables(none, none, none, none.float())

    def _fill_tables(self, start: RowStart) -> None:
        """Seat a row with constraints: what its text has used, its bias, its lasting mask."""
        row, constraints = start.row, self._constraints[start.row]
        if not self._has_tables:
            self._tables, self._has_tables = self._make_tables(), True
        tables, count = self._tables, len(constraints.bias_ids)
        if (wanted := next(w for w in BIAS_WIDTHS if w >= count)) > tables.bias_ids.shape[1]:
            missing = wanted - tables.bias_ids.shape[1]
            tables.bias_ids = F.pad(tables.bias_ids, (0, missing), value=-1)
            tables.bias = F.pad(tables.bias, (0, missing))
        tables.bias_ids[row] = -1
        if len(constraints.bias_ids):
            ids = torch.from_numpy(constraints.bias_ids.astype(np.int32))
            tables.bias_ids[row, : len(ids)] = ids.to(self._device)
            tables.bias[row, : len(ids)] = torch.from_numpy(constraints.bias).to(self._device)
        tables.allowed[row] = torch.from_numpy(constraints.mask()).to(self._device)
        if start.params.needs_penalties:
            tables.uses[row] = torch.from_numpy(constraints.uses()).to(self._device)

    def _send_masks(self, rows: NDArray[np.int32]) -> dict[int, PagodaError]:
        """Bring the masks of rows that follow their tokens up to date. Failures by index."""
        masks, failed = self.grammars.take(rows)
        for i, constraints in self.followers(rows):
            row = int(rows[i])
            if constraints.follows_tokens:
                own = constraints.mask()
                masks[row] = own & masks[row] if row in masks else own
        if masks:
            places = torch.tensor(list(masks)).pin_memory().to(self._device, non_blocking=True)
            stacked = torch.from_numpy(np.stack(list(masks.values()))).pin_memory()
            on_device = stacked.to(self._device, non_blocking=True)
            self._tables.allowed.index_copy_(0, places, on_device)
        return failed

    def _count_uses(self, rows: NDArray[np.int32]) -> None:
        """Add the drawn tokens to the rows' counts; rows without penalties count for nothing."""
        if not any(c.penalises for _, c in self.followers(rows)):
            return
        count = len(rows)
        flat = self._draws.rows[:count] * self._vocab_size + self.tokens[:count].clamp(min=0)
        drawn = self.tokens[:count] >= 0
        self._tables.uses.view(-1).index_add_(0, flat, 2 * drawn.int())


def _named_ids(asked: list[SamplingParams]) -> Tensor:
    """[S, K] `logprob_token_ids` of each, filled up with 0."""
    lists = [params.logprob_token_ids or [] for params in asked]
    ids_SK = torch.zeros((len(lists), max(map(len, lists))), dtype=torch.int64)
    for ids_K, ids in zip(ids_SK, lists, strict=True):
        ids_K[: len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return ids_SK


@dataclass(slots=True)
class Drawn:
    """What a draw leaves to be read once the step is over."""

    failed: dict[int, PagodaError]
    asked: list[tuple[int, SamplingParams]] = field(default_factory=list)  # index of row
    scores: tuple[Tensor, ...] = ()

    def logprobs(self, token_ids: NDArray[np.int64]) -> dict[int, list[TokenLogprob]]:
        """By index: the chosen token, then those that the request names or the likeliest."""
        if not self.asked:
            return {}
        chosen, ranks, values, ids, named = (part.tolist() for part in self.scores)
        found: dict[int, list[TokenLogprob]] = {}
        for j, (i, params) in enumerate(self.asked):
            token = int(token_ids[i])
            if token < 0:
                continue
            mine = TokenLogprob(token, chosen[j], ranks[j])
            if (names := params.logprob_token_ids) is not None:
                found[i] = chosen_and_named(mine, names, named[j][: len(names)])
            else:
                count = params.logprobs or 0
                found[i] = chosen_first(mine, ids[j][:count], values[j][:count])
        return found
