"""Logging of Django's processes: our events and those of libraries, on stderr."""

from __future__ import annotations

import sys
from typing import Any

from inference_site.config import ServerSettings


def logging_config(settings: ServerSettings) -> dict[str, Any]:
    """`dictConfig` of the standard module. JSON unless stderr is a terminal."""
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
        },
    }
