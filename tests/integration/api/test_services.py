"""Keys: created, edited, rotated, revoked; each change audited and told to admission."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from apps.api import services
from apps.api.models import ApiKey, AuditEvent, Owner
from apps.api.selectors import key_read
from engine import redis_keys
from engine.errors import InvalidRequest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What admission knows: public id → epoch."""
    monkeypatch.setattr(services, "redis_url", lambda: redis_url)

    def epochs() -> dict[str, int]:
        with redis.Redis.from_url(redis_url) as client:
            found = client.hgetall(redis_keys.KEYS_EPOCH)
        return {name.decode(): int(value) for name, value in found.items()}  # type: ignore[union-attr]

    return epochs


@pytest.fixture
def owner() -> Owner:
    return services.owner_get_or_create(name="team")


def test_the_secret_is_stored_nowhere(owner: Owner, told: Any) -> None:
    key, text = services.key_create(owner=owner, name="a")
    stored = ApiKey.objects.filter(pk=key.pk).values().get()
    assert text not in str(stored)
    assert text[13:56] not in str(stored) + str(list(AuditEvent.objects.values()))


def test_a_change_raises_the_epoch_everywhere(owner: Owner, told: Any) -> None:
    key, _ = services.key_create(owner=owner, name="a")
    services.key_edit(key=key, rpm=5)
    assert key.epoch == 2
    assert told() == {key.public_id: 2}
    assert not ApiKey.objects.unpublished().exists()


