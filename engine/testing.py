"""`FakeCore`: a core without a model, for tests and for measuring everything around the engine.

Tokens depend only on the prompt, the choice and the position, so that two runs can be compared.
`python -m engine.testing` is a whole engine daemon with it in place of a model.
"""

from __future__ import annotations

import json
import time
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.core_contract import ADAPTER_WAIT_S, Gauges
from engine.errors import EngineStartError, InvalidRequest, PagodaError
from engine.lora.check import CONFIG
from engine.lora.manager import AdapterLimits, AdapterManager
from engine.messages import (
    AdapterBeat,
    AdapterSource,
    ChoiceDelta,
    Counts,
    Delta,
    EngineCounters,
    ErrorInfo,
    EventKind,
    Finish,
    QueueBody,
)
from engine.step_figures import StepFigures
from engine.view import CoreView, RequestLook
from engine.wire_errors import describe

BLOCK_TOKENS = 16
SPARE_BLOCKS = 256  # that its view shows as free
DEFAULT_MAX_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeSpeed:
    """How fast the fake engine is."""

    step_delay_s: float = 0.0
    tokens_per_step: int = 1  # of each running choice
    max_num_seqs: int = 256
    vocab_size: int = 256
    max_model_len: int = 32768


@dataclass(slots=True)
class _Choice:
    index: int
    crc: int
    limit: int
    made: int = 0
    finish: Finish | None = None


