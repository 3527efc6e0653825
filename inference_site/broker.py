"""The URL of Celery's broker."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from inference_site.config import ServerSettings
from inference_site.redis import find_redis

DATABASE = 1  # 0 holds requests in flight; a purge of jobs must not touch them


def broker_url(settings: ServerSettings) -> str:
    """Raises `NoRedis` when neither a broker nor a Redis is known."""
    if settings.broker_url:
        return settings.broker_url
    parts = urlsplit(find_redis(settings))
    if parts.scheme == "unix":
        return f"redis+socket://{parts.path}?virtual_host={DATABASE}"
    return urlunsplit(parts._replace(path=f"/{DATABASE}"))