def test_without_redis_the_change_waits_in_the_outbox(
    owner: Owner, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = services.key_create(owner=owner, name="a")
    with monkeypatch.context() as away:
        away.setattr(services, "redis_url", lambda: "unix:///nowhere/redis.sock")
        services.key_revoke(key=key)
    assert told() == {}
    assert list(ApiKey.objects.unpublished()) == [key]
    assert services.epochs_publish() == 1
    assert told() == {key.public_id: 2}
    assert services.epochs_publish() == 0


def test_an_older_epoch_never_replaces_a_newer_one(owner: Owner, told: Any, redis_url: str) -> None:
    key, _ = services.key_create(owner=owner, name="a")
    with redis.Redis.from_url(redis_url) as client:
        client.hset(redis_keys.KEYS_EPOCH, key.public_id, 9)
    services.key_edit(key=key, rpm=5)
    assert told() == {key.public_id: 9}


def test_revoking_twice_is_one_event(owner: Owner, told: Any) -> None:
    key, _ = services.key_create(owner=owner, name="a")
    services.key_revoke(key=key)
    services.key_revoke(key=key)
    assert AuditEvent.objects.filter(action="key.revoke").count() == 1
    found = key_read(key.public_id)
    assert found is not None
    assert found.dead


def test_rotation_makes_an_equal_successor_and_ends_the_old_key(owner: Owner, told: Any) -> None:
    limits = services.KeyLimits(rpm=7, budget_tokens=9)
    key, _ = services.key_create(owner=owner, name="a", scopes=["inference"], limits=limits)
    successor, text = services.key_rotate(key=key, grace_hours=2)
    assert (successor.rpm, successor.budget_tokens, successor.name) == (7, 9, "a")
    assert text.startswith(f"pgd_{successor.public_id}_")
    assert key.successor == successor
    assert key.expires_at is not None
    assert timedelta(hours=1.9) < key.expires_at - timezone.now() <= timedelta(hours=2)
    with pytest.raises(InvalidRequest):
        services.key_rotate(key=key)


def test_rotation_gives_no_second_allowance(owner: Owner, told: Any) -> None:
    limits = services.KeyLimits(rpm=7, budget_tokens=9)
    key, _ = services.key_create(owner=owner, name="a", limits=limits)
    second, _ = services.key_rotate(key=key, grace_hours=2)
    third, _ = services.key_rotate(key=second)
    found = [key_read(one.public_id) for one in (key, second, third)]
    counted = [[rule.subject for rule in one.rules] for one in found if one is not None]
    assert counted == [[f"key:{key.public_id}"] * 2] * 3


def test_limits_of_an_owner_stand_beside_those_of_each_key(owner: Owner, told: Any) -> None:
    key, _ = services.key_create(owner=owner, name="a", limits=services.KeyLimits(rpm=7))
    shared = services.KeyLimits(rpm=9, tokens_per_day=100, micros_per_month=5)
    services.owner_limits_set(owner=owner, limits=shared)
    found = key_read(key.public_id)
    assert found is not None
    assert found.epoch == 2
    assert told() == {key.public_id: 2}
    name = f"owner:{owner.pk}"
    assert [(r.subject, r.kind, r.limit, r.period) for r in found.rules] == [
        (f"key:{key.public_id}", "rpm", 7, ""),
        (name, "rpm", 9, ""),
        (name, "budget", 100, "day"),
        (name, "money", 5, "month"),
    ]
    with pytest.raises(InvalidRequest, match="'micros_per_day' must be a whole number"):
        services.owner_limits_set(owner=owner, limits=services.KeyLimits(micros_per_day=0))


def test_of_two_rotations_one_wins_and_the_other_leaves_no_key(owner: Owner, told: Any) -> None:
    key, _ = services.key_create(owner=owner, name="a")
    seen_before = ApiKey.objects.get(pk=key.pk)
    services.key_rotate(key=key, grace_hours=1)
    with pytest.raises(InvalidRequest):
        services.key_rotate(key=seen_before, grace_hours=1)
    assert ApiKey.objects.count() == 2


def test_a_key_revoked_meanwhile_gets_no_successor(owner: Owner, told: Any) -> None:
    key, _ = services.key_create(owner=owner, name="a")
    seen_before = ApiKey.objects.get(pk=key.pk)
    services.key_revoke(key=key)
    with pytest.raises(InvalidRequest):
        services.key_rotate(key=seen_before)
    services.key_revoke(key=seen_before)
    assert ApiKey.objects.get().revoked_at == key.revoked_at
    assert AuditEvent.objects.filter(action="key.revoke").count() == 1


def test_grace_is_bounded(owner: Owner, told: Any) -> None:
    key, _ = services.key_create(owner=owner, name="a")
    for hours in (-1, 73, float("nan")):
        with pytest.raises(InvalidRequest):
            services.key_rotate(key=key, grace_hours=hours)


@pytest.mark.parametrize(
    "changes",
    [
        {"rpm": 0},
        {"tpm": True},
        {"parallel": "5"},
        {"budget_tokens": 10**16},
        {"scopes": ["root"]},
        {"name": ""},
        {"name": "a\0b"},
        {"allowed_models": [["tiny"]]},
        {"allowed_models": ["a\0b"]},
        {"digest": b""},
        {"owner": 1},
        {"epoch": 1},
    ],
)
def test_bad_values_and_other_fields_cannot_be_written(
    owner: Owner, told: Any, changes: dict[str, Any]
) -> None:
    key, _ = services.key_create(owner=owner, name="a")
    with pytest.raises(InvalidRequest):
        services.key_edit(key=key, **changes)
    assert told() == {}


def test_suspending_an_owner_ends_all_keys(owner: Owner, told: Any) -> None:
    keys = [services.key_create(owner=owner, name=str(n))[0] for n in range(3)]
    services.owner_set_active(owner=owner, active=False)
    assert told() == {key.public_id: 2 for key in keys}
    assert not ApiKey.objects.usable().exists()


def test_a_given_key_is_imported(owner: Owner, told: Any) -> None:
    _, text = services.key_create(owner=owner, name="a")
    ApiKey.objects.all().delete()
    key, same = services.key_create(owner=owner, name="b", text=text)
    assert same == text
    assert text[4:12] == key.public_id
    with pytest.raises(InvalidRequest):
        services.key_create(owner=owner, name="c", text="two words")
    word, _ = services.key_create(owner=owner, name="d", text="token-abc123")
    assert word.hint == ""
