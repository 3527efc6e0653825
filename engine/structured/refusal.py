"""What the checks of this folder raise; `StructuredOutputs` makes an `InvalidRequest` of it."""

from __future__ import annotations


class Refusal(ValueError):
    """A predicate about the caller's field, without its name and full stop: "has no rule root"."""
