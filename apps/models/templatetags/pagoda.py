"""Small drawings for the admin's pages: inline SVG, so that nothing is loaded or scripted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timesince import timesince

from apps.models.trouble import Repair
from inference_site.admin_menu import MENU

register = template.Library()
WIDTH, HEIGHT = 100, 24


@register.simple_tag
def sparkline(points: Sequence[float], label: str = "") -> SafeString:
    """A line over its area; equal values lie on the ground. `label` is read out."""
    if not points:
        return SafeString("")
    top = max(points) or 1
    step = WIDTH / max(1, len(points) - 1)
    places = [
        f"{index * step:.1f},{HEIGHT - 1 - (HEIGHT - 3) * value / top:.1f}"
        for index, value in enumerate(points)
    ]
    line = "M" + " L".join(places)
    return format_html(
        '<svg class="pg-spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}"><path class="pg-area" d="{} L{},{} L0,{} Z"/>'
        '<path class="pg-line" d="{}"/></svg>',
        WIDTH, HEIGHT, label, line, WIDTH, HEIGHT, HEIGHT, line,
    )  # fmt: skip


@register.filter
def size(count: int | None) -> str:
    """Bytes for people: 15.8 GB."""
    value = float(count or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


@register.filter
def thousands(count: int) -> str:
    """1,000,000."""
    return f"{count:,}"


@register.filter
def ms(value: float | None) -> str:
    """Milliseconds for people: 639 ms, 3.93 s, 98.7 s; – for none."""
    if value is None:
        return "–"
    return f"{value:,.0f} ms" if value < 1000 else f"{value / 1000:.3g} s"


@register.filter
def ago(moment: datetime) -> str:
    """How long since: just now, 5 minutes ago."""
    past = timezone.now() - moment
    return "just now" if past < timedelta(minutes=1) else f"{timesince(moment, depth=1)} ago"


def change(share: float, than: str) -> str:
    """A difference in words: +12 % against the day before, 30 times the day before."""
    if share >= 10:
        return f"{1 + share:,.0f} times {than}"
    sign = "+" if share > 0 else "\N{MINUS SIGN}"
    return f"{sign}{abs(share) * 100:.0f} % against {than}"


@register.filter
def trail(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where a page stands, in the words of the menu; names of things stay as they are."""
    places = {
        str(reverse(view)): (group, title)
        for group, items in MENU.items()
        for title, _, view, _ in items
    }
    for index, part in enumerate(parts):
        if place := places.get(str(part.get("link", ""))):
            ours = [{"title": place[0]}, {"title": place[1], "link": part["link"]}]
            return ours + [dict(more) for more in parts[index + 1 :]]
    return [{**part, "title": capfirst(part["title"])} for part in parts]


@register.simple_tag(takes_context=True)
def repair_url(context: template.Context, repair: Repair) -> str:
    """Where the button leads; empty for a person who may not press it."""
    if not context["request"].user.has_perm(repair.permission):
        return ""
    return reverse(repair.view, args=repair.args)


@register.simple_tag
def percent(part: int, whole: int) -> int:
    """0 to 100; 0 of nothing."""
    return round(100 * part / whole) if whole else 0


@register.simple_tag
def percent_used(free: int, whole: int) -> int:
    return percent(whole - free, whole)


@register.filter
def as_json(value: object) -> str:
    """For a data attribute; the template escapes it."""
    return json.dumps(value)
