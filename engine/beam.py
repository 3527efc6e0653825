"""Beam search above the engine: one request outside, a request of one token per step inside.

Each step asks for the likeliest next tokens of every live beam at once; the prefix cache keeps what
the beams share, so a step computes a block's rest per beam. Scores are the summed raw
log-probabilities of the generated tokens, divided by their number to the power of `length_penalty`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.messages import (
    ChoiceDelta,
    Counts,
    Delta,
    ErrorInfo,
    EventKind,
    Finish,
    QueueBody,
    TokenLogprob,
)
from engine.sampling_params import SamplingParams


@dataclass(frozen=True, slots=True)
class Beam:
    """Generated tokens, each with its log-probability."""

    rows: tuple[TokenLogprob, ...] = ()
    ids: tuple[int, ...] = ()  # of the same tokens
    total: float = 0.0
    stopped: int | None = None  # the token that ended it

    def with_token(self, row: TokenLogprob, stops: frozenset[int]) -> Beam:
        token_id = row.token_id
        stopped = token_id if token_id in stops else None
        return Beam((*self.rows, row), (*self.ids, token_id), self.total + row.logprob, stopped)

    def score(self, penalty: float) -> float:
        length = len(self.rows) - (self.stopped is not None)
        return float(self.total / max(1, length) ** penalty)


@dataclass(slots=True)
class PromptBeams:
    """The beams of one prompt."""

    prompt: list[int]
    width: int
    penalty: float
    max_tokens: int
    stops: frozenset[int]
    live: list[Beam] = field(default_factory=lambda: [Beam()])
    ended: list[Beam] = field(default_factory=list)

    def advance(self, candidates: list[list[TokenLogprob]]) -> None:
        """Go on with the best of what may follow each live beam."""
        grown = [
            (beam.total + row.logprob, beam, row)
            for beam, rows in zip(self.live, candidates, strict=True)
            for row in rows
        ]
        grown.sort(key=lambda one: -one[0])
        best = [beam.with_token(row, self.stops) for _, beam, row in grown[: 2 * self.width]]
        self.ended = self._ranked([*self.ended, *(b for b in best if b.stopped is not None)])
        self.live = [beam for beam in best if beam.stopped is None][: self.width]
        if self.live and (len(self.live[0].rows) >= self.max_tokens or self._decided()):
            self.ended += self.live
            self.live = []

    def best(self) -> list[Beam]:
        return self._ranked(self.ended)

    def leading(self) -> list[Beam]:
        """The best so far: what a search that is cut short has to show for its work."""
        return self._ranked([*self.ended, *self.live])

    def _ranked(self, beams: list[Beam]) -> list[Beam]:
        return sorted(beams, key=lambda beam: -beam.score(self.penalty))[: self.width]

    def _decided(self) -> bool:
        """Whether no live beam can still come among the best: its sum only falls."""
        if len(self.ended) < self.width:
            return False
        top = self.live[0]
        length = self.max_tokens if self.penalty > 0 else len(top.rows)
        most = float(top.total / length**self.penalty)
        return most <= self.best()[-1].score(self.penalty)


@dataclass(slots=True)
class Search:
    """One request outside."""

    body: QueueBody
    prompts: list[PromptBeams]
    began_s: float
    steps: int = 0
    num_events: int = 0
    started_s: float | None = None
    first_token_s: float | None = None
    cached_tokens: int = 0
    choices: dict[int, list[TokenLogprob]] = field(default_factory=dict)  # of the step under way

    def delta(self, kind: EventKind) -> Delta:
        self.num_events += 1
        return Delta(self.body.rid, self.body.attempt, self.num_events - 1, kind)

    def counts(self, now_s: float) -> Counts:
        def ms(at_s: float | None) -> int:
            return 0 if at_s is None else max(0, round((at_s - self.began_s) * 1000))

        return Counts(
            prompt_tokens=sum(len(beams.prompt) for beams in self.prompts),
            cached_tokens=self.cached_tokens,
            completion_tokens=sum(len(b.rows) for p in self.prompts for b in p.leading()),
            queue_ms=ms(self.started_s),
            ttft_ms=ms(self.first_token_s),
            total_ms=ms(now_s),
        )


class BeamSearches:
    """All searches of one engine. `submit` and `cancel` are the engine's own."""

    def __init__(
        self,
        submit: Callable[[QueueBody], None],
        cancel: Callable[[str, Finish], None],
        closed: Callable[[QueueBody], None],
        *,
        eos_ids: frozenset[int],
        room: Callable[[list[int]], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`closed` is told of each search that has ended; `room`: how many tokens may follow a
        prompt."""
        self._submit, self._cancel, self._closed = submit, cancel, closed
        self._eos_ids, self._room = eos_ids, room
        self._clock = clock
        self._searches: dict[str, Search] = {}
        self._inner: dict[str, Search] = {}  # by the rid inside

    def __len__(self) -> int:
        return len(self._searches)

    def attempt(self, rid: str) -> int:
        """Which attempt at a request is under way here; 0: none."""
        search = self._searches.get(rid)
        return 0 if search is None else search.body.attempt

    def begin(self, body: QueueBody) -> None:
        """Take a request whose fields were checked."""
        params = body.params
        stops = frozenset(params.stop_token_ids)
        if not params.ignore_eos:
            stops |= self._eos_ids
        prompts = [
            PromptBeams(
                prompt,
                params.n,
                params.length_penalty,
                self._room(prompt) if params.max_tokens is None else params.max_tokens,
                stops,
            )
            for prompt in body.prompts
        ]
        search = self._searches[body.rid] = Search(body, prompts, self._clock())
        self._next(search)

    def cancel(self, rid: str, finish: Finish) -> Delta | None:
        """End a search; its last event, or None when there is none of this id."""
        if (search := self._searches.get(rid)) is None:
            return None
        inner = self._inner_rid(search)
        self._inner.pop(inner, None)
        self._cancel(inner, finish)
        self._close(search)
        last = search.delta(EventKind.END)
        last.choices = [ChoiceDelta(i, [], finish=finish) for i in range(search.body.width)]
        last.counts = search.counts(self._clock())
        return last

    def take(self, deltas: list[Delta]) -> list[Delta]:
        """The engine's events, with those inside searches replaced by what these make of them."""
        out: list[Delta] = []
        for delta in deltas:
            if (search := self._inner.get(delta.rid)) is not None:
                out += self._step(search, delta)
            elif not is_inner(delta.rid):  # of a search that was cancelled
                out.append(delta)
        return out

    def _step(self, search: Search, delta: Delta) -> list[Delta]:
        if delta.kind is EventKind.STARTED:
            if search.started_s is not None:
                return []
            search.started_s = self._clock()
            return [search.delta(EventKind.STARTED)]
        for choice in delta.choices:
            if choice.logprobs:
                search.choices[choice.index] = choice.logprobs[0]
        if delta.kind is EventKind.REFUSED:
            return [self._failed(search, delta.error)]
        return self._advanced(search, delta) if delta.kind is EventKind.END else []

    def _advanced(self, search: Search, delta: Delta) -> list[Delta]:
        del self._inner[delta.rid]
        if search.first_token_s is None:
            search.first_token_s = self._clock()
            search.cached_tokens = 0 if delta.counts is None else delta.counts.cached_tokens
        at = 0
        for beams in search.prompts:
            if beams.live:
                size = len(beams.live)
                beams.advance([search.choices[i] for i in range(at, at + size)])
                at += size
        search.choices.clear()
        if any(beams.live for beams in search.prompts):
            self._next(search)
            return []
        return [self._ended(search)]

    def _next(self, search: Search) -> None:
        """Ask for what may follow each live beam."""
        search.steps += 1
        width = search.body.params.n
        body = QueueBody(
            rid=self._inner_rid(search),
            attempt=1,
            web="",
            model=search.body.model,
            prompts=[[*beams.prompt, *beam.ids] for beams in search.prompts for beam in beams.live],
            params=SamplingParams(
                max_tokens=1, temperature=0.0, logprobs=2 * width, ignore_eos=True, detokenize=False
            ),
            adapter=search.body.adapter,
            priority=search.body.priority,
            salt=search.body.salt,
            deadline_ms=search.body.deadline_ms,
        )
        self._inner[body.rid] = search
        self._submit(body)

    def _ended(self, search: Search) -> Delta:
        last = search.delta(EventKind.END)
        width = search.body.params.n
        for prompt_idx, beams in enumerate(search.prompts):
            for place, beam in enumerate(beams.best()):
                last.choices.append(_choice(prompt_idx * width + place, beam, self._eos_ids))
        last.counts = search.counts(self._clock())
        self._close(search)
        return last

    def _failed(self, search: Search, error: ErrorInfo | None) -> Delta:
        last = search.delta(EventKind.REFUSED)
        last.error, last.counts = error, search.counts(self._clock())
        self._close(search)
        del self._inner[self._inner_rid(search)]
        return last

    def _close(self, search: Search) -> None:
        del self._searches[search.body.rid]
        self._closed(search.body)

    def _inner_rid(self, search: Search) -> str:
        return f"{search.body.rid}{_MARK}{search.body.attempt}.{search.steps}"


_MARK = "#beam"


def is_inner(rid: str) -> bool:
    """Whether a request is a step of a search."""
    return _MARK in rid


def _choice(index: int, beam: Beam, eos_ids: frozenset[int]) -> ChoiceDelta:
    choice = ChoiceDelta(index, [row.token_id for row in beam.rows])
    choice.logprobs = [[row] for row in beam.rows]
    choice.finish = Finish.LENGTH if beam.stopped is None else Finish.STOP
    if beam.stopped is not None and beam.stopped not in eos_ids:
        choice.stop_reason = beam.stopped
    return choice
