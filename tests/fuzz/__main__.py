"""`python -m tests.fuzz [--runs N] [TARGET …]`: atheris over all targets, N inputs in all.

What it finds lies in build/fuzz/: the inputs kept for the next run, and those that failed.
Executions add up in docs/reliability/fuzz.json.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import time

from tests.evidence import ROOT, add
from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS

FOLDER = ROOT / "build" / "fuzz"
SLOWEST_S = 1  # for one input
SHARES = {"parsers": 1, "header": 30, "config": 26, "frames": 10, "bodies": 29, "forms": 4}  # %


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help="default: all of them")
    parser.add_argument("--runs", type=int, default=600_000, help="executions in all")
    asked = parser.parse_args()
    names, seed, began = asked.targets or list(TARGETS), random.randrange(2**31), time.monotonic()
    counts: dict[str, int | float] = {}
    for name in names:
        share = SHARES[name] / sum(SHARES[one] for one in names)
        done, failed = fuzz(name, int(asked.runs * share), seed)
        counts[f"executions, {name}"] = done
        counts["executions"] = counts.get("executions", 0) + done
        counts["crashes and inputs over a second"] = (
            counts.get("crashes and inputs over a second", 0) + failed
        )
        print(f"{name}: {done} executions, {failed} failed")  # noqa: T201 - the command's answer
    add(
        "fuzz", title="Fuzzing", command="make fuzz RUNS=10000000", seed=seed,
        duration_s=time.monotonic() - began, counts=counts,
        goals={"executions": ">= 10000000", "crashes and inputs over a second": "= 0"},
        note="Coverage-guided (atheris): tool and reasoning parsers with every stream cut anew, "
        "safetensors header, adapter config, wire frames, request bodies, schemas and grammars.",
        keep=True,
    )  # fmt: skip
    return int(bool(counts["crashes and inputs over a second"]))


def fuzz(name: str, runs: int, seed: int) -> tuple[int, int]:
    """Executions, and whether one failed. Its input and what it did are in the folder."""
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(getattr(seeds, name)()):
        (corpus / f"seed-{number}").write_bytes(data)
    log = FOLDER / f"{name}.log"
    command = [
        sys.executable, "-m", "tests.fuzz.one", name, str(corpus), f"-runs={runs}",
        f"-seed={seed}", f"-timeout={SLOWEST_S}", f"-artifact_prefix={FOLDER}/{name}-",
        "-max_len=4096", "-rss_limit_mb=2048", "-print_final_stats=1",
    ]  # fmt: skip
    with log.open("wb") as out:
        code = subprocess.run(command, cwd=ROOT, stdout=out, stderr=out).returncode
    text = log.read_text(errors="replace")
    found = re.search(r"stat::number_of_executed_units: (\d+)", text)
    numbers = re.findall(r"^#(\d+)", text, re.MULTILINE)
    done = int(found[1]) if found else int(numbers[-1]) if numbers else 0
    return done, int(code != 0)


if __name__ == "__main__":
    raise SystemExit(main())
