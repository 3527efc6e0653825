"""Logging of Django's processes: our events and those of libraries, on stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from engine.settings import SettingError
from inference_site.config import ServerSettings


def logging_config(settings: ServerSettings) -> dict[str, Any]:
    """`dictConfig` of the standard module. JSON unless stderr is a terminal."""
    if settings.log_config is not None:
        return _from_file(settings.log_config)
    as_json = settings.log_json if settings.log_json is not None else not sys.stderr.isatty()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"event": {"()": "engine.logs.EventFormatter", "as_json": as_json}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "event"}},
        "root": {"handlers": ["stderr"], "level": settings.log_level},
        "loggers": {
            "uvicorn": {"level": "WARNING"},  # the launcher says what starts and ends
            "httpx": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},  # 4xx is the caller's; each had a traceback
        },
    }


def _from_file(path: Path) -> dict[str, Any]:
    """Raises `SettingError` for what is no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(f"PAGODA_LOG_CONFIG={path} cannot be read: {error}.") from None
    if not isinstance(found, dict):
        raise SettingError(f"PAGODA_LOG_CONFIG={path} must hold a JSON object.")
    return found
