"""Turns sampled tokens into what a client gets: deltas, finish reasons, gathered logprobs."""

from __future__ import annotations

from engine.messages import ChoiceDelta, Finish, TokenLogprob
from engine.request import Sequence
from engine.sampling_params import RepetitionDetection


def accept_token(
    sequence: Sequence, token_id: int, logprobs: list[TokenLogprob] | None
) -> ChoiceDelta:
    """Append a sampled token and decide whether the choice ends with it.

    The ending token counts and is part of `token_ids`; `keep_chars` tells how much text to show
    where stop strings are in play (None: all of it).
    """
    tokens = sequence.tokens
    tokens.append(token_id)
    sequence.request.completion_tokens += 1
    delta = ChoiceDelta(sequence.index, [token_id])
    if logprobs is not None:
        delta.logprobs = [logprobs]
    if sequence.matcher is not None or token_id in sequence.stop_ids:
        _match_stops(sequence, token_id, delta)
    detection = sequence.params.repetition_detection
    if detection is not None and delta.finish is None and repeats(sequence, detection):
        delta.finish = Finish.REPETITION
        delta.keep_chars = None
    if delta.finish is None and len(tokens) >= sequence.max_len:
        delta.finish = Finish.LENGTH
        delta.keep_chars = None
    return delta


def repeats(sequence: Sequence, detection: RepetitionDetection) -> bool:
    """Whether the generated tokens end with one pattern, `min_count` times in a row."""
    tokens, last = sequence.tokens, sequence.tokens[-1]
    longest = min(detection.max_pattern_size, sequence.num_output // detection.min_count)
    for size in range(detection.min_pattern_size, longest + 1):
        if tokens[-1 - size] != last:
            continue
        tail = tokens[-size * detection.min_count :]
        if tail[size:] == tail[:-size]:
            return True
    return False


def _match_stops(sequence: Sequence, token_id: int, delta: ChoiceDelta) -> None:
    """Set finish and reason for a stop id or a stop string, once min_tokens are out."""
    params = sequence.params
    grammar = sequence.request.grammar
    may_stop = sequence.num_output > params.min_tokens
    if grammar is not None and token_id in grammar.words.eos_ids:
        may_stop = True  # its mask lets the end come only where nothing else may
    if may_stop and token_id in sequence.stop_ids:
        delta.finish = Finish.STOP
        delta.stop_reason = token_id if token_id in params.stop_token_ids else None
        return
    if sequence.matcher is None:
        return
    match = sequence.matcher.push(token_id, may_stop=may_stop)
    if match is None:
        delta.keep_chars = sequence.matcher.safe_chars()
        return
    delta.finish, delta.stop_reason = Finish.STOP, match.stop
    delta.keep_chars = match.keep_chars


def gather_prompt_logprobs(
    sequence: Sequence, position: int, scores: list[list[TokenLogprob]]
) -> None:
    """Store what the step computed from `position` on; entry i predicts token position + i + 1."""
    table = sequence.request.prompt_logprobs
    assert table is not None
    prompt = table[sequence.family.prompt_idx]
    for i, candidates in enumerate(scores, position + 1):
        if i < sequence.prompt_len:
            prompt[i] = candidates
