"""CUDA graphs of steps: which sizes are captured, and one memory pool for all of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

from engine.runner.step_buffers import StepShape

MIXED_LIMIT = 4096  # tokens; above, a step computes for so long that launches hide behind it


class GraphSet:
    """Captured launches by key. Replay them on the stream they were captured on."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream = stream
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}

    def __len__(self) -> int:
        return len(self._graphs)

    def capture(self, key: Hashable, launch: Callable[[], None]) -> None:
        """Once as it is, so that kernels compile and libraries take their workspace; then for
        the graph."""
        launch()
        self._stream.synchronize()
        self.record(key, launch)

    def record(self, key: Hashable, launch: Callable[[], None]) -> None:
        """For the graph only, after the same launches ran once."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph,
            pool=self._pool,
            stream=self._stream,
            capture_error_mode="thread_local",  # threads that read adapters may allocate meanwhile
        ):
            launch()
        self._graphs[key] = graph

    def drop(self, unwanted: Callable[[Hashable], bool]) -> None:
        self._graphs = {key: graph for key, graph in self._graphs.items() if not unwanted(key)}

    def replay(self, key: Hashable) -> bool:
        """False where nothing was captured for the key."""
        graph = self._graphs.get(key)
        if graph is None:
            return False
        graph.replay()
        return True

    def clear(self) -> None:
        self._graphs.clear()


def decode_sizes(most: int) -> list[int]:
    """Batch sizes captured for decoding: 1, 2, 4, 8, then at most a third more than asked for."""
    return _sizes(1, most, halves=2)


def mixed_sizes(max_tokens: int) -> list[int]:
    """Token counts captured for steps with prompts: at most a quarter more than asked for, since
    here padding costs arithmetic."""
    return _sizes(16, min(max_tokens, MIXED_LIMIT), halves=4)


def _sizes(least: int, most: int, halves: int) -> list[int]:
    """Powers of two, and from 16 (32) on the points that cut each doubling into `halves`."""
    sizes, power = [], least
    while power < most:
        parts = halves if power >= 8 * halves else 1
        sizes += [power + power * i // parts for i in range(parts)]
        power *= 2
    return sorted({size for size in sizes if size < most} | {most})


def shape_for(
    num_tokens: int, num_seqs: int, *, decodes: bool, sizes: list[int], max_seqs: int
) -> StepShape | None:
    """The smallest captured shape that holds a step; None: it is larger than any."""
    size = next((s for s in sizes if s >= num_tokens), None)
    if size is None:
        return None
    return StepShape(size, size if decodes else min(size, max_seqs), decodes)
