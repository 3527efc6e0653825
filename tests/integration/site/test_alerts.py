"""Trouble reaches a real HTTP receiver once, and so does its end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import redis
from django.utils import timezone

from apps.api.models import ApiKey
from apps.api.services import KeyLimits, key_create, owner_get_or_create
from apps.models.alerts import alerts_check
from apps.models.models import EngineInstance, Host, ServedModel, State
from apps.models.overview import overview_read
from apps.models.trouble import Trouble, troubles_of
from apps.usage.models import UsageHour
from engine import redis_keys
from engine.messages import EngineBeat, EngineState, pack

pytestmark = pytest.mark.django_db


class Receiver:
    """Collects what is posted; answers `status`."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.status == 200:
                    receiver.messages.append(json.loads(body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Nothing on stderr."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def kinds(self) -> list[str]:
        return [f"{m['event']} {m['kind']}" for m in self.messages]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def client(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """The Redis that overview and alerts ask in these tests."""
    for module in ("apps.models.overview", "apps.models.alerts", "apps.api.services"):
        monkeypatch.setattr(f"{module}.redis_url", lambda: redis_url)
    with redis.Redis.from_url(redis_url) as made:
        yield made


@pytest.fixture
def model(db: None) -> ServedModel:
    model = ServedModel.objects.create(name="m", source="/m")
    host = Host.objects.create(name="node")
    EngineInstance.objects.create(
        model=model, replica=0, host=host, engine_id="e", state=State.READY
    )
    return model


def beat(client: redis.Redis, **fields: Any) -> None:
    message = EngineBeat(engine="e", model="m", state=EngineState.READY, **fields)
    client.set(redis_keys.engine_beat("e"), pack(message))


def seen() -> list[Trouble]:
    return troubles_of(overview_read())


def kinds() -> set[str]:
    return {trouble.kind for trouble in seen()}


def test_failed_engine_is_told_once_and_its_end_too(
    receiver: Receiver, client: redis.Redis, model: ServedModel
) -> None:
    beat(client)
    assert alerts_check(webhook=receiver.url) == 0
    model.instances.update(state=State.FAILED, cause="The disk is full.", fix="Free some.")
    alerts_check(webhook=receiver.url)
    alerts_check(webhook=receiver.url)
    assert receiver.messages[0]["text"] == "m: The disk is full. Free some."
    model.instances.update(state=State.READY, cause="", fix="")
    alerts_check(webhook=receiver.url)
    assert receiver.kinds() == ["raised engine_down", "resolved engine_down"]


def test_message_that_was_not_taken_is_sent_again(
    receiver: Receiver, client: redis.Redis, model: ServedModel
) -> None:
    receiver.status = 500
    assert alerts_check(webhook=receiver.url) == 0  # ready, but without a heartbeat
    receiver.status = 200
    assert alerts_check(webhook=receiver.url) == 1
    assert receiver.kinds() == ["raised engine_down"]


def test_silent_and_hung_engines_are_trouble(client: redis.Redis, model: ServedModel) -> None:
    assert kinds() == {"engine_down"}
    beat(client, running=1, step_age_ms=11_000)
    assert kinds() == {"engine_down"}
    beat(client, running=1, step_age_ms=5)
    assert kinds() == set()


def test_silent_agent_is_trouble(client: redis.Redis, model: ServedModel) -> None:
    beat(client)
    Host.objects.update(last_seen=timezone.now() - timedelta(minutes=1))
    assert kinds() == {"host_silent"}


def test_requests_that_wait_and_usage_that_waits_are_trouble(
    client: redis.Redis, model: ServedModel
) -> None:
    beat(client)
    long_ago = f"{int((timezone.now().timestamp() - 60) * 1000)}-0"
    queue = redis_keys.queue("m", "high")
    client.xadd(queue, {"rid": "r"}, id=long_ago)
    client.xgroup_create(queue, redis_keys.QUEUE_GROUP, id="0")
    client.xadd(redis_keys.USAGE, {"e": "x"}, id=long_ago)
    assert kinds() == {"queue_wait", "usage_backlog"}
    client.xreadgroup(redis_keys.QUEUE_GROUP, "e", {queue: ">"})
    assert kinds() == {"usage_backlog"}


def test_error_rate_counts_from_enough_requests(client: redis.Redis) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    row = UsageHour.objects.create(hour=hour, model="m", status="error", requests=2)
    UsageHour.objects.create(hour=hour, model="m", status="ok", requests=17)
    assert kinds() == set()
    row.requests = 3
    row.save()
    assert kinds() == {"error_rate"}


@pytest.mark.parametrize(
    ("spent", "kind"), [(790, set()), (800, {"budget_low"}), (1000, {"budget_spent"})]
)
def test_budget_is_trouble_from_80_percent(client: redis.Redis, spent: int, kind: set[str]) -> None:
    limits = KeyLimits(budget_tokens=1000)
    key, _ = key_create(owner=owner_get_or_create(name="me"), name="ci", limits=limits)
    client.set(redis_keys.limit("spent", f"key:{key.public_id}"), spent)
    assert kinds() == kind


def test_key_that_ends_soon_is_trouble_unless_it_was_made_to(client: redis.Redis) -> None:
    soon = timezone.now() + timedelta(days=2)
    key, _ = key_create(owner=owner_get_or_create(name="me"), name="short", expires_at=soon)
    assert kinds() == set()
    ApiKey.objects.filter(pk=key.pk).update(created_at=timezone.now() - timedelta(days=90))
    assert kinds() == {"key_expires"}


def test_redis_that_is_away_is_the_only_trouble_told(
    monkeypatch: pytest.MonkeyPatch, model: ServedModel
) -> None:
    monkeypatch.setattr("apps.models.overview.redis_url", lambda: "unix:///nowhere/redis.sock")
    assert kinds() == {"redis_away"}
