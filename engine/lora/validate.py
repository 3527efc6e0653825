"""`python -m engine.lora.validate DIR --base CONFIG`: is this adapter fit for this base model?

Loads no torch and runs no code from the folder. Exit status 0: fit; 1: problems, all of them
listed; 2: the base model's config or the call itself is unusable.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.errors import EngineStartError
from engine.lora.check import Report, check_folder
from engine.lora.layout import BUCKETS
from engine.models.registry import read_spec


def main(argv: Sequence[str] | None = None) -> int:
    flags = argparse.ArgumentParser(prog="python -m engine.lora.validate", allow_abbrev=False)
    flags.add_argument("folder", type=Path, help="holds the adapter's two files")
    flags.add_argument(
        "--base", type=Path, required=True, help="config.json of the base model, or its folder"
    )
    flags.add_argument(
        "--max-rank", type=int, default=BUCKETS[-1], help=f"largest rank, 1 to {BUCKETS[-1]}"
    )
    flags.add_argument("--json", action="store_true", help="print one JSON object")
    args = flags.parse_args(argv)
    if not 1 <= args.max_rank <= BUCKETS[-1]:
        flags.error(f"--max-rank is {args.max_rank}; use 1 to {BUCKETS[-1]}")
    folder = args.base if args.base.is_dir() else args.base.parent
    if args.base not in (folder, folder / "config.json"):
        flags.error(f"--base is {args.base}; name a config.json or its folder")
    try:
        spec = read_spec(folder)
    except EngineStartError as error:
        print(f"The base model cannot be read: {error}", file=sys.stderr)  # noqa: T201
        return 2
    report = check_folder(args.folder, spec, max_rank=args.max_rank).report
    print(_json(report) if args.json else _text(report))  # noqa: T201
    return 0 if report.ok else 1


def _json(report: Report) -> str:
    return json.dumps({"ok": report.ok, **msgspec.structs.asdict(report)})


def _text(report: Report) -> str:
    if not report.ok:
        return "\n".join(["This adapter cannot be used:", *(f"- {p}" for p in report.problems)])
    kind = "alpha ÷ √r" if report.rslora else "alpha ÷ r"
    return "\n".join(
        [
            "This adapter fits the base model.",
            f"digest   {report.digest}",
            f"rank     {report.rank} (alpha {report.alpha:g}, scaled by {kind})",
            f"modules  {', '.join(report.modules)}",
            f"weights  {report.tensors} tensors, {report.dtype}, {report.bytes} bytes",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
