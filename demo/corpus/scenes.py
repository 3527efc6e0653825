"""Draws scenes: what happened, who is who, what things measure, with questions and fields.

A second scene of the same form can stand beside the first as a distractor: families take the form
from a random source of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from demo.corpus.core import Split
from demo.corpus.deeds import deed, needs, order, reason, trait
from demo.corpus.people import kin, profile
from demo.corpus.scene import Family, Scene
from demo.corpus.world import house, kept, measure, record, trip, work

FAMILIES: tuple[Family, ...] = (
    deed, deed, deed, trait, measure, measure, profile, profile, kin, kin, kept, kept, work, house, trip, order, reason, needs, record,
)  # fmt: skip


def scene(rng: Random, split: Split) -> tuple[Scene, Callable[[], Scene]]:
    """A scene, and a source of further ones of the same form."""
    family, form = rng.choice(FAMILIES), rng.random()
    return family(rng, split, Random(form)), lambda: family(rng, split, Random(form))
