"""What the admin pages of all apps share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from apps.api.services import Actor
from engine.errors import PagodaError

STOP_POLLING = 286  # htmx shows the answer and asks no more
F = TypeVar("F", bound=Callable[..., Any])


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Pages to look at. Nobody adds, changes or deletes rows here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def column(
    description: str,
    *,
    ordering: str | None = None,
    boolean: bool | None = None,
    label: Mapping[Any, str] | None = None,
) -> Callable[[F], F]:
    """Names a computed column; `label` maps values to Unfold's colours."""
    decorate = display(description=description, ordering=ordering, boolean=boolean, label=label)
    return cast(Callable[[F], F], decorate)


def chip(words: str, tone: str = "") -> SafeString:
    """A state in words with its colour: ok, info, warn, bad or none."""
    return format_html('<span class="pg-chip pg-{}">{}</span>', tone or "plain", words)


def gone(what: str) -> HttpResponse:
    """Instead of the part of a page that follows something: it was deleted, stop asking."""
    words = format_html('<p class="pg-card">This {} was deleted.</p>', what)
    return HttpResponse(words, status=STOP_POLLING)


def actor_of(request: HttpRequest) -> Actor:
    """The logged-in person, for the audit trail."""
    return Actor(request.user.get_username(), request.META.get("REMOTE_ADDR") or None)


def for_each(
    admin: ModelAdmin,
    request: HttpRequest,
    rows: Iterable[Any],
    service: Callable[[Any], object],
    done: str,
) -> None:
    """Call a service per row; a refusal becomes a message and the others go on."""
    count = 0
    for row in rows:
        try:
            service(row)
            count += 1
        except PagodaError as error:
            admin.message_user(request, f"{row}: {error.message}", messages.ERROR)
    if count:
        admin.message_user(request, f"{done}: {count}.", messages.SUCCESS)
