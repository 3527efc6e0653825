"""Admin of API keys: presets, a text shown once, limits with their use, rotate and revoke."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from typing import Any

import redis
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timeuntil
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldBooleanWidget,
)

from apps.api import services
from apps.api.key_use import keys_use
from apps.api.models import LIMITS, ApiKey, Scope
from apps.api.revocation import key_revoke_measured
from apps.lora.models import Adapter
from apps.models.admin_base import actor_of, chip, column, for_each
from apps.models.models import ServedModel
from apps.models.overview import KEY_EXPIRES_SOON
from apps.models.templatetags.pagoda import ago, sparkline
from apps.usage.selectors import usage_days
from engine.errors import PagodaError
from inference_site.redis import redis_url

KEEPING = ("keep_bodies_days", "consent")
KEY_FIELDS = ("name", "scopes", "allowed_models", *LIMITS, "expires_at", "keep_bodies_days")
SPARK_DAYS = 30
CONSENT = (
    "With a number of days, the whole text of each request of this key and of its answer is stored "
    "in the database as it went over the wire (the first 1 MiB of each), not encrypted. Operators "
    "and the key's owner can read it in the request log; it is in backups. It is deleted after so "
    "many days, and at once when the field is emptied."
)
LABELS = {
    "rpm": "requests per minute",
    "tpm": "tokens per minute",
    "parallel": "requests at the same time",
    "budget_tokens": "token budget",
    "tokens_per_day": "tokens per day",
    "tokens_per_month": "tokens per month",
    "micros_per_day": "millionths of money per day",
    "micros_per_month": "millionths of money per month",
}
# What most keys look like; a click fills the form, everything can be changed before saving.
PRESETS: dict[str, dict[str, Any]] = {
    "App": {"name": "app", "rpm": "600", "tpm": "200000", "parallel": "32", "budget_tokens": ""},
    "Person": {"name": "person", "rpm": "60", "tpm": "50000", "parallel": "4", "budget_tokens": ""},
    "CI": {"name": "ci", "rpm": "120", "tpm": "50000", "parallel": "8", "budget_tokens": "1000000"},
}


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=[Scope.INFERENCE],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    allowed_models = forms.MultipleChoiceField(
        required=False,
        label="Models and adapters",
        help_text="What this key may use. None ticked: everything, also what is added later.",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    consent = forms.BooleanField(
        required=False,
        label="The owner of this key agrees",
        help_text=CONSENT,
        widget=UnfoldBooleanWidget,
    )

    class Meta:
        model = ApiKey
        fields = ("owner", *KEY_FIELDS)
        labels = {name: label.capitalize() for name, label in LABELS.items()}
        labels |= {"keep_bodies_days": "Keep texts for (days)"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "allowed_models" in self.fields:
            field = self.fields["allowed_models"]
            names = served_names() | set(self.instance.allowed_models)  # also those that are gone
            field.choices = [(name, name) for name in sorted(names)]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Keeping texts, or keeping them for longer, needs the owner's word each time."""
        data: dict[str, Any] = super().clean() or {}
        days, before = data.get("keep_bodies_days"), self.initial.get("keep_bodies_days")
        if days is not None and days > (before or 0) and not data.get("consent"):
            self.add_error("consent", "Ask the owner first: texts are kept only with a yes.")
        return data


class RotateForm(forms.Form):
    grace_hours = forms.TypedChoiceField(
        label="The old key ends",
        coerce=float,
        choices=[(0, "now"), (1, "in 1 hour"), (24, "in 24 hours"), (72, "in 72 hours")],
        initial=24,
        widget=UnfoldAdminSelectWidget,
    )


