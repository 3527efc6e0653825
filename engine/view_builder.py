"""From copies of a core's tables to the bounded message `EngineView`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.view import (
    CACHED,
    FIRST_REQUEST,
    FREE,
    MOST_CELLS,
    MOST_REQUESTS,
    CoreView,
    EngineView,
    RequestLook,
    ShownRequest,
)


def view_of(engine: str, at_ms: int, view: CoreView) -> EngineView:
    """The message. Its size is bounded by `MOST_CELLS` and `MOST_REQUESTS`."""
    order = sorted(view.requests, key=lambda request: (request.running == 0, -request.age_ms))
    listed = order[:MOST_REQUESTS]
    owners = np.where(np.array(view.findable, np.bool_), CACHED, FREE).astype(np.uint16)
    places = np.zeros(len(owners), np.uint16)
    for i, request in enumerate(order):
        code = FIRST_REQUEST + min(i, MOST_REQUESTS)  # those not listed share a colour
        for table in request.tables:
            owners[table] = code
            places[table] = np.minimum(np.arange(len(table)), 65_535)
    uses = np.minimum(np.array(view.uses, np.int64), 255).astype(np.uint8)
    per_cell = max(1, -(-len(owners) // MOST_CELLS))
    picked = _leaders(owners, per_cell)
    return EngineView(
        engine=engine,
        at_ms=at_ms,
        block_tokens=view.block_tokens,
        num_blocks=len(owners),
        blocks_per_cell=per_cell,
        owners=owners[picked].tobytes(),
        uses=uses[picked].tobytes(),
        places=places[picked].tobytes(),
        requests=[_shown(request) for request in listed],
        more_requests=len(order) - len(listed),
    )


def _leaders(owners: NDArray[np.uint16], per_cell: int) -> NDArray[np.intp]:
    """The block each cell shows: of its blocks one in use, before a cached and a free one."""
    cells = -(-len(owners) // per_cell)
    padded = np.zeros(cells * per_cell, np.uint16)
    padded[: len(owners)] = owners
    best: NDArray[np.intp] = padded.reshape(cells, per_cell).argmax(1)
    return best + np.arange(cells, dtype=np.intp) * per_cell


def _shown(request: RequestLook) -> ShownRequest:
    return ShownRequest(
        rid=request.rid,
        adapter=request.adapter,
        running=request.running,
        waiting=request.waiting,
        prompt_tokens=request.prompt_tokens,
        output_tokens=request.output_tokens,
        age_ms=request.age_ms,
        blocks=len({block for table in request.tables for block in table}),
    )
