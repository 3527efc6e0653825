"""Log events: a short constant name plus fields, carried by the standard logging module.

    log = event_log(__name__)
    log.warning("redis_trouble", cause="ConnectionError")

Our own formatter of 60 lines, because importing structlog (which imports rich and Twisted where
they are installed) cost a quarter of a CPU second in each of six processes of a start.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

_ARGUMENTS = ("exc_info", "stack_info", "stacklevel", "extra")
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class EventLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose keywords are the event's fields."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        arguments = {name: kwargs.pop(name) for name in _ARGUMENTS if name in kwargs}
        arguments["extra"] = {**(arguments.get("extra") or {}), **kwargs}
        return msg, arguments


def event_log(name: str) -> EventLog:
    return EventLog(logging.getLogger(name), None)


class EventFormatter(logging.Formatter):
    """One line per event: JSON, or `time level event field=value …`. Tracebacks follow in text."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC)
        fields = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        level, event = record.levelname.lower(), record.getMessage()
        if self._as_json:
            whole = {"timestamp": when.isoformat(), "level": level, "logger": record.name}
            whole |= {"event": event, **fields} | ({"exception": trace} if trace else {})
            return json.dumps(whole, default=str)
        words = [f"{when:%H:%M:%S}", f"{level:7}", event]
        words += [f"{name}={_shown(value)}" for name, value in fields.items()]
        return " ".join(words) + (f"\n{trace}" if trace else "")


def log_to_stderr(level: str = "INFO") -> None:
    """For processes without Django: plain lines. Call once, at the start of the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter(as_json=False))
    logging.basicConfig(level=level, handlers=[handler])


def _shown(value: Any) -> str:
    """Values with spaces are quoted, so that a field's end is seen."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or " " in text else text
