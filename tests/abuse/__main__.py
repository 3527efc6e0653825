"""The whole abuse corpus against the real engine, beside good streams: docs/reliability/abuse.json.

    python -m tests.abuse [--rate 20] [--streams 32] [--rounds 4]

Quiet and abused stretches take turns, so that a machine that drifts does not decide.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.abuse.asking import Seen, ask_all, ask_frames
from tests.abuse.corpus import corpus
from tests.abuse.streams import GoodStreams, percentile
from tests.evidence import add
from tests.served import ROOT, Served, serving

PARTS = ("-m engine --", "inference_site.web")  # not the children of these


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse")
    parser.add_argument("--rate", type=float, default=20, help="bad requests a second")
    parser.add_argument("--streams", type=int, default=32, help="good streams beside them")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of a quiet and a bad stretch")
    asked = parser.parse_args()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        serving(Path(folder) / "home", within_s=240) as served,
    ):
        seen, good, restarts = abused(served, asked)
    growth = 100 * (good.gaps.p99_ms("bad") / good.gaps.p99_ms("quiet") - 1)
    figures = {
        "bad inputs": len(seen.took_ms),
        "classes": len(seen.by_kind),
        "answers that were no clear 4xx": len(seen.wrong),
        "restarts of engine or web": restarts,
        "good streams that broke": len(good.gaps.broken),
        "refusal p50 ms": round(percentile(seen.took_ms, 0.5), 1),
        "refusal p99 ms": round(percentile(seen.took_ms, 0.99), 1),
        "refusal max ms": round(max(seen.took_ms), 1),
        "good streams": asked.streams,
        "gap p99 ms, quiet": round(good.gaps.p99_ms("quiet"), 1),
        "gap p99 ms, abused": round(good.gaps.p99_ms("bad"), 1),
        "gap p99 growth %": round(growth, 1),
    }
    add(
        "abuse", title="Abuse", command="python -m tests.abuse", seed=0,
        duration_s=time.monotonic() - began, counts=figures,
        goals={
            "bad inputs": ">= 400", "classes": ">= 35", "answers that were no clear 4xx": "= 0",
            "restarts of engine or web": "= 0", "good streams that broke": "= 0",
            "refusal p99 ms": "<= 250", "refusal max ms": "<= 1000", "gap p99 growth %": "<= 20",
        },
        note=f"{asked.rate:g} bad requests a second on one connection; the bundled model on CPU.",
    )  # fmt: skip
    for name, value in figures.items():
        print(f"{name}: {value}")  # noqa: T201 - the command's answer
    print("\n".join([*seen.wrong, *good.gaps.broken][:50]), file=sys.stderr)  # noqa: T201
    return int(bool(seen.wrong or good.gaps.broken or restarts))


def abused(served: Served, asked: argparse.Namespace) -> tuple[Seen, GoodStreams, int]:
    """Good streams all the time; the corpus in as many parts as there are rounds."""
    model = served.get("/v1/models")["data"][0]["id"]
    keys = {"full": made_key(served, "inference", "adapters"), "plain": made_key(served)}
    before = {part: served.child(part).pid for part in PARTS}
    good = GoodStreams(served.url, keys["plain"], model, asked.streams)
    seen, every = Seen(), corpus()
    try:
        time.sleep(5)  # until all of them have begun
        for part in range(asked.rounds):
            mine = every[part :: asked.rounds]
            good.gaps.phase = "quiet"
            time.sleep(len(mine) / asked.rate / 2)
            good.gaps.phase = "bad"
            ask_all(served.url, keys, model, mine, seen, pause_s=1 / asked.rate)
        ask_frames(served.url, keys["full"], model, seen)
    finally:
        good.gaps.phase = ""
        good.stop()
    restarts = sum(served.child(part).pid != pid for part, pid in before.items())
    return seen, good, restarts


def made_key(served: Served, *scopes: str) -> str:
    """A key of its own, made on the command line."""
    asked = [word for scope in scopes for word in ("--scope", scope)]
    command = [sys.executable, str(ROOT / "manage.py"), "keys", "create", "abuse", *asked]
    env = os.environ | {"PAGODA_HOME": str(served.home), "PAGODA_REDIS_URL": redis_of(served)}
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return done.stdout.split()[-1]


def redis_of(served: Served) -> str:
    with served.redis() as client:
        return f"unix://{client.connection_pool.connection_kwargs['path']}"


if __name__ == "__main__":
    raise SystemExit(main())