@dataclass(slots=True)
class _Request:
    body: QueueBody
    submitted: float
    seq: int = 0
    started: float | None = None
    first_token: float | None = None
    choices: list[_Choice] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FakeAdapter:
    """Stands for an adapter's weights: the rank its config names."""

    rank: int
    nbytes: int = 1

    @classmethod
    def read(cls, source: AdapterSource) -> FakeAdapter:
        """Raises `EngineStartError` for a folder that is no adapter."""
        try:
            rank = json.loads((Path(source.path) / CONFIG).read_text(encoding="utf-8"))["r"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise EngineStartError(f"{CONFIG} cannot be read: {error}.", "Add it again.") from None
        return cls(int(rank))


def fake_token(crc: int, position: int, vocab_size: int) -> int:
    """Token at `position` of a choice; the same for ever."""
    return zlib.crc32(position.to_bytes(4, "little"), crc) % vocab_size


class FakeCore:
    """Obeys the contract of `engine.core.Core`: STARTED, DELTA…, then END or REFUSED once."""

    def __init__(self, speed: FakeSpeed = FakeSpeed()) -> None:
        self.counters = EngineCounters()
        self.figures = StepFigures()
        self.speed = speed
        self._adapters = AdapterManager(
            AdapterLimits(max_loras=256, max_rank=256), FakeAdapter.read
        )
        self.max_model_len = speed.max_model_len
        self.kv_tokens = speed.max_num_seqs * speed.max_model_len
        self.card = None
        self.chats = False
        self.asleep = False
        self._waiting: deque[_Request] = deque()
        self._running: dict[str, _Request] = {}
        self._out: list[Delta] = []

    def submit(self, body: QueueBody) -> None:
        if (known := self._find(body.rid)) is not None:
            if known.body.attempt >= body.attempt:
                return
            self._end(known, Finish.LOST)
        request = _Request(body, time.monotonic())
        try:
            self._check(body)
            if body.adapter is not None:
                self._adapters.accept(body.adapter)
        except PagodaError as error:
            self._refuse(request, error)
            return
        n, limit = body.params.n, body.params.max_tokens or DEFAULT_MAX_TOKENS
        for prompt_idx, prompt in enumerate(body.prompts):
            for choice in range(n):
                seed = (prompt, choice) if body.adapter is None else (prompt, choice, body.adapter)
                crc = zlib.crc32(repr(seed).encode())
                request.choices.append(_Choice(prompt_idx * n + choice, crc, limit))
        self._waiting.append(request)

    def cancel(self, rid: str, finish: Finish) -> None:
        if (request := self._find(rid)) is not None:
            self.counters.aborted += 1
            self._end(request, finish)

    def load_adapter(self, source: AdapterSource) -> None:
        self._adapters.register(source)

    def unload_adapter(self, digest: str) -> None:
        self._adapters.unregister(digest)

    def adapters(self) -> list[AdapterBeat]:
        return self._adapters.beats()

    def step(self) -> list[Delta]:
        self._tend_adapters()
        self._admit()
        if self._running and self.speed.step_delay_s:
            time.sleep(self.speed.step_delay_s)
        for request in list(self._running.values()):
            self._advance(request)
        if not self._running and not self._out:
            self._adapters.wait(ADAPTER_WAIT_S)
        self.counters.steps += 1
        out, self._out = self._out, []
        return out

    def has_work(self) -> bool:
        return bool(self._waiting or self._running or self._out or self._adapters.has_work)

    def gauges(self) -> Gauges:
        used = sum(self._blocks(request) for request in list(self._running.values()))
        total = self.speed.max_num_seqs * self.speed.max_model_len // BLOCK_TOKENS
        return Gauges(
            running=self._width(self._running.values()),
            waiting=self._width(self._waiting),
            blocks_total=total,
            blocks_free=total - used,
            blocks_cached=0,
            lora_slots_used=self._adapters.slots_used,
            lora_slots_total=self._adapters.slots_total,
        )

    def reset_prefix_cache(self) -> None:
        """There is none."""

    def sleep(self) -> None:
        if self.has_work():
            raise InvalidRequest("Requests are still running: let them end before sleep.")
        self.asleep = True

    def wake_up(self) -> None:
        self.asleep = False

    def view(self) -> CoreView:
        """Blocks are made up: each request's follow those of the one before."""
        looks, used = [], 0
        for request in [*self._running.values(), *self._waiting]:
            running = request.started is not None
            size = self._blocks(request) if running else 0
            counts = self._counts(request)
            width = request.body.width
            looks.append(
                RequestLook(
                    rid=request.body.rid,
                    adapter=request.body.adapter or "",
                    running=width if running else 0,
                    waiting=0 if running else width,
                    prompt_tokens=counts.prompt_tokens,
                    output_tokens=counts.completion_tokens,
                    age_ms=counts.total_ms,
                    tables=[list(range(used, used + size))],
                )
            )
            used += size
        uses = [1] * used + [0] * SPARE_BLOCKS
        return CoreView(BLOCK_TOKENS, uses, [False] * len(uses), looks)

    def credit(self) -> int:
        seqs = self.speed.max_num_seqs
        free = seqs - self._width(self._running.values())
        return max(0, free + max(16, seqs // 4) - self._width(self._waiting))

    def _check(self, body: QueueBody) -> None:
        if not body.prompts or not all(body.prompts):
            raise InvalidRequest("There is no prompt: send at least one token.", param="prompt")
        longest = max(map(len, body.prompts))
        if longest >= self.speed.max_model_len:
            raise InvalidRequest(
                f"The prompt has {longest} tokens, the model takes {self.speed.max_model_len}.",
                param="prompt",
            )

    def _admit(self) -> None:
        room = self.speed.max_num_seqs - self._width(self._running.values())
        self._adapters.begin_pass()
        for request in list(self._waiting):
            if request.body.width > room and self._running:
                return
            adapter = request.body.adapter
            if adapter is not None:
                if not self._adapters.can_seat(adapter):
                    continue
                self._adapters.seat(adapter)
            self._waiting.remove(request)
            room -= request.body.width
            request.started = time.monotonic()
            self._running[request.body.rid] = request
            self.counters.prompt_tokens += sum(map(len, request.body.prompts))
            self._emit(request, EventKind.STARTED)

    def _advance(self, request: _Request) -> None:
        if request.first_token is None:
            request.first_token = time.monotonic()
        deltas = [self._more(choice) for choice in request.choices if choice.finish is None]
        if all(choice.finish is not None for choice in request.choices):
            self.counters.finished += 1
            self._forget(request)
            self._emit(request, EventKind.END, deltas)
        else:
            self._emit(request, EventKind.DELTA, deltas)

    def _more(self, choice: _Choice) -> ChoiceDelta:
        until = min(choice.limit, choice.made + self.speed.tokens_per_step)
        positions = range(choice.made, until)
        tokens = [fake_token(choice.crc, p, self.speed.vocab_size) for p in positions]
        choice.made = until
        choice.finish = Finish.LENGTH if until == choice.limit else None
        self.counters.generation_tokens += len(tokens)
        return ChoiceDelta(choice.index, tokens, finish=choice.finish)

    def _end(self, request: _Request, finish: Finish) -> None:
        deltas = [ChoiceDelta(c.index, [], finish=finish) for c in request.choices if not c.finish]
        self._forget(request)
        self._emit(request, EventKind.END, deltas)

    def _refuse(self, request: _Request, error: PagodaError) -> None:
        self.counters.failed += 1
        self._emit(request, EventKind.REFUSED, error=describe(error))

    def _emit(
        self,
        request: _Request,
        kind: EventKind,
        choices: list[ChoiceDelta] | None = None,
        error: ErrorInfo | None = None,
    ) -> None:
        body = request.body
        delta = Delta(body.rid, body.attempt, request.seq, kind, choices or [], error=error)
        if kind in (EventKind.END, EventKind.REFUSED):
            delta.counts = self._counts(request)
        request.seq += 1
        self._out.append(delta)

    def _counts(self, request: _Request) -> Counts:
        now = time.monotonic()

        def ms(at: float | None) -> int:
            return 0 if at is None else round((at - request.submitted) * 1000)

        return Counts(
            prompt_tokens=sum(map(len, request.body.prompts)),
            completion_tokens=sum(choice.made for choice in request.choices),
            queue_ms=ms(request.started if request.started is not None else now),
            ttft_ms=ms(request.first_token),
            total_ms=ms(now),
        )

    def _find(self, rid: str) -> _Request | None:
        if rid in self._running:
            return self._running[rid]
        return next((request for request in self._waiting if request.body.rid == rid), None)

    def _forget(self, request: _Request) -> None:
        adapter = request.body.adapter
        if self._running.pop(request.body.rid, None) is not None:
            if adapter is not None:
                self._adapters.unseat(adapter)
        elif request in self._waiting:
            self._waiting.remove(request)
        if adapter is not None:
            self._adapters.leave(adapter)

    def _tend_adapters(self) -> None:
        for digest, error in self._adapters.poll():
            for request in list(self._waiting):
                if request.body.adapter == digest:
                    self._forget(request)
                    self._refuse(request, error)
        self._adapters.take_changes()  # nothing here has slots to fill

    def _blocks(self, request: _Request) -> int:
        prompt = max(map(len, request.body.prompts))
        return sum(-(-(prompt + choice.made) // BLOCK_TOKENS) for choice in request.choices)

    @staticmethod
    def _width(requests: Iterable[_Request]) -> int:
        return sum(request.body.width for request in list(requests))


if __name__ == "__main__":
    from engine.daemon import main_of_fake

    raise SystemExit(main_of_fake())
