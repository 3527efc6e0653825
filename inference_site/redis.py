"""Where Redis is: the URL of the settings, or the embedded server of a running `serve`."""

from __future__ import annotations

from pathlib import Path

from redis.exceptions import ConnectionError as RedisConnectionError

from inference_site.config import ServerSettings

URL_FILE = "redis.url"


class NoRedis(RedisConnectionError):
    """Neither a configured nor an embedded Redis. Callers treat it like one that is down."""


def redis_url() -> str:
    """For Django processes. Raises `NoRedis`."""
    from django.conf import settings  # the launcher uses `find_redis` and stays free of Django

    return find_redis(settings.PAGODA)


def find_redis(settings: ServerSettings) -> str:
    """Raises `NoRedis` when there is neither a configured nor an embedded Redis."""
    if settings.redis_url:
        return settings.redis_url
    url = recorded_url(settings.home)
    if url is None:
        raise NoRedis(
            f"No Redis: PAGODA_REDIS_URL is not set and no `serve` runs on {settings.home}. "
            "Start `pagoda serve`, or set PAGODA_REDIS_URL=redis://host:6379/0."
        )
    return url


def recorded_url(home: Path) -> str | None:
    """The embedded server of the `serve` that runs (or was killed) on this home."""
    try:
        return _file(home).read_text().strip()
    except FileNotFoundError:
        return None


def record_url(home: Path, url: str) -> None:
    _file(home).write_text(url)


def forget_url(home: Path) -> None:
    _file(home).unlink(missing_ok=True)


def _file(home: Path) -> Path:
    return home / URL_FILE
