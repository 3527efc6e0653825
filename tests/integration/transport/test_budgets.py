"""Budgets count in Redis and are true in the database: what Redis lost is brought back."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from apps.api import services
from apps.api.models import LIMITS, Owner
from apps.models import services as catalog
from apps.models.models import ServedModel
from apps.usage.budgets import budgets_restore
from apps.usage.rows import record_of
from apps.usage.settler import Settler
from apps.usage.store import usage_insert
from engine import redis_keys
from engine.messages import Counts, Finish, UsageEvent
from engine.scripts import PERIOD_MS, rule_keys

pytestmark = pytest.mark.django_db(transaction=True)
PRICES = {"input_micros": 3_000_000, "output_micros": 7_000_000}  # 3 and 7 a token
NOW = timezone.now()
ALL = services.KeyLimits(
    budget_tokens=1000, tokens_per_day=900, tokens_per_month=800, micros_per_day=700,
    micros_per_month=600,
)  # fmt: skip


@pytest.fixture(autouse=True)
def published_here(redis_url, monkeypatch):
    monkeypatch.setattr(services, "redis_url", lambda: redis_url)


@pytest.fixture
def owner() -> Owner:
    return services.owner_get_or_create(name="team")


def used(key, *, at: dt.datetime = NOW) -> None:
    """A row of 10 + 5 tokens for 65 millionths, and its sums."""
    event = UsageEvent(
        rid=f"{key.public_id}-{at.isoformat()}", finish=Finish.STOP, attempts=1, engine="e",
        counts=Counts(prompt_tokens=10, completion_tokens=5),
        ended_ms=int(at.timestamp() * 1000), bill={"key_id": key.public_id, "model": "m", **PRICES},
    )  # fmt: skip
    usage_insert([record_of(event, at)])


def spent(r, subject: str) -> list[int]:
    """Tokens in all, today, this month; money today, this month."""
    kinds = [("budget", p) for p in ("", "day", "month")] + [("money", p) for p in ("day", "month")]
    names = [rule_keys(kind, subject, period, NOW.timestamp())[0] for kind, period in kinds]
    return [int(value or 0) for value in r.mget(names)]


def test_a_settler_brings_back_what_redis_lost(r, redis_url, owner):
    key, _ = services.key_create(owner=owner, name="a", limits=ALL)
    services.owner_limits_set(owner=owner, limits=services.KeyLimits(tokens_per_month=10**6))
    other, _ = services.key_create(owner=owner, name="b")
    successor, _ = services.key_rotate(key=key, grace_hours=1)
    last_year = NOW - dt.timedelta(days=370)
    for one, at in ((key, NOW), (successor, NOW), (key, last_year), (other, NOW)):
        used(one, at=at)
    r.flushall()
    settler = Settler(redis_url)
    settler.stop()
    settler._ensure_group()
    settler._restore_budgets()
    assert spent(r, f"key:{key.public_id}") == [45, 30, 30, 130, 130]
    assert spent(r, f"owner:{owner.pk}") == [0, 0, 45, 0, 0]
    assert spent(r, f"key:{other.public_id}") == [0] * 5
    month = rule_keys("money", f"key:{key.public_id}", "month", NOW.timestamp())[0]
    assert 0 < r.pttl(month) <= PERIOD_MS["month"]
    assert r.pttl(redis_keys.limit("spent", f"key:{key.public_id}")) == -1
    settler._leave()


def test_budgets_of_models_count_what_all_keys_used(r, redis_url, owner, monkeypatch):
    monkeypatch.setattr(catalog, "redis_url", lambda: redis_url)
    ServedModel.objects.create(name="m", source="s", path="s")
    ServedModel.objects.create(name="n", source="s", path="s", tokens_per_day=5)
    keys = [services.key_create(owner=owner, name=name)[0] for name in "ab"]
    for key in keys:
        used(key)
    used(keys[0], at=NOW - dt.timedelta(days=370))
    catalog.model_limits_set(name="m", **dict.fromkeys(LIMITS, 900))
    assert spent(r, "model:m") == [45, 30, 30, 130, 130]
    r.flushall()
    assert budgets_restore(r) == 5
    assert spent(r, "model:m") == [45, 30, 30, 130, 130]
    assert spent(r, "model:n") == [0] * 5


def test_redis_is_ahead_of_the_database_and_stays_so(r, owner):
    key, _ = services.key_create(owner=owner, name="a", limits=ALL)
    used(key)
    name = redis_keys.limit("spent", f"key:{key.public_id}")
    r.set(name, 77)
    assert budgets_restore(r) == 4
    assert r.get(name) == b"77"
    assert budgets_restore(r) == 0


def test_a_budget_counts_what_was_used_before_it_was_set(r, owner):
    key, _ = services.key_create(owner=owner, name="a")
    used(key)
    services.key_edit(key=key, tokens_per_day=100)
    assert spent(r, f"key:{key.public_id}") == [0, 15, 0, 0, 0]
