"""`pagoda backup FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.models.backup import backup


class Command(BaseCommand):
    """May run beside a serving installation; what happens meanwhile is not in it."""

    help = "Write all rows and the adapter store to one file (.tar.gz)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="where to; it must not exist")

    def handle(self, *args: Any, **options: Any) -> None:
        target: Path = options["file"]
        if target.exists():
            raise CommandError(f"{target} exists. Name a new file: backups are never overwritten.")
        try:
            counts = backup(target)
        except OSError as error:
            raise CommandError(f"{target} cannot be written: {error.strerror}.") from None
        self.stdout.write(f"{sum(counts.values())} rows of {len(counts)} tables are in {target}.")
