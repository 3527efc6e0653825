"""`pagoda admin reset-password [USER]`: a new random password for a staff login."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.models.bootstrap import ADMIN, password_reset
from engine.errors import PagodaError


class Command(BaseCommand):
    help = "Look after the logins of the admin site."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        reset = verbs.add_parser("reset-password", help="a new random password, shown once")
        reset.add_argument("username", nargs="?", default=ADMIN)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            home = settings.PAGODA.home
            self.stdout.write(password_reset(username=options["username"], home=home))
        except PagodaError as error:
            raise CommandError(error.message) from None
