"""What a pooling request asks of the engine. Travels in `QueueBody.pooling`."""

from __future__ import annotations

from enum import StrEnum

import msgspec

TASKS = ("auto", "generate", "embed", "classify", "score", "reward")  # of a model


class PoolingTask(StrEnum):
    """The first two give a vector per prompt, the others one per token."""

    EMBED = "embed"
    CLASSIFY = "classify"
    TOKEN_EMBED = "token_embed"
    TOKEN_CLASSIFY = "token_classify"

    @property
    def per_token(self) -> bool:
        return self in (PoolingTask.TOKEN_EMBED, PoolingTask.TOKEN_CLASSIFY)


def names_of(tasks: frozenset[PoolingTask]) -> str:
    return ", ".join(sorted(tasks))


class PoolingParams(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One for all prompts of a request. `activate` None means: as the model's files say.

    Of an embedding the activation is its normalisation, of a class score softmax or sigmoid.
    """

    task: PoolingTask = PoolingTask.EMBED
    dimensions: int | None = None  # leading values to keep, before they are normalised
    activate: bool | None = None
    second_at: list[int] = []  # per prompt: where the second text of a pair begins, 0: no pair