def served_names() -> set[str]:
    """Every name a client may ask for now or after a load. Two queries."""
    names = set(Adapter.objects.values_list("name", flat=True))
    for name, aliases in ServedModel.objects.values_list("name", "aliases"):
        names |= {name, *aliases}
    return names


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):  # type: ignore[misc]
    form = ApiKeyForm
    list_display = ("name", "masked", "owner", "state", "use", "month", "last_used", "expires")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    list_select_related = ("owner__user",)
    list_per_page = 50
    search_fields = ("name", "=public_id", "owner__name")
    search_help_text = "A part of the name or owner, or the 8 characters after pgd_."
    actions = ("revoke_all",)
    change_form_template = "admin/api/apikey/change_form.html"
    fieldsets = (
        (None, {"fields": ("owner", "name", "expires_at")}),
        ("May use", {"fields": ("scopes", "allowed_models")}),
        ("Limits", {"fields": tuple(LIMITS)}),
        ("Texts of requests and answers", {"fields": KEEPING}),
    )

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> tuple[str, ...]:
        return () if obj is None else ("owner",)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # a key is revoked; its row stays for the audit trail

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        rows: QuerySet[ApiKey] = super().get_queryset(request)
        return rows.filter(temporary=False).select_related("owner__user", "successor")

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path("<int:pk>/live/", view(self.live), name="api_apikey_live"),
            path("<int:pk>/rotate/", view(self.rotate), name="api_apikey_rotate"),
            path("<int:pk>/revoke/", view(require_POST(self.revoke)), name="api_apikey_revoke"),
        ]
        return own + list(super().get_urls())

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list with use and history of the keys on this page: one query, one round trip."""
        found = super().get_changelist_instance(request)
        found.result_list = list(found.result_list)
        _with_figures(found.result_list)
        return found

    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm[Any], change: bool
    ) -> None:
        """Through the services. A new key's text lives on the object until `response_add`."""
        data = form.cleaned_data
        if change:
            values = {name: data[name] for name in form.changed_data if name in services.EDITABLE}
            if values:
                key = ApiKey.objects.select_related("owner__user").get(pk=obj.pk)
                services.key_edit(key=key, actor=actor_of(request), **values)
            return
        key, text = services.key_create(
            owner=data["owner"],
            name=data["name"],
            scopes=data["scopes"],
            allowed_models=data["allowed_models"],
            limits=services.KeyLimits(**{name: data[name] for name in LIMITS}),
            expires_at=data["expires_at"],
            keep_bodies_days=data["keep_bodies_days"],
            actor=actor_of(request),
        )
        obj.pk, obj.public_id, obj.hint = key.pk, key.public_id, key.hint
        obj.shown_once = text  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show_once(request, obj, obj.shown_once)  # type: ignore[attr-defined]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {"presets": PRESETS})  # type: ignore[no-any-return]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        key = self.get_object(request, object_id)
        live = {} if key is None else self._live(key)
        return super().change_view(request, object_id, form_url, live)  # type: ignore[no-any-return]

    def live(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The part of a key's page that follows its use."""
        context = self._live(self._key(request, pk, "view"))
        return TemplateResponse(request, "admin/api/apikey/live.html", context)

    def rotate(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks for the grace, then shows the successor once."""
        key = self._key(request, pk, "change")
        form = RotateForm(request.POST or None)
        if form.is_valid():
            grace = form.cleaned_data["grace_hours"]
            try:
                successor, text = services.key_rotate(
                    key=key, grace_hours=grace, actor=actor_of(request)
                )
            except PagodaError as error:
                form.add_error(None, error.message)
            else:
                return self._show_once(request, successor, text)
        context = {**self.admin_site.each_context(request), "key": key, "form": form}
        context |= {"opts": self.model._meta, "title": f"Rotate {key.name}"}
        return TemplateResponse(request, "admin/api/apikey/rotate.html", context)

    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ends the key and says how long that took."""
        key = self._key(request, pk, "change")
        words, done = key_revoke_measured(key=key, actor=actor_of(request))
        self.message_user(request, words, messages.SUCCESS if done else messages.WARNING)
        return HttpResponseRedirect(reverse("admin:api_apikey_change", args=[pk]))

    @admin.action(description="Revoke now", permissions=["change"])
    def revoke_all(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> None:
        act = partial(services.key_revoke, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(key=row), "Revoked")

    def _key(self, request: HttpRequest, pk: int, action: str) -> ApiKey:
        if not request.user.has_perm(f"api.{action}_apikey"):
            raise PermissionDenied
        key = self.get_queryset(request).filter(pk=pk).first()
        if key is None:
            raise Http404
        return key

    def _live(self, key: ApiKey) -> dict[str, Any]:
        _with_figures([key])
        return {"key": key, "words": _state(key)[0], "tone": _state(key)[1], "days": SPARK_DAYS}

    def _show_once(self, request: HttpRequest, key: ApiKey, text: str) -> HttpResponse:
        """A page that holds the key's text: in no message, session or log; the admin
        forbids caches to keep it."""
        context = {**self.admin_site.each_context(request), "key": key, "text": text}
        context |= {"opts": self.model._meta, "title": "Save this key now"}
        served = ServedModel.objects.wanted().values_list("name", flat=True)
        model = next(iter([*key.allowed_models, *served]), "MODEL")
        context |= {"base_url": settings.PAGODA.base_url, "model": model}
        return TemplateResponse(request, "admin/api/apikey/shown_once.html", context)

    @column("Key")
    def masked(self, key: ApiKey) -> SafeString:
        text = f"pgd_{key.public_id}…{key.hint}"
        return format_html('<span class="pg-nowrap">{}</span>', text)

    @column("State")
    def state(self, key: ApiKey) -> SafeString:
        return chip(*_state(key))

    @column("Limits in use")
    def use(self, key: ApiKey) -> str:
        uses = key.uses  # type: ignore[attr-defined]
        return render_to_string("admin/api/apikey/use.html", {"uses": uses}) if uses else "none"

    @column("Tokens, 30 days")
    def month(self, key: ApiKey) -> SafeString:
        points = key.days  # type: ignore[attr-defined]
        return sparkline(points, f"Tokens of {key.name} per day, {sum(points):,} in all")

    @column("Last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        return ago(key.last_used_at) if key.last_used_at else "never"

    @column("Expires", ordering="expires_at")
    def expires(self, key: ApiKey) -> str | SafeString:
        if key.expires_at is None or not key.usable:
            return "never" if key.expires_at is None else f"{key.expires_at:%-d %b %Y}"
        words = f"in {timeuntil(key.expires_at)}"
        soon = key.expires_at < timezone.now() + KEY_EXPIRES_SOON
        return chip(words, "warn") if soon else words


def _state(key: ApiKey) -> tuple[str, str]:
    """Words and tone."""
    if key.revoked_at is not None:
        return "revoked", "bad"
    if key.expires_at is not None and key.expires_at <= timezone.now():
        return ("rotated" if key.successor_id else "expired"), "plain"
    if not key.owner.allowed:
        return "owner suspended", "warn"
    return "usable", "ok"


def _with_figures(keys: Sequence[ApiKey]) -> None:
    """Give each key `uses` (of its limits, now) and `days` (tokens of the last 30 days)."""
    today = timezone.now().date()
    start = today - dt.timedelta(days=SPARK_DAYS - 1)
    tokens = usage_days(key_ids=[key.public_id for key in keys], start=start)
    try:
        with redis.Redis.from_url(redis_url(), socket_timeout=2) as client:
            uses = keys_use(client, keys)
    except redis.RedisError:
        uses = {}
    days = [start + dt.timedelta(days=n) for n in range(SPARK_DAYS)]
    for key in keys:
        key.uses = uses.get(key.pk, [])  # type: ignore[attr-defined]
        key.days = [tokens.get((key.public_id, day), 0) for day in days]  # type: ignore[attr-defined]
