"""Sends what needs a person to a webhook: once when it begins, once when it is over.

What was sent is kept in Redis. A message that could not be delivered is tried again at the next
check, so nothing is lost while the receiver is away.
"""

from __future__ import annotations

import json
import logging
import urllib.request
from typing import Any

import redis
from django.conf import settings

from apps.models.overview import overview_read
from apps.models.trouble import Trouble, troubles_of
from engine import redis_keys
from inference_site.redis import redis_url

log = logging.getLogger(__name__)
PATIENCE_S = 10


def alerts_check(*, webhook: str) -> int:
    """Tell what began and what is over since the last check. Returns how many messages were
    delivered. Raises `RedisError`: without its memory nothing is sent twice."""
    now = {trouble.name: trouble for trouble in troubles_of(overview_read())}
    with redis.Redis.from_url(redis_url(), socket_timeout=5) as client:
        told = {k.decode(): json.loads(v) for k, v in client.hgetall(redis_keys.ALERTS).items()}
        delivered = 0
        for name, trouble in now.items():
            if name not in told and _deliver(webhook, message := _raised(trouble)):
                client.hset(redis_keys.ALERTS, name, json.dumps(message))
                delivered += 1
        for name, message in told.items():
            if name not in now and _deliver(webhook, _resolved(message)):
                client.hdel(redis_keys.ALERTS, name)
                delivered += 1
    return delivered


def _raised(trouble: Trouble) -> dict[str, Any]:
    """`text` is what chat services show; the rest is for machines."""
    return {
        "text": f"{trouble.subject}: {trouble.cause} {trouble.fix}",
        "event": "raised",
        "kind": trouble.kind,
        "subject": trouble.subject,
        "cause": trouble.cause,
        "fix": trouble.fix,
        "severity": "error" if trouble.tone == "bad" else "warning",
        "admin": f"{settings.PAGODA.base_url}/admin/",
    }


def _resolved(message: dict[str, Any]) -> dict[str, Any]:
    text = f"Over: {message['subject']}: {message['cause']}"
    return message | {"event": "resolved", "text": text}


def _deliver(webhook: str, message: dict[str, Any]) -> bool:
    """POST once. False: the receiver did not take it."""
    body = json.dumps(message).encode()
    request = urllib.request.Request(webhook, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S):
            return True
    except (OSError, ValueError) as error:  # HTTP errors are OSErrors
        log.warning("alert_undelivered", extra={"cause": f"{type(error).__name__}: {error}"})
        return False
