"""What the usage pages take from their URL. A wrong value is told beside its field."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone

from apps.usage import period
from apps.usage.models import Status
from apps.usage.period import Period

GROUPS = {
    "model": "Model",
    "key": "API key",
    "owner": "Owner",
    "adapter": "Adapter",
    "status": "Status",
}
DAYS = {"24h": 1, "7d": 7, "30d": 30, "90d": 90}
METRICS = {
    "requests": "Requests",
    "prompt_tokens": "Input tokens",
    "cached_tokens": "Cached input tokens",
    "completion_tokens": "Output tokens",
    "micros": "Cost",
}
FAILED = "failed"
STATUSES = (("", "All"), *Status.choices, (FAILED, "lost or error"))
ANY = forms.TextInput(attrs={"placeholder": "all"})
DATE = forms.DateInput(attrs={"type": "date"})
# The period before a span must still be days that Python knows.
DAYS_KNOWN = (MinValueValidator(dt.date(2000, 1, 1)), MaxValueValidator(dt.date(2999, 12, 31)))


def statuses(name: str) -> list[str]:
    """The stored statuses a filter asks for; none for all of them."""
    if name == FAILED:
        return [Status.LOST, Status.ERROR]
    return [name] if name else []


class FilterForm(forms.Form):
    """Which requests: shared by the usage page and the request log."""

    model = forms.CharField(required=False, max_length=255, widget=ANY)
    adapter = forms.CharField(required=False, max_length=255, widget=ANY)
    key = forms.CharField(required=False, max_length=64, label="API key id", widget=ANY)
    owner = forms.CharField(required=False, max_length=255, widget=ANY)
    status = forms.ChoiceField(required=False, choices=STATUSES)

    def value(self, name: str) -> str:
        """A cleaned text; empty when it was wrong or not given."""
        return str(getattr(self, "cleaned_data", {}).get(name) or "")


class UsageForm(FilterForm):
    """The bar above all charts."""

    start = forms.DateField(required=False, label="From", widget=DATE, validators=DAYS_KNOWN)
    end = forms.DateField(required=False, label="To", widget=DATE, validators=DAYS_KNOWN)
    range = forms.ChoiceField(
        required=False, choices=(*period.RANGES.items(), ("custom", "From … to")), label="Range"
    )
    grain = forms.ChoiceField(
        required=False, choices=(("", "Automatic"), ("hour", "Hours"), ("day", "Days")),
        label="Steps",
    )  # fmt: skip
    group = forms.ChoiceField(required=False, choices=tuple(GROUPS.items()), label="Group by")
    metric = forms.ChoiceField(required=False, choices=tuple(METRICS.items()), label="Measure")

    DEFAULTS = {"range": "7d", "group": "model", "metric": "requests"}

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(self.DEFAULTS | {name: text for name, text in data.items() if text})

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        start, end = data.get("start"), data.get("end")
        if start and start > (end or timezone.now().date()):
            self.add_error("start", "This day lies after the last one.")
        elif start and self._days(data) > period.MAX_DAYS:
            self.add_error("start", f"At most {period.MAX_DAYS} days can be shown at once.")
        elif data.get("range") == "custom" and not start and "start" not in self.errors:
            self.add_error("start", "Give the first day.")
        elif data.get("grain") == "hour" and self._days(data) > period.MAX_HOURLY_DAYS:
            self.add_error("grain", f"Hours are shown for at most {period.MAX_HOURLY_DAYS} days.")
        return data

    def value(self, name: str) -> str:
        return super().value(name) or self.DEFAULTS.get(name, "")

    def period(self, now: dt.datetime) -> Period:
        """What to show: as asked, or the last 7 days when that was wrong."""
        data = getattr(self, "cleaned_data", {})
        grain = data.get("grain") or None
        if data.get("range") == "custom" and data.get("start"):
            return period.between(data["start"], data.get("end") or now.date(), grain)
        name = self.value("range")
        return period.last(name if name in period.RANGES else "7d", now, grain)

    @staticmethod
    def _days(data: dict[str, Any]) -> int:
        if data.get("range") == "custom" and data.get("start"):
            start: dt.date = data["start"]
            end: dt.date = data.get("end") or timezone.now().date()
            return (end - start).days + 1
        return DAYS.get(str(data.get("range")), 0)
