"""What admission asks for and answers: limits, settings, refusals. `engine.client` hands it on."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidRequest, PagodaError, QuotaExceeded, RateLimited
from engine.messages import Bill, QueueBody
from engine.settings import setting

WHOSE = {"key": "This key", "owner": "The owner of this key", "model": "The users of this model"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Time limits and bounds of admission."""

    queue_wait_s: float = setting(
        30.0, "a request waits this long for an engine, then 503", low=0.1, high=600
    )
    deadline_s: float = setting(600.0, "longest life of a request", low=1, high=86400)
    queue_entries: int = setting(
        8192, "requests that may be open per model and lane", low=1, high=1_000_000
    )
    fair_share: int = setting(
        32, "further open requests of a key queue apart from those of other keys", low=1, high=10**6
    )
    queue_bytes: int = setting(268_435_456, "bytes that may wait per model and lane", low=65_536)
    usage_entries: int = setting(
        1_000_000, "ended requests that may wait for the database, then 503", low=100
    )
    redis_outage_s: float = setting(
        5.0, "open requests survive a Redis outage of this length", low=0.5, high=60
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRule:
    """kind: rpm, tpm, slots, budget (tokens) or money (millionths); subject: key:<public id>,
    owner:<id> or model:<name>. A budget with a period, "day" or "month" in UTC, begins anew with
    each."""

    kind: str
    subject: str
    limit: int
    period: str = ""

    @property
    def per(self) -> str:
        return f" a {self.period}" if self.period else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitLeft:
    """What is left of a rule after this request was admitted."""

    rule: LimitRule
    remaining: int
    reset_s: float  # until the limit is whole again


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """One request as admission sees it.

    `submit` sends a copy of `body` with attempt, web and clocks filled in; a `deadline_ms` above 0
    counts as milliseconds from now. `key_epoch` must not be older than `pgd:keys:epoch` has for
    the key and for "*"; `catalog_epoch` not older than `pgd:catalog:epoch`.
    """

    body: QueueBody
    lane: str
    key_id: str
    key_epoch: int
    catalog_epoch: int
    rules: tuple[LimitRule, ...]
    reserve_tokens: int
    bill: Bill
    reserve_micros: int = 0  # what those tokens cost at most
    load_s: float = 0.0  # how long the model's last load took: says when to come again


class StaleSnapshot(Exception):
    """The key or the catalog changed since it was read: reload `kind` once and submit again."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"The snapshot of the {kind} is stale.")
        self.kind = kind  # "key" or "catalog"


def new_rid() -> str:
    """A UUIDv7: sortable by time, unique for ever."""
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | secrets.randbits(76)
    value = value & ~(0b11 << 62) | 0b10 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def refusal(verdict: str, rule: LimitRule, admission: Admission, rest: list[Any]) -> PagodaError:
    """The error for a LIMIT or TOO_LARGE reply of admit.lua."""
    whose = WHOSE[rule.subject.partition(":")[0]]
    money = rule.kind == "money"
    if verdict == "TOO_LARGE":
        reserve = f"{admission.reserve_tokens} tokens"
        if money:
            reserve += f" for {_money(admission.reserve_micros)}"
        return InvalidRequest(
            f"Prompt and max_tokens reserve {reserve}, more than the whole limit of "
            f"{_money(rule.limit) if money else rule.limit}. Lower max_tokens or shorten the "
            "prompt.",
            param="max_tokens",
        )
    if rule.kind in ("budget", "money"):
        amount = _money(rule.limit) if money else f"{rule.limit} tokens"
        return QuotaExceeded(
            f"{whose} has used up its budget of {amount}{rule.per}.", param="budget"
        )
    unit = {"rpm": "requests per minute", "tpm": "tokens per minute", "slots": "requests at once"}
    return RateLimited(
        f"{whose} may use {rule.limit} {unit[rule.kind]}. Try again later.",
        param=rule.kind,
        retry_after_s=max(0.001, rest[0] / 1000),
    )


def _money(micros: int) -> str:
    return f"{micros / 1e6:.6f}".rstrip("0").rstrip(".")
