"""The usage page's contents: figures, series and tables of one form, in at most six queries."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from apps.models.templatetags.pagoda import change, ms
from apps.usage import report
from apps.usage.forms import FAILED, METRICS, UsageForm, statuses
from apps.usage.histogram import BUCKETS
from apps.usage.models import SUM_FIELDS, Status
from apps.usage.period import Period
from apps.usage.report import Amounts, Cell, Histograms, KeyName, Line, Which

TOP = 10
SERIES = 6  # more colours than that nobody tells apart
NO_ADAPTER = "(base model)"
FILTERS = ("model", "adapter", "key", "owner", "status")
TITLES = {
    "key": "API keys",
    "owner": "Owners",
    "model": "Models",
    "adapter": "Adapters",
    "status": "Statuses",
}


@dataclass(slots=True)
class Card:
    """One figure with its change against the period before."""

    title: str
    value: str
    note: str = ""
    change: float | None = None  # share; None where there is nothing to compare with
    good_when: str = ""  # "up" or "down" where one is better
    link: str = ""

    @property
    def change_text(self) -> str:
        if self.change is None:
            return "no earlier figure"
        if abs(self.change) < 0.0005:
            return "unchanged"
        return change(self.change, "the period before")

    @property
    def tone(self) -> str:
        if self.change is None or not self.good_when or abs(self.change) < 0.0005:
            return "plain"
        return "good" if (self.change > 0) == (self.good_when == "up") else "bad"


@dataclass(slots=True)
class Table:
    """A breakdown: `lines` with links, and how many more there are."""

    title: str
    column: str
    lines: list[dict[str, Any]] = field(default_factory=list)
    more: int = 0


@dataclass(slots=True)
class Facts:
    """What the queries answered; everything else is arithmetic."""

    cells: list[Cell]
    totals: list[Cell]  # of the cells, over all steps
    steps: dict[dt.datetime, tuple[Amounts, Histograms]]  # of the span and the one before
    keys: list[Line]
    names: dict[str, KeyName]


@dataclass(slots=True)
class Dashboard:
    """`log_url` turns filters into an address of the request log."""

    form: UsageForm
    span: Period
    which: Which
    log_url: Callable[[str], str]

    def context(self) -> dict[str, Any]:
        facts = self._facts()
        tables = self._tables(facts)
        return {
            "span": self.span,
            "empty": not facts.cells,
            "cards": self._cards(facts),
            "tables": tables,
            "heat": _heat_rows(report.heat(self.span, self.which)),
            "models": sorted({total.model for total in facts.totals}),
            "adapters": sorted({total.adapter for total in facts.totals if total.adapter}),
            "data": {
                "labels": [_label(at, self.span) for at in self.span.steps()],
                "tokens": self._tokens(facts),
                "statuses": self._statuses(facts),
                **{metric: self._waits(facts, metric) for metric in report.LATENCIES},
                "groups": self._groups(facts),
            },
        }

    def _facts(self) -> Facts:
        both = Period(self.span.before().start, self.span.end, self.span.grain)
        keys = report.per_key(self.span, self.which)
        everyone = self.form.value("group") == "owner"
        cells = report.cells(self.span, self.which)
        return Facts(
            cells=cells,
            totals=report.totals(cells),
            steps=report.latencies(both, self.which),
            keys=keys,
            names=report.key_names(None if everyone else [line.name for line in keys[:TOP]]),
        )

    def _totals(self, facts: Facts, *, before: bool) -> tuple[Amounts, Histograms]:
        amounts = dict.fromkeys(SUM_FIELDS, 0)
        histograms = {metric: [0] * BUCKETS for metric in report.LATENCIES}
        for at, (more, counts) in facts.steps.items():
            if (at < self.span.start) == before:
                report.add(amounts, more)
                for metric, sums in histograms.items():
                    sums[:] = [a + b for a, b in zip(sums, counts[metric], strict=True)]
        return amounts, histograms

    def _cards(self, facts: Facts) -> list[Card]:
        now, histograms = self._totals(facts, before=False)
        before, _ = self._totals(facts, before=True)
        errors = sum(c.amounts["requests"] for c in facts.totals if c.status in statuses(FAILED))

        def against(name: str) -> float | None:
            return now[name] / before[name] - 1 if before[name] else None

        requests = now["requests"]
        cached = now["cached_tokens"] / now["prompt_tokens"] if now["prompt_tokens"] else 0.0
        ttft, itl = (report.percentiles(histograms[metric]) for metric in report.LATENCIES)
        everything = self._link()
        return [
            Card("Requests", f"{requests:,}", "ended in this period", against("requests"), "up",
                 everything),
            Card("Input tokens", compact(now["prompt_tokens"]),
                 f"{100 * cached:.1f} % from the cache",
                 against("prompt_tokens"), "", everything),
            Card("Output tokens", compact(now["completion_tokens"]), "counted at the sampler",
                 against("completion_tokens"), "", everything),
            Card("Failed", f"{100 * errors / requests:.1f} %" if requests else "–",
                 f"{errors:,} lost or refused", None, "down", self._link(status=FAILED)),
            Card("First token, p95", ms(ttft[1]), f"p50 {ms(ttft[0])} · p99 {ms(ttft[2])}"),
            Card("Between tokens, p95", ms(itl[1]), f"p50 {ms(itl[0])} · p99 {ms(itl[2])}"),
            Card("Active keys", f"{len(facts.keys):,}", "with at least one request"),
            Card("Cost", money(now["micros"]), "in the unit of the prices", against("micros")),
        ]  # fmt: skip

    def _tokens(self, facts: Facts) -> dict[str, list[int]]:
        none = dict.fromkeys(SUM_FIELDS, 0)
        steps = [facts.steps[at][0] if at in facts.steps else none for at in self.span.steps()]
        return {
            "Input": [a["prompt_tokens"] - a["cached_tokens"] for a in steps],
            "Cached input": [a["cached_tokens"] for a in steps],
            "Output": [a["completion_tokens"] for a in steps],
        }

    def _statuses(self, facts: Facts) -> dict[str, list[float]]:
        at = _summed(((cell.at, cell.status), cell.amounts["requests"]) for cell in facts.cells)
        return {status: self._series(at, status) for status in Status.values}

    def _waits(self, facts: Facts, metric: str) -> dict[str, list[float | None]]:
        none: list[float | None] = [None] * len(report.SHARES)
        steps = [
            report.percentiles(facts.steps[at][1][metric]) if at in facts.steps else none
            for at in self.span.steps()
        ]
        return {name: [step[i] for step in steps] for i, name in enumerate(("p50", "p95", "p99"))}

    def _tables(self, facts: Facts) -> list[Table]:
        """The chosen breakdown first, then keys, models and adapters as far as not shown yet."""
        order = dict.fromkeys([self.form.value("group"), "key", "model", "adapter"])
        return [self._table(group, facts) for group in order]

    def _table(self, group: str, facts: Facts) -> Table:
        lines = self._lines(group, facts)
        shown = lines[:TOP]
        table = Table(TITLES[group], group, more=len(lines) - len(shown))
        most = max((line.amounts["requests"] for line in shown), default=1)
        for line in shown:
            table.lines.append(
                {
                    "label": self._label(group, line, facts.names),
                    "note": line.name if group == "key" else "",
                    # a filter cannot ask for no name: that row leads to everything
                    "link": self._link(**{group: line.name}) if line.name else self._link(),
                    "share": max(1, round(100 * line.amounts["requests"] / most)),
                    **{name: f"{amount:,}" for name, amount in line.amounts.items()},
                    "cost": money(line.amounts["micros"]),
                    "last": line.last,
                }
            )
        return table

    def _lines(self, group: str, facts: Facts) -> list[Line]:
        if group == "key":
            return facts.keys
        if group == "owner":
            return report.owners_of(facts.keys, facts.names)
        return report.folded((getattr(c, group), c.amounts, c.at) for c in facts.totals)

    def _groups(self, facts: Facts) -> dict[str, Any]:
        """One series for each of the busiest groups."""
        group, metric = self.form.value("group"), self.form.value("metric")
        lines = self._lines(group, facts)[:SERIES]
        wanted = {line.name: self._label(group, line, facts.names) for line in lines}
        at = _summed(self._group_steps(group, metric, set(wanted), facts))
        scale = 1e-6 if metric == "micros" else 1
        series = {label: self._series(at, name, scale) for name, label in wanted.items()}
        return {"metric": METRICS[metric], "series": series}

    def _group_steps(
        self, group: str, metric: str, wanted: set[str], facts: Facts
    ) -> Iterable[tuple[tuple[dt.datetime, str], int]]:
        if group not in ("key", "owner"):
            return (((c.at, getattr(c, group)), c.amounts[metric]) for c in facts.cells)
        if group == "key":
            return report.key_steps(self.span, self.which, wanted, metric)
        members: dict[str, set[str]] = {owner: set() for owner in wanted}
        for line in facts.keys:
            owner = facts.names[line.name].owner if line.name in facts.names else ""
            if owner in wanted:
                members[owner].add(line.name)
        return report.owner_steps(self.span, self.which, members, metric)

    def _series(self, at: Counter[Any], name: str, scale: float = 1) -> list[float]:
        return [at[step, name] * scale for step in self.span.steps()]

    def _label(self, group: str, line: Line, names: dict[str, KeyName]) -> str:
        if group == "key" and line.name in names:
            name = names[line.name]
            return name.name if name.there else f"{name.name} (deleted)"
        if group == "adapter" and not line.name:
            return NO_ADAPTER
        return line.label or "(no name)"

    def _link(self, **more: str) -> str:
        """The request log with the same filters and this span."""
        values = {name: self.form.value(name) for name in FILTERS}
        values["start"] = f"{self.span.start:%Y-%m-%dT%H:%M}"
        values["end"] = f"{self.span.end:%Y-%m-%dT%H:%M}"
        return self.log_url(urlencode({k: v for k, v in (values | more).items() if v}))


def _summed(steps: Iterable[tuple[Any, int]]) -> Counter[Any]:
    """Add up amounts of equal keys."""
    sums: Counter[Any] = Counter()
    for key, amount in steps:
        sums[key] += amount
    return sums


def compact(number: float) -> str:
    """1,234 stays as it is; 12,345,678 reads 12.3 M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:,.0f}"


def money(micros: int) -> str:
    """Millionths as a number with as many places as a small sum needs."""
    amount = micros / 1e6
    return f"{amount:,.2f}" if amount >= 1 or not micros else f"{amount:.6f}".rstrip("0")


def _label(at: dt.datetime, span: Period) -> str:
    if span.grain == "day":
        return f"{at:%-d %b}"
    return f"{at:%H:%M}" if span.end - span.start <= dt.timedelta(days=1) else f"{at:%-d %b %H:%M}"


def _heat_rows(table: list[list[int]]) -> list[dict[str, Any]]:
    """Rows of cells with a level from 0 to 9 for their colour."""
    most = max(max(row) for row in table) or 1
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    return [
        {
            "day": day,
            "cells": [
                {"hour": hour, "requests": n, "level": 0 if not n else 1 + 8 * n // most}
                for hour, n in enumerate(row)
            ],
        }
        for day, row in zip(days, table, strict=True)
    ]
