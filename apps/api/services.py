"""Writes to keys and owners: each audited, each visible to admission at once.

A change commits with `epoch + 1`; then the epoch goes to Redis, where admission compares it. When
Redis cannot be reached the row stays `unpublished()` and `epochs_publish` tries again: until
then no request is admitted anyway, because admission itself needs Redis.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import redis
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.api import keyformat
from apps.api.models import LIMITS, MAX_KEEP_DAYS, ApiKey, AuditEvent, Owner, Scope
from apps.api.selectors import pepper
from apps.usage.bodies import bodies_keep
from apps.usage.budgets import key_budgets_restore
from engine import redis_keys, scripts
from engine.errors import InvalidRequest
from inference_site.redis import redis_url

log = logging.getLogger(__name__)

MAX_GRACE_HOURS = 72
EDITABLE = frozenset(
    {
        "name",
        "scopes",
        "allowed_models",
        *LIMITS,
        "expires_at",
        "keep_bodies_days",
    }
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change: a user name, `key:<public id>` or `system`."""

    name: str = "system"
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Limits of a key or of an owner; None means none."""

    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None
    budget_tokens: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    micros_per_day: int | None = None
    micros_per_month: int | None = None


def audit_record(*, actor: Actor, action: str, subject: str, **detail: Any) -> AuditEvent:
    return AuditEvent.objects.create(
        actor=actor.name, address=actor.address, action=action, subject=subject, detail=detail
    )


def owner_get_or_create(*, name: str, kind: str = Owner.Kind.PERSON) -> Owner:
    """Raises `InvalidRequest` for a name that cannot be stored."""
    _check_name(name, "owner")
    return Owner.objects.get_or_create(name=name, defaults={"kind": kind})[0]


@transaction.atomic
def key_create(
    *,
    owner: Owner,
    name: str,
    scopes: Sequence[str] = (Scope.INFERENCE,),
    allowed_models: Sequence[str] = (),
    limits: KeyLimits = KeyLimits(),
    expires_at: datetime | None = None,
    actor: Actor = Actor(),
    text: str | None = None,
    temporary: bool = False,
    keep_bodies_days: int | None = None,
    counted_as: str = "",
) -> tuple[ApiKey, str]:
    """Make a key; the second value is its text, shown once. `text` imports a given key. Its use is
    counted with that of the key whose public id is `counted_as`.

    Raises `InvalidRequest` for an unknown scope, a bad limit or a text of the wrong form.
    """
    new = keyformat.generate() if text is None else _imported(text)
    changes: dict[str, Any] = {
        "scopes": list(scopes),
        "allowed_models": list(allowed_models),
        "keep_bodies_days": keep_bodies_days,
    }
    changes |= {limit: getattr(limits, limit) for limit in LIMITS}
    _check(changes | {"name": name})
    key = ApiKey.objects.create(
        public_id=new.public_id,
        digest=keyformat.digest(new.text, pepper()),
        hint=new.text[-4:]
        if len(new.text) >= keyformat.KEY_CHARS
        else "",  # no part of a short one
        owner=owner,
        name=name,
        expires_at=expires_at,
        temporary=temporary,
        counted_as=counted_as,
        **changes,
    )
    audit_record(actor=actor, action="key.create", subject=key.public_id, name=name, **changes)
    return key, new.text


@transaction.atomic
def key_edit(*, key: ApiKey, actor: Actor = Actor(), **changes: Any) -> ApiKey:
    """Change any field but the secret. Raises `InvalidRequest` for a bad value."""
    if unknown := set(changes) - EDITABLE:
        name = sorted(unknown)[0]
        raise InvalidRequest(f"'{name}' cannot be changed.", param=name)
    _check(changes)
    before = {name: _plain(getattr(key, name)) for name in changes}
    _key_write(key, changes)
    if "keep_bodies_days" in changes:
        bodies_keep(key_id=key.public_id, days=key.keep_bodies_days)
    after = {name: _plain(value) for name, value in changes.items()}
    audit_record(actor=actor, action="key.edit", subject=key.public_id, before=before, after=after)
    return key


@transaction.atomic
def key_revoke(*, key: ApiKey, actor: Actor = Actor()) -> ApiKey:
    """End a key now. Its running streams are cut within seconds. Revoking twice changes nothing."""
    if _key_write(key, {"revoked_at": timezone.now()}, revoked_at__isnull=True):
        audit_record(actor=actor, action="key.revoke", subject=key.public_id)
    return key


@transaction.atomic
def key_rotate(
    *, key: ApiKey, grace_hours: float = 0, actor: Actor = Actor()
) -> tuple[ApiKey, str]:
    """Give the key a successor with the same rights; the old one ends after 0 to 72 hours. Limits
    and the token budget go on: both keys draw on the same ones."""
    if not 0 <= grace_hours <= MAX_GRACE_HOURS:
        raise InvalidRequest(
            f"'grace_hours' is {grace_hours}; it must be between 0 and {MAX_GRACE_HOURS}.",
            param="grace_hours",
        )
    limits = KeyLimits(**{limit: getattr(key, limit) for limit in LIMITS})
    successor, text = key_create(
        owner=key.owner,
        name=key.name,
        scopes=key.scopes,
        allowed_models=key.allowed_models,
        limits=limits,
        expires_at=key.expires_at,
        keep_bodies_days=key.keep_bodies_days,
        counted_as=key.counted_as or key.public_id,
        actor=actor,
    )
    ends = timezone.now() + timedelta(hours=grace_hours)
    ends = min(ends, key.expires_at) if key.expires_at else ends
    changes = {"successor": successor, "expires_at": ends}
    if not key.usable or not _key_write(
        key, changes, revoked_at__isnull=True, successor__isnull=True
    ):
        raise InvalidRequest("This key has ended or was rotated before; rotate its successor.")
    audit_record(actor=actor, action="key.rotate", subject=key.public_id, to=successor.public_id)
    return successor, text


@transaction.atomic
def owner_set_active(*, owner: Owner, active: bool, actor: Actor = Actor()) -> Owner:
    """Suspend or readmit all keys of an owner."""
    owner.active = active
    owner.save(update_fields=["active"])
    audit_record(actor=actor, action="owner.active", subject=owner.name, active=active)
    owner_keys_changed(owner=owner)
    return owner


@transaction.atomic
def owner_limits_set(*, owner: Owner, limits: KeyLimits, actor: Actor = Actor()) -> Owner:
    """What all keys of an owner may use together, beside what each may. Applies at once.

    Raises `InvalidRequest` for a bad limit."""
    values = {name: getattr(limits, name) for name in LIMITS}
    _check(values)
    for name, value in values.items():
        setattr(owner, name, value)
    owner.save(update_fields=list(values))
    audit_record(actor=actor, action="owner.limits", subject=owner.name, **values)
    owner_keys_changed(owner=owner)
    return owner


@transaction.atomic
def owner_keys_changed(*, owner: Owner) -> None:
    """What web processes remember of all keys of an owner is stale from now on."""
    owner.keys.update(epoch=F("epoch") + 1)
    transaction.on_commit(partial(epochs_publish, owner_id=owner.pk))


@transaction.atomic
def keys_used(*, seen: dict[str, datetime]) -> None:
    """Note when keys were last used (public id → time)."""
    for public_id, at in seen.items():
        ApiKey.objects.filter(public_id=public_id).update(last_used_at=at)


def epochs_publish(**only: Any) -> int:
    """Tell admission of changed keys. Returns how many; 0 when Redis is away (tried again)."""
    keys = list(
        ApiKey.objects.unpublished().filter(**only).values_list("public_id", "epoch")[:1000]
    )
    if not keys:
        return 0
    try:
        # Without the library's retries: the row stays in the outbox, and the caller waits.
        once = Retry(NoBackoff(), 0)
        with redis.Redis.from_url(redis_url(), socket_timeout=2, retry=once) as client:
            key_budgets_restore(client, public_id__in=[public_id for public_id, _ in keys])
            flat = [part for pair in keys for part in pair]
            scripts.run(
                client, scripts.Call(scripts.script("raise_epochs"), (redis_keys.KEYS_EPOCH,), flat)
            )
    except redis.RedisError as error:
        log.warning("key_epochs_unpublished", extra={"cause": type(error).__name__})
        return 0
    for public_id, epoch in keys:
        # Only up to the epoch that was sent: a later change stays in the outbox.
        ApiKey.objects.filter(public_id=public_id, published_epoch__lt=epoch).update(
            published_epoch=epoch
        )
    return len(keys)


def _key_write(key: ApiKey, changes: dict[str, Any], **still: Any) -> bool:
    """Write the fields with a new epoch, and publish it once the transaction is committed.

    False, and nothing is written, when the row is no longer `still` like that.
    """
    moved = ApiKey.objects.filter(pk=key.pk, **still).update(**changes, epoch=F("epoch") + 1)
    key.refresh_from_db()
    transaction.on_commit(partial(epochs_publish, pk=key.pk))
    return moved == 1


def _imported(text: str) -> keyformat.NewKey:
    """Of our form, or any word: that one holds while PAGODA_API_KEY names it."""
    if not keyformat.is_word(text):
        raise InvalidRequest(
            f"An API key is 1 to {keyformat.MAX_CHOSEN_CHARS} visible ASCII characters."
        )
    public_id = keyformat.public_id_of(text) or keyformat.chosen_id(text, pepper())
    return keyformat.NewKey(public_id, text)


def _check(changes: dict[str, Any]) -> None:
    """Raise `InvalidRequest` for the first field that cannot be stored."""
    if "name" in changes:
        _check_name(changes["name"], "name")
    for name in changes.get("allowed_models", ()):
        if not (isinstance(name, str) and name.isprintable()):
            raise InvalidRequest("'allowed_models' must hold model names.", param="allowed_models")
    for scope in changes.get("scopes", ()):
        if scope not in Scope.values:
            known = ", ".join(Scope.values)
            raise InvalidRequest(f"'scopes' holds {scope!r}; known are {known}.", param="scopes")
    for limit in LIMITS:
        value = changes.get(limit)
        if value is not None and not (type(value) is int and 1 <= value <= 10**15):
            raise InvalidRequest(f"'{limit}' must be a whole number above 0, or null.", param=limit)
    days = changes.get("keep_bodies_days")
    if days is not None and not (type(days) is int and 1 <= days <= MAX_KEEP_DAYS):
        raise InvalidRequest(
            f"'keep_bodies_days' must be a whole number from 1 to {MAX_KEEP_DAYS}, or null.",
            param="keep_bodies_days",
        )


def _check_name(name: str, param: str) -> None:
    """Names stand in lists, logs and rows: no control characters, which PostgreSQL refuses too."""
    if not 1 <= len(name.strip()) <= 128 or not name.isprintable():
        raise InvalidRequest(f"'{param}' must have 1 to 128 printable characters.", param=param)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
