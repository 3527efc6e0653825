"""`python -m benchmarks [GROUP…]`: one JSON line a row, each beside its control.

Exit code 1 when a goal is missed. Environments of peers and models lie under --folder.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from benchmarks import (
    admin_rows,
    embed_rows,
    engine_rows,
    lora_rows,
    start_rows,
    structured_rows,
    web_rows,
)

GROUPS = {
    "embed": embed_rows.rows,
    "engine": engine_rows.rows,
    "lora": lora_rows.rows,
    "web": web_rows.rows,
    "start": start_rows.rows,
    "structured": structured_rows.rows,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "groups", nargs="*", choices=[*GROUPS, "admin", []], help="default: all but admin"
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="of usage, for admin")
    parser.add_argument("--repeat", type=int, default=3, help="runs behind each median")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("peers-run"),
        help="peers' environments, models and logs (default: peers-run/)",
    )
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    missed = 0
    groups = {**GROUPS, "admin": partial(admin_rows.rows, size=args.rows)}
    for group in args.groups or GROUPS:
        for row in groups[group](folder, args.repeat):
            row.print()
            missed += not row.reached
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
