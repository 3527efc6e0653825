"""`pagoda restore FILE --yes`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.models.backup import restore
from engine.errors import PagodaError


class Command(BaseCommand):
    """All or nothing: a backup that does not fit changes no row."""

    help = "Replace all rows by those of a backup, and add its adapters to the store."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--yes", action="store_true", help="really replace what is there")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["yes"]:
            raise CommandError("This replaces every row of the database. Add --yes to do it.")
        try:
            counts = restore(options["file"])
        except PagodaError as error:
            raise CommandError(error.message) from None
        self.stdout.write(f"{sum(counts.values())} rows of {len(counts)} tables are back.")
