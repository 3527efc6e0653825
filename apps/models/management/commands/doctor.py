"""`pagoda doctor`: is everything this installation stands on as it should be?"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from apps.models.doctor import CHECKS, Level


class Command(BaseCommand):
    """Exit status 1 when a finding is a failure."""

    help = "Check disk, database, Redis, clocks, models, device and proxy; say what to mend."

    requires_system_checks = []  # the report covers a database that is away

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON list of findings")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = [finding for check in CHECKS for finding in check(settings.PAGODA)]
        if options["json"]:
            self.stdout.write(json.dumps([dataclasses.asdict(f) for f in findings]))
        else:
            for finding in findings:
                self.stdout.write(f"{finding.level:5} {finding.what:22} {finding.words}")
                if finding.fix:
                    self.stdout.write(f"{'':28} {finding.fix}")
        if any(finding.level is Level.FAIL for finding in findings):
            sys.exit(1)
