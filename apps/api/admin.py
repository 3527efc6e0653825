"""Admin of access: owners, prices and the audit log. Keys and logins have files of their own."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from apps.api import services
from apps.api.key_admin import ApiKeyAdmin
from apps.api.login_admin import LoginAdmin
from apps.api.models import LIMITS, AuditEvent, Owner, PriceVersion
from apps.models.admin_base import ReadOnlyAdmin, actor_of, column, for_each

__all__ = ["ApiKeyAdmin", "LoginAdmin"]  # registered by being imported
MICROS = 1_000_000


@admin.register(Owner)
class OwnerAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("name", "kind", "user", "active", "created_at")
    list_filter = ("kind", "active")
    list_select_related = ("user",)
    search_fields = ("name",)
    readonly_fields = ("active", "created_at")
    autocomplete_fields = ("user",)
    actions = ("suspend", "readmit")

    def save_model(
        self, request: HttpRequest, obj: Owner, form: forms.ModelForm[Any], change: bool
    ) -> None:
        """Another login or other limits hold from now on for all keys: admission is told."""
        super().save_model(request, obj, form, change)
        verb = "edit" if change else "create"
        values = {name: str(form.cleaned_data[name]) for name in form.changed_data}
        services.audit_record(
            actor=actor_of(request), action=f"owner.{verb}", subject=obj.name, **values
        )
        if change and {"user", *LIMITS} & set(form.changed_data):
            services.owner_keys_changed(owner=obj)

    def delete_model(self, request: HttpRequest, obj: Owner) -> None:
        super().delete_model(request, obj)
        services.audit_record(actor=actor_of(request), action="owner.delete", subject=obj.name)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Owner]) -> None:
        for owner in queryset:
            self.delete_model(request, owner)

    @admin.action(description="Suspend all keys", permissions=["change"])
    def suspend(self, request: HttpRequest, rows: QuerySet[Owner]) -> None:
        act = partial(services.owner_set_active, active=False, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(owner=row), "Suspended")

    @admin.action(description="Readmit all keys", permissions=["change"])
    def readmit(self, request: HttpRequest, rows: QuerySet[Owner]) -> None:
        act = partial(services.owner_set_active, active=True, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(owner=row), "Readmitted")


def _price(label: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=f"{label}, per million tokens",
        min_value=0,
        max_digits=15,
        decimal_places=6,
        initial=0,
        widget=UnfoldAdminDecimalFieldWidget,
    )


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]
    """Prices in whole units of money; the table keeps millionths."""

    input_price = _price("Input")
    cached_price = _price("Input from the cache")
    output_price = _price("Output")

    class Meta:
        model = PriceVersion
        fields = ("model", "starts_at")

    def save(self, commit: bool = True) -> PriceVersion:
        for kind in ("input", "cached", "output"):
            micros = int(self.cleaned_data[f"{kind}_price"] * MICROS)
            setattr(self.instance, f"{kind}_micros", micros)
        saved: PriceVersion = super().save(commit)
        return saved


@admin.register(PriceVersion)
class PriceVersionAdmin(ModelAdmin):  # type: ignore[misc]
    """Rows never change: a new price is a new row."""

    form = PriceForm
    list_display = ("__str__", "starts_at", "per_input", "per_cached", "per_output")

    @column("Input / million")
    def per_input(self, price: PriceVersion) -> str:
        return _money(price.input_micros)

    @column("Cached / million")
    def per_cached(self, price: PriceVersion) -> str:
        return _money(price.cached_micros)

    @column("Output / million")
    def per_output(self, price: PriceVersion) -> str:
        return _money(price.output_micros)

    def save_model(
        self, request: HttpRequest, obj: PriceVersion, form: forms.ModelForm[Any], change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        actor = actor_of(request)
        values = {name: str(value) for name, value in form.cleaned_data.items()}
        services.audit_record(actor=actor, action="price.add", subject=str(obj), **values)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def _money(micros: int) -> str:
    return f"{Decimal(micros) / MICROS:,.6f}".rstrip("0").rstrip(".")


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "action", "subject", "address")
    search_fields = ("=actor", "=action", "=subject")
    search_help_text = "An exact actor, action or subject."
    fields = ("at", "actor", "address", "action", "subject", "what")
    paginator = InfinitePaginator
    show_full_result_count = False

    @column("What changed")
    def what(self, event: AuditEvent) -> SafeString:
        text = json.dumps(event.detail, indent=2, ensure_ascii=False)
        return format_html('<pre class="pg-code" tabindex="0">{}</pre>', text)
