"""Settings of alerts. Read once from the environment, free of Django."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from engine.settings import SettingError, read, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """What counts as trouble, and where it is told to."""

    alert_webhook: str = setting(
        "", "http(s) URL that gets a JSON message when something needs a person; empty: none"
    )
    alert_error_percent: float = setting(
        5.0, "share of failed requests in an hour that needs a person", low=0.1, high=100
    )

    def __post_init__(self) -> None:
        """Raises `SettingError`."""
        parts = urlsplit(self.alert_webhook)
        if self.alert_webhook and not (parts.scheme in ("http", "https") and parts.netloc):
            raise SettingError("PAGODA_ALERT_WEBHOOK must be an http:// or https:// URL.")


@cache
def alert_settings() -> AlertSettings:
    return read(AlertSettings, os.environ)
