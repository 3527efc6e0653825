"""Streams with fewer, larger chunks."""

from __future__ import annotations

from engine.messages import ChoiceDelta


class Pacer:
    """Holds the tokens of each choice back until there are `interval`; the first goes at once."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._held: dict[int, ChoiceDelta] = {}
        self._begun: set[int] = set()

    def take(self, choices: list[ChoiceDelta]) -> list[ChoiceDelta]:
        """What may be sent now."""
        out = []
        for choice in choices:
            if (held := self._held.pop(choice.index, None)) is not None:
                held.extend(choice)
                choice = held
            enough = len(choice.token_ids) >= self._interval or choice.index not in self._begun
            if enough or choice.finish is not None:
                self._begun.add(choice.index)
                out.append(choice)
            else:
                self._held[choice.index] = choice
        return out
