"""Budgets count in Redis; the truth is the database. Where Redis is behind, it is brought up."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import redis
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from apps.api.models import BUDGETS, LIMITS, ApiKey
from apps.usage.models import UsageDay
from engine import scripts

AT_ONCE = 1000
Spent = dict[str, dict[str, tuple[int, int]]]  # period → key's public id → tokens, micros


def budgets_restore(client: redis.Redis, **only: Any) -> int:
    """Raise what is spent of the budgets of these keys, or of all, and of their owners. Returns how
    many counters were behind: Redis had lost them, or the budget is younger than its use.

    Five queries; none of sums where no budget is set.
    """
    of_owner = Q(*((f"owner__{name}__isnull", False) for name in BUDGETS), _connector=Q.OR)
    of_key = Q(*((f"{name}__isnull", False) for name in BUDGETS), _connector=Q.OR)
    wanted = list(ApiKey.objects.filter(of_key | of_owner, **only).select_related("owner"))
    if not wanted:
        return 0
    holders = _holders(wanted)
    ids = {public_id for _, used_by in holders.values() for public_id in used_by}
    now = timezone.now()
    spent = {period: _spent(ids, period, now) for period in scripts.PERIOD_MS}
    counters = list(_counters(holders, spent, now))
    raised = 0
    for start in range(0, len(counters), AT_ONCE):
        some = counters[start : start + AT_ONCE]
        names, figures = [name for name, *_ in some], [part for _, *rest in some for part in rest]
        call = scripts.Call(scripts.script("raise_spent"), names, figures)
        raised += int(scripts.run(client, call))
    return raised


def _holders(keys: Iterable[ApiKey]) -> dict[str, tuple[Any, list[str]]]:
    """Subject of the limits → the row that has them, and the keys whose use counts."""
    by_subject: dict[str, tuple[Any, list[str]]] = {}
    for key in keys:
        by_subject[key.limits_subject] = key, []
        by_subject[f"owner:{key.owner_id}"] = key.owner, []
    owners = {key.owner_id for key in keys}
    for one in ApiKey.objects.filter(owner_id__in=owners).only("public_id", "counted_as", "owner"):
        for subject in (one.limits_subject, f"owner:{one.owner_id}"):
            if subject in by_subject:
                by_subject[subject][1].append(one.public_id)
    return by_subject


def _spent(ids: set[str], period: str, now: dt.datetime) -> dict[str, tuple[int, int]]:
    """Tokens and micros of each key in the period that runs now. One query."""
    sums: QuerySet[Any] = UsageDay.objects.filter(key_id__in=ids)
    if period == "day":
        sums = sums.filter(day=now.date())
    elif period == "month":
        sums = sums.filter(day__gte=now.date().replace(day=1))
    tokens = Sum(F("prompt_tokens") + F("completion_tokens"))
    rows = sums.values("key_id").annotate(tokens=tokens, money=Sum("micros"))
    return {row["key_id"]: (row["tokens"], row["money"]) for row in rows}


def _counters(
    holders: dict[str, tuple[Any, list[str]]], spent: Spent, now: dt.datetime
) -> Iterator[tuple[str, int, int]]:
    """Each budget's counter: its name, what it must show at least, ms it lives."""
    for subject, (row, used_by) in holders.items():
        for name in BUDGETS:
            if getattr(row, name) is None:
                continue
            kind, period = LIMITS[name]
            sums: dict[int, int] = defaultdict(int)
            for public_id in used_by:
                for column, figure in enumerate(spent[period].get(public_id, (0, 0))):
                    sums[column] += figure
            counter, _ = scripts.rule_keys(kind, subject, period, now.timestamp())
            yield counter, sums[int(kind == "money")], scripts.PERIOD_MS[period]
