"""Hands adapter work to the background worker. A broker that is away loses nothing: the worker's
own sweep looks for versions nobody has checked."""

from __future__ import annotations

import logging

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
CHECK = "lora.check"
SWEEP = "lora.sweep"


def check_soon(version_id: int) -> None:
    """Ask the worker to check a version. Call it after the commit."""
    try:
        from inference_site.celery import app  # knows its broker only while a Redis runs

        app.send_task(CHECK, args=[version_id], retry=False)
    except (OperationalError, RedisError) as error:
        log.warning("check_not_queued", extra={"cause": type(error).__name__})
