"""`pagoda usage`: requests, tokens and cost over a time, from the hourly sums."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.usage.models import SUM_FIELDS
from apps.usage.selectors import usage_grouped, usage_totals

GROUPS = {"hour": "hour", "key": "key_id", "model": "model", "adapter": "adapter"} | {
    "status": "status"
}
UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class Command(BaseCommand):
    """Reads sums only; a few queries whatever the number of requests."""

    help = "Requests, tokens and cost over a time, in all and by key, model, adapter or status."

    def add_arguments(self, parser: CommandParser) -> None:
        words = "how far back, such as 24h, 7d, 4w (default 24h); whole hours"
        parser.add_argument("--since", default="24h", help=words)
        parser.add_argument("--by", default="model", help=f"some of {', '.join(GROUPS)}, by commas")
        parser.add_argument("--model", default="", help="only this model")
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        by = _groups(options["by"])
        end = timezone.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        period = {"start": end - _span(options["since"]), "end": end, "model": options["model"]}
        totals = dataclasses.asdict(usage_totals(**period))
        rows = usage_grouped(by=by, **period)
        if options["json"]:
            groups = [{name: row[name] for name in (*by, *SUM_FIELDS)} for row in rows]
            found = period | {"totals": totals, "groups": groups}
            self.stdout.write(json.dumps(found, default=str))
            return
        self._table([*by], rows, totals)

    def _table(self, by: list[str], rows: list[dict[str, Any]], totals: dict[str, Any]) -> None:
        lines = [[str(row[name]) or "-" for name in by] + _sums(row) for row in rows]
        lines.append(["all", *[""] * (len(by) - 1), *_sums(totals)])
        head = [*by, "requests", "prompt", "cached", "completion", "cost"]
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        for line in (head, *lines):
            cells = [
                cell.ljust(width) if i < len(by) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            self.stdout.write("  ".join(cells).rstrip())


def _sums(row: dict[str, Any]) -> list[str]:
    tokens = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")
    return [*(str(row[name] or 0) for name in tokens), f"{(row['micros'] or 0) / 1e6:.6f}"]


def _groups(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in GROUPS:
            raise CommandError(f"--by takes {', '.join(GROUPS)}, separated by commas.")
    return tuple(dict.fromkeys(GROUPS[name] for name in names)) or ("model",)


def _span(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if (
        not (number.isascii() and number.isdigit())
        or unit not in UNITS
        or not 0 < int(number) < 1e5
    ):
        raise CommandError(f"--since {text!r} must be like 24h, 7d or 4w.")
    return timedelta(**{UNITS[unit]: int(number)})
