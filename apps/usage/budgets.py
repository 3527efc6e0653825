"""Budgets count in Redis; the truth is the database. Where Redis is behind, it is brought up."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

import redis
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from apps.api.models import BUDGETS, LIMITS, ApiKey, Limited
from apps.models.models import ServedModel
from apps.usage.models import UsageDay
from engine import scripts

AT_ONCE = 1000
Spent = dict[str, dict[str, tuple[int, int]]]  # period → key or model → tokens, micros
Holders = dict[str, tuple[Limited, list[str]]]  # subject → who has limits, whose use counts


def budgets_restore(client: redis.Redis) -> int:
    """Raise what is spent of all budgets to what the database has. Returns how many counters were
    behind: Redis had lost them, or the budget is younger than its use."""
    return key_budgets_restore(client) + model_budgets_restore(client)


def key_budgets_restore(client: redis.Redis, **only: Any) -> int:
    """The same for these keys, or all, and their owners.

    Five queries; none of sums where no budget is set.
    """
    wanted = ApiKey.objects.filter(_budgeted() | _budgeted("owner__"), **only)
    holders = _key_holders(list(wanted.select_related("owner")))
    return _raised(client, holders, "key_id")


def model_budgets_restore(client: redis.Redis, **only: Any) -> int:
    """The same for these models, or all. Four queries; one where no budget is set."""
    wanted = ServedModel.objects.filter(_budgeted(), **only)
    holders: Holders = {f"model:{row.name}": (row, [row.name]) for row in wanted}
    return _raised(client, holders, "model")


def _budgeted(prefix: str = "") -> Q:
    return Q(*((f"{prefix}{name}__isnull", False) for name in BUDGETS), _connector=Q.OR)


def _raised(client: redis.Redis, holders: Holders, column: str) -> int:
    if not holders:
        return 0
    names = {name for _, used_by in holders.values() for name in used_by}
    now = timezone.now()
    spent = {period: _spent(column, names, period, now) for period in scripts.PERIOD_MS}
    counters = list(_counters(holders, spent, now))
    raised = 0
    for start in range(0, len(counters), AT_ONCE):
        some = counters[start : start + AT_ONCE]
        keys, figures = [name for name, *_ in some], [part for _, *rest in some for part in rest]
        call = scripts.Call(scripts.script("raise_spent"), keys, figures)
        raised += int(scripts.run(client, call))
    return raised


def _key_holders(keys: Collection[ApiKey]) -> Holders:
    by_subject: Holders = {}
    for key in keys:
        by_subject[key.limits_subject] = key, []
        by_subject[f"owner:{key.owner_id}"] = key.owner, []
    owners = {key.owner_id for key in keys}
    for one in ApiKey.objects.filter(owner_id__in=owners).only("public_id", "counted_as", "owner"):
        for subject in (one.limits_subject, f"owner:{one.owner_id}"):
            if subject in by_subject:
                by_subject[subject][1].append(one.public_id)
    return by_subject


def _spent(
    column: str, names: set[str], period: str, now: dt.datetime
) -> dict[str, tuple[int, int]]:
    """Tokens and micros of each key or model in the period that runs now. One query."""
    sums: QuerySet[Any] = UsageDay.objects.filter(**{f"{column}__in": names})
    if column == "model":
        sums = sums.filter(key_id="")  # the sums of all keys
    if period == "day":
        sums = sums.filter(day=now.date())
    elif period == "month":
        sums = sums.filter(day__gte=now.date().replace(day=1))
    tokens = Sum(F("prompt_tokens") + F("completion_tokens"))
    rows = sums.values(column).annotate(tokens=tokens, money=Sum("micros"))
    return {row[column]: (row["tokens"], row["money"]) for row in rows}


def _counters(holders: Holders, spent: Spent, now: dt.datetime) -> Iterator[tuple[str, int, int]]:
    """Each budget's counter: its name, what it must show at least, ms it lives."""
    for subject, (row, used_by) in holders.items():
        for name in BUDGETS:
            if getattr(row, name) is None:
                continue
            kind, period = LIMITS[name]
            sums: dict[int, int] = defaultdict(int)
            for user in used_by:
                for column, figure in enumerate(spent[period].get(user, (0, 0))):
                    sums[column] += figure
            counter, _ = scripts.rule_keys(kind, subject, period, now.timestamp())
            yield counter, sums[int(kind == "money")], scripts.PERIOD_MS[period]
