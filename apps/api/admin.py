"""Admin of access: owners, prices, the audit log and logins; keys are in `key_admin`."""

from __future__ import annotations

from functools import partial

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from apps.api import services
from apps.api.key_admin import ApiKeyAdmin
from apps.api.models import AuditEvent, Owner, PriceVersion
from apps.models.admin_base import ReadOnlyAdmin, actor_of, for_each

__all__ = ["ApiKeyAdmin"]


@admin.register(Owner)
class OwnerAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("name", "kind", "user", "active", "created_at")
    list_filter = ("kind", "active")
    list_select_related = ("user",)
    search_fields = ("name",)
    readonly_fields = ("active", "created_at")
    autocomplete_fields = ("user",)
    actions = ("suspend", "readmit")

    @admin.action(description="Suspend all keys", permissions=["change"])
    def suspend(self, request: HttpRequest, rows: QuerySet[Owner]) -> None:
        act = partial(services.owner_set_active, active=False, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(owner=row), "Suspended")

    @admin.action(description="Readmit all keys", permissions=["change"])
    def readmit(self, request: HttpRequest, rows: QuerySet[Owner]) -> None:
        act = partial(services.owner_set_active, active=True, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(owner=row), "Readmitted")


@admin.register(PriceVersion)
class PriceVersionAdmin(ModelAdmin):  # type: ignore[misc]
    """Rows never change: a new price is a new row."""

    list_display = ("model", "starts_at", "input_micros", "cached_micros", "output_micros")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "action", "subject", "address")
    search_fields = ("=actor", "=action", "=subject")
    show_full_result_count = False


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(StockUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(StockGroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass
