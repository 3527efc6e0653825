"""Admin of logins: who may come in, and in which role."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from apps.api.roles import Role, login_set_active, login_set_role, role_of
from apps.api.services import audit_record
from apps.models.admin_base import actor_of, chip, column
from engine.errors import PagodaError

admin.site.unregister(User)
admin.site.unregister(Group)


def _role_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=Role.choices, initial=Role.VIEWER, widget=UnfoldAdminSelectWidget
    )


class LoginForm(UserChangeForm):  # type: ignore[misc]
    role = _role_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["role"] = role_of(self.instance)


class NewLoginForm(UserCreationForm):  # type: ignore[misc]
    role = _role_field()


@admin.register(User)
class LoginAdmin(StockUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    form = LoginForm
    add_form = NewLoginForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "role", "may_come_in", "last_login")
    list_filter = ("is_active",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active")}),
        ("About", {"fields": ("first_name", "last_name", "email", "last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "role", "password1", "password2")}),)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # a login is switched off; without its row its keys would go on

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        rows: QuerySet[User] = super().get_queryset(request)
        return rows.prefetch_related("groups")

    def save_model(
        self, request: HttpRequest, obj: User, form: forms.ModelForm[Any], change: bool
    ) -> None:
        """Names and password as Django does; role and state through the services."""
        actor, active = actor_of(request), obj.is_active
        if change:
            obj.is_active = User.objects.values_list("is_active", flat=True).get(pk=obj.pk)
        super().save_model(request, obj, form, change)
        if not change:
            audit_record(actor=actor, action="login.create", subject=obj.username)
        try:
            if not change or "role" in form.changed_data:
                login_set_role(user=obj, role=Role(form.cleaned_data["role"]), actor=actor)
            if change and active != obj.is_active:
                login_set_active(user=obj, active=active, actor=actor)
        except PagodaError as error:
            self.message_user(request, error.message, messages.ERROR)

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        reply: HttpResponse = super().user_change_password(request, id, form_url)
        if request.method == "POST" and reply.status_code == 302:
            name = User.objects.values_list("username", flat=True).get(pk=id)
            audit_record(actor=actor_of(request), action="login.password", subject=name)
        return reply

    @column("Role")
    def role(self, user: User) -> str:
        return role_of(user).name.capitalize() if role_of(user) != Role.KEYS else "Own keys only"

    @column("State", ordering="is_active")
    def may_come_in(self, user: User) -> SafeString:
        return chip("active", "ok") if user.is_active else chip("switched off", "bad")
