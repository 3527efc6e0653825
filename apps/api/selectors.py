"""Reads of keys and prices. Each function is one SQL query."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from apps.api.models import ApiKey, PriceVersion
from engine.client import LimitRule


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-units of money per million tokens."""

    version: int = 0
    input_micros: int = 0
    cached_micros: int = 0
    output_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySnapshot:
    """What a web process knows of one key. Never changed, only replaced."""

    public_id: str
    digest: bytes
    name: str
    owner_id: str
    owner_name: str
    scopes: frozenset[str]
    allowed_models: frozenset[str]  # empty: all
    rules: tuple[LimitRule, ...]
    salt: bytes  # of the tenant; part of every prefix-cache hash
    expires_at: float | None  # Unix seconds
    dead: bool  # revoked, or the owner or its login is suspended
    epoch: int
    keeps_bodies: bool = False

    def usable(self, now: float) -> bool:
        return not self.dead and (self.expires_at is None or now < self.expires_at)

    def may_use(self, model: str) -> bool:
        return not self.allowed_models or model in self.allowed_models


def pepper() -> bytes:
    """The server's secret behind key digests and tenant salts."""
    secret: bytes = settings.PAGODA_SECRETS.pepper
    return secret


def key_read(public_id: str) -> KeySnapshot | None:
    """The key as it is now, also when it is revoked; None if there is none."""
    key = ApiKey.objects.select_related("owner__user").filter(public_id=public_id).first()
    return None if key is None else key_snapshot(key)


def keys_ended(public_ids: set[str]) -> set[str]:
    """Those of the ids whose keys may no longer be used."""
    usable = ApiKey.objects.usable().filter(public_id__in=public_ids)
    return public_ids - set(usable.values_list("public_id", flat=True))


def key_snapshot(key: ApiKey) -> KeySnapshot:
    return KeySnapshot(
        public_id=key.public_id,
        digest=bytes(key.digest),
        name=key.name,
        owner_id=str(key.owner_id),
        owner_name=key.owner.name,
        scopes=frozenset(key.scopes),
        allowed_models=frozenset(key.allowed_models),
        rules=key.rules(key.limits_subject) + key.owner.rules(f"owner:{key.owner_id}"),
        salt=tenant_salt(key.owner_id),
        expires_at=key.expires_at.timestamp() if key.expires_at else None,
        dead=key.revoked_at is not None or not key.owner.allowed,
        epoch=key.epoch,
        keeps_bodies=key.keep_bodies_days is not None,
    )


def tenant_salt(owner_id: int) -> bytes:
    return hmac.digest(pepper(), b"prefix-cache:%d" % owner_id, hashlib.sha256)[:16]


def keys_visible(owner_ids: Iterable[int] | None = None) -> QuerySet[ApiKey]:
    """Keys with their owners and successors; of these owners only, if given."""
    keys = ApiKey.objects.listed().select_related("owner__user", "successor")
    return keys if owner_ids is None else keys.filter(owner_id__in=list(owner_ids))


class PriceList:
    """Prices in force at one moment; the row without a model name covers the rest."""

    def __init__(self, rows: Iterable[PriceVersion]) -> None:
        self._by_model: dict[str, Price] = {}
        for row in rows:  # newest first
            price = Price(row.pk, row.input_micros, row.cached_micros, row.output_micros)
            self._by_model.setdefault(row.model, price)

    def of(self, name: str, base: str = "") -> Price:
        """The price of a name; an adapter or alias without its own has that of its base model."""
        for model in (name, base, ""):
            if (price := self._by_model.get(model)) is not None:
                return price
        return self._free

    @cached_property
    def _free(self) -> Price:
        return Price()


def prices_read() -> PriceList:
    return PriceList(PriceVersion.objects.filter(starts_at__lte=timezone.now()))
