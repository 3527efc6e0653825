"""The nightly rebuild of sums, of today: `python -m tests.chaos.rebuild_today`."""

from __future__ import annotations

import django

django.setup()

from django.utils import timezone  # noqa: E402

from apps.usage.services import usage_rebuild  # noqa: E402

if __name__ == "__main__":
    usage_rebuild(day=timezone.now().date())
