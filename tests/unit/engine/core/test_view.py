"""The look into a core: owners, shared and cached blocks, bounded whatever the cache holds."""

from __future__ import annotations

import numpy as np
import pytest

from engine.view import (
    CACHED,
    FIRST_REQUEST,
    FREE,
    MOST_CELLS,
    MOST_REQUESTS,
    CoreView,
    EngineView,
    RequestLook,
)
from engine.view_builder import view_of
from tests.unit.engine.fakes import make_harness


def look(rid: str, *tables: list[int], running: int = 1, age_ms: int = 0) -> RequestLook:
    return RequestLook(rid, "", running, 0, 4, 2, age_ms, list(tables))


def owners(view: EngineView) -> list[int]:
    return np.frombuffer(view.owners, "<u2").tolist()


def test_each_block_names_its_owner_and_its_place():
    view = view_of("e", 7, CoreView(16, [1, 2, 0, 1, 0], [True, True, True, False, False],
                                    [look("a", [3, 1], age_ms=9), look("b", [0, 1])]))  # fmt: skip
    assert [request.rid for request in view.requests] == ["a", "b"]
    assert owners(view) == [FIRST_REQUEST + 1, FIRST_REQUEST + 1, CACHED, FIRST_REQUEST, FREE]
    assert list(view.uses) == [1, 2, 0, 1, 0]
    assert np.frombuffer(view.places, "<u2").tolist()[:2] == [0, 1]
    assert [request.blocks for request in view.requests] == [2, 2]


@pytest.mark.parametrize("blocks", [1, MOST_CELLS, MOST_CELLS + 1, 3 * MOST_CELLS + 7])
def test_size_of_the_map_is_bounded_and_no_used_block_vanishes(blocks):
    uses = [0] * blocks
    uses[-1] = 1
    view = view_of("e", 0, CoreView(16, uses, [False] * blocks, [look("a", [blocks - 1])]))
    assert len(owners(view)) <= MOST_CELLS
    assert len(owners(view)) * view.blocks_per_cell >= blocks
    assert owners(view)[-1] == FIRST_REQUEST


def test_list_of_requests_is_bounded_and_running_ones_come_first():
    looks = [look(f"r{i}", running=i % 2) for i in range(MOST_REQUESTS + 10)]
    view = view_of("e", 0, CoreView(16, [0], [False], looks))
    assert len(view.requests) == MOST_REQUESTS
    assert view.more_requests == 10
    flags = [request.running for request in view.requests]
    assert flags == sorted(flags, reverse=True)


def test_running_core_shows_its_requests_with_their_blocks():
    harness = make_harness()
    harness.submit("a", list(range(1, 20)), n=2, max_tokens=4)
    harness.step()
    view = harness.core.view()
    (request,) = view.requests
    assert (request.rid, request.prompt_tokens) == ("a", 19)
    assert request.running + request.waiting == 2
    held = {block for table in request.tables for block in table}
    assert held == {block for block, uses in enumerate(view.uses) if uses}
    harness.drain()
    assert harness.core.view().requests == []
    assert not any(harness.core.view().uses)
    assert any(harness.core.view().findable)
