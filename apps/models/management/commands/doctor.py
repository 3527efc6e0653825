"""`pagoda doctor`: is everything this installation stands on as it should be?"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.models.doctor import CHECKS, Level
from engine.settings import SettingError


class Command(BaseCommand):
    """Exit status 1 when a finding is a failure."""

    help = "Check disk, database, Redis, clocks, models, device and proxy; say what to mend."

    requires_system_checks = []  # the report covers a database that is away

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON list of findings")
        parser.add_argument("--url", help="the proxy as seen from here; default: PAGODA_PUBLIC_URL")
        parser.add_argument("--api-key", help="for a stream through it; default: PAGODA_API_KEY")

    def handle(self, *args: Any, **options: Any) -> None:
        given = {"public_url": options["url"], "api_key": options["api_key"]}
        try:
            asked = dataclasses.replace(settings.PAGODA, **{k: v for k, v in given.items() if v})
        except SettingError as error:
            raise CommandError(str(error)) from None
        findings = [finding for check in CHECKS for finding in check(asked)]
        if options["json"]:
            self.stdout.write(json.dumps([dataclasses.asdict(f) for f in findings]))
        else:
            for finding in findings:
                self.stdout.write(f"{finding.level:5} {finding.what:22} {finding.words}")
                if finding.fix:
                    self.stdout.write(f"{'':28} {finding.fix}")
        if any(finding.level is Level.FAIL for finding in findings):
            sys.exit(1)
