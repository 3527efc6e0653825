"""`pagoda bench`: `serve` measures a running server; the others measure the engine alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from inference_site.commands import CommandFailed
from inference_site.paths import DEMO_MODEL
from inference_site.process import environment, spawn

ENGINE = ("latency", "throughput", "startup")
USAGE = """usage: pagoda bench serve [--url URL] [flags]         a running server
       pagoda bench latency|throughput|startup [--model MODEL] [flags]   the engine alone
"""


def bench(argv: Sequence[str]) -> int:
    """Hand over to the measure. Each prints one JSON object."""
    what = argv[0] if argv else "--help"
    if what == "serve":
        from inference_site.commands.bench_serve import bench_serve

        return bench_serve(argv[1:])
    if what in ENGINE:
        return _engine(argv)
    if what in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    raise CommandFailed(f"There is no bench {what!r}: use serve, {', '.join(ENGINE)}.")


def _engine(argv: Sequence[str]) -> int:
    """The engine needs torch, which this process must not load."""
    words = list(argv)
    if not any(word.split("=")[0] in ("--model", "-h", "--help") for word in words):
        words.append(f"--model={DEMO_MODEL}")
    return spawn([sys.executable, "-m", "engine.bench", *words], env=environment()).wait()
