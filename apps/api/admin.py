"""Admin of access: keys, owners, prices, the audit trail and logins. Actions call services."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from apps.api import services
from apps.api.models import ApiKey, AuditEvent, Owner, PriceVersion, Scope
from apps.models.admin_base import ReadOnlyAdmin, actor_of, column, for_each
from engine.errors import PagodaError

LIMITS = services.LIMITS
KEY_FIELDS = ("name", "scopes", "allowed_models", *LIMITS, "expires_at")


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        initial=[Scope.INFERENCE],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    class Meta:
        model = ApiKey
        fields = ("owner", *KEY_FIELDS)

    def clean_allowed_models(self) -> list[str]:
        names = self.cleaned_data["allowed_models"] or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise forms.ValidationError('Use a JSON list of model names, such as ["pagoda-demo"].')
        return names


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):  # type: ignore[misc]
    form = ApiKeyForm
    list_display = ("name", "masked", "owner", "state", "limits", "last_used_at", "expires_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    list_select_related = ("owner",)
    search_fields = ("name", "=public_id", "owner__name")
    actions = ("rotate", "revoke")
    readonly_fields = ("masked", "state", "created_at", "last_used_at", "revoked_at", "successor")

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        about = (None, {"fields": ("owner", *KEY_FIELDS)})
        if obj is None:
            return (about,)
        return (about, ("State", {"fields": self.readonly_fields}))

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> tuple[str, ...]:
        return self.readonly_fields if obj is None else ("owner", *self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # a key is revoked; its row stays for the audit trail

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        rows: QuerySet[ApiKey] = super().get_queryset(request)
        return rows.select_related("owner", "successor")

    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm[Any], change: bool
    ) -> None:
        """Through the services. A new key's text lives on the object until `response_add`."""
        data = form.cleaned_data
        if change:
            values = {name: data[name] for name in form.changed_data if name in services.EDITABLE}
            if values:
                key = ApiKey.objects.select_related("owner").get(pk=obj.pk)
                services.key_edit(key=key, actor=actor_of(request), **values)
            return
        key, text = services.key_create(
            owner=data["owner"],
            name=data["name"],
            scopes=data["scopes"],
            allowed_models=data["allowed_models"],
            limits=services.KeyLimits(**{name: data[name] for name in LIMITS}),
            expires_at=data["expires_at"],
            actor=actor_of(request),
        )
        obj.pk, obj.public_id, obj.hint = key.pk, key.public_id, key.hint
        obj.shown_once = text  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show_once(request, obj, obj.shown_once)  # type: ignore[attr-defined]

    def _show_once(self, request: HttpRequest, key: ApiKey, text: str) -> HttpResponse:
        """A page that holds the key's text: in no message, session or log; the admin
        forbids caches to keep it."""
        context = {**self.admin_site.each_context(request), "key": key, "text": text}
        context |= {"opts": self.model._meta, "title": "Save this key now"}
        return TemplateResponse(request, "admin/api/apikey/shown_once.html", context)

    @column("Key")
    def masked(self, key: ApiKey) -> str:
        return f"pgd_{key.public_id}…{key.hint}"

    @column("State", label={"usable": "success", "ended": "danger"})
    def state(self, key: ApiKey) -> str:
        return "usable" if key.usable else "ended"

    @column("Limits")
    def limits(self, key: ApiKey) -> str:
        found = [f"{name} {value}" for name in LIMITS if (value := getattr(key, name))]
        return ", ".join(found) or "none"

    @admin.action(description="Rotate (old key ends at once)", permissions=["change"])
    def rotate(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> HttpResponse | None:
        keys = list(rows[:2])
        if len(keys) != 1:
            self.message_user(request, "Rotate one key at a time.", messages.ERROR)
            return None
        try:
            successor, text = services.key_rotate(key=keys[0], actor=actor_of(request))
        except PagodaError as error:
            self.message_user(request, error.message, messages.ERROR)
            return None
        return self._show_once(request, successor, text)

    @admin.action(description="Revoke now", permissions=["change"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> None:
        act = partial(services.key_revoke, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(key=row), "Revoked")


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
