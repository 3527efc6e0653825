"""The ASGI application of a web process, outermost first: leaving, CORS, HTTP figures,
authentication and generation routes (`apps.api`), probes, metrics, Django."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inference_site.settings")
_django = get_asgi_application()  # sets Django up: apps are imported after it

import inference_site.urls  # noqa: E402, F401 - in time for the first request, not in it
from apps.api.routing import CONSUMERS, api_app  # noqa: E402
from apps.models.health import EngineWatch, HealthApp  # noqa: E402
from inference_site.admin_socket import AdminSockets  # noqa: E402
from inference_site.config import server_settings  # noqa: E402
from inference_site.cors import with_cors  # noqa: E402
from inference_site.http_metrics import CountedApp  # noqa: E402
from inference_site.leaving import LeavingApp  # noqa: E402
from inference_site.metrics import MetricsApp  # noqa: E402
from inference_site.redis import redis_url  # noqa: E402

T = TypeVar("T")


async def _read(function: Callable[[], T]) -> T:
    """In the process's database threads. `_api` has made the runtime before it calls us."""
    assert _api.runtime is not None
    return await _api.runtime.database.read(function)


def _ready() -> bool:
    return _api.runtime is not None and _api.runtime.client.ready


_watch = EngineWatch(redis_url, _read)
_site = HealthApp(MetricsApp(_django, _watch, _read), _watch, _ready)
_api = api_app(AdminSockets(_site, _watch, _read, redis_url))
_counted = CountedApp(_api, (consumer.route for consumer in CONSUMERS))
application = LeavingApp(with_cors(_counted, server_settings()))
