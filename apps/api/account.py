"""/account/: what a key's owner sees of their own keys, without being staff.

Usage and the request log are the admin's own pages over these keys alone. A person may make keys
that give no more than one they hold, and revoke their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from apps.api.models import BUDGETS, LIMITS, ApiKey, Owner, Scope
from apps.api.services import KeyLimits, key_create, key_revoke
from apps.models.admin_base import actor_of
from apps.usage import export, log, report
from apps.usage.bodies import body_read
from apps.usage.dashboard import Dashboard
from apps.usage.forms import UsageForm
from apps.usage.models import UsageRecord
from apps.usage.views import export_rows, log_context, refused, request_context
from engine.errors import InvalidRequest

MOST_KEYS = 20  # usable ones of one person
BASE = {"base": "account/base.html", "account": True}
View = Callable[..., HttpResponseBase]


def owners_only(view: View) -> View:
    """For people who are logged in; the view gets what they own."""

    @wraps(view)
    @never_cache
    @login_required(login_url="account:login")
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        assert isinstance(request.user, User)
        return view(request, list(request.user.owners.all()), *args, **kwargs)

    return guarded


@owners_only
@require_GET
def usage(request: HttpRequest, owners: list[Owner]) -> HttpResponseBase:
    form = UsageForm(request.GET)
    form.is_valid()
    which = log.which_of(form, _own(owners))
    dashboard = Dashboard(form, form.period(timezone.now()), which, _log_url)
    context = dashboard.context() | {"form": form, "title": "Usage"}
    return render(
        request,
        "console/usage.html",
        context | BASE | {"export_url": reverse("account:usage-export")},
    )


@owners_only
@require_POST
def usage_export(request: HttpRequest, owners: list[Owner]) -> HttpResponseBase:
    form = UsageForm(request.POST)
    if not form.is_valid():
        return refused(form)
    return export.sums_response(form.period(timezone.now()), log.which_of(form, _own(owners)))


@owners_only
@require_GET
def requests(request: HttpRequest, owners: list[Owner]) -> HttpResponseBase:
    form = log.LogForm(request.GET)
    form.is_valid()
    filters = log.filters_of(form, _own(owners))
    found = log.page_read(filters, log.Cursor.read(request.GET.get("after", "")))
    context = log_context(request, form, found) | BASE | {"title": "Requests"}
    return render(
        request, "console/requests.html", context | {"export_url": reverse("account:log-export")}
    )


@owners_only
@require_POST
def requests_export(request: HttpRequest, owners: list[Owner]) -> HttpResponseBase:
    form = log.LogForm(request.POST)
    if not form.is_valid():
        return refused(form)
    return export_rows(log.filters_of(form, _own(owners)))


@owners_only
@require_GET
def request_detail(request: HttpRequest, owners: list[Owner], rid: str) -> HttpResponseBase:
    row = UsageRecord.objects.filter(rid=rid, owner_id__in=_ids(owners)).first()
    if row is None:
        raise Http404
    context = request_context(row) | BASE | {"title": "Request"}
    context |= {"body": body_read(rid), "may_see_bodies": True}
    return render(request, "console/request.html", context | {"back": reverse("account:requests")})


class OwnKeyForm(forms.Form):
    """A key like one the person holds, with the same or narrower limits."""

    name = forms.CharField(max_length=128)
    like = forms.ModelChoiceField(
        ApiKey.objects.none(), label="Rights and limits of", empty_label=None
    )
    rpm = forms.IntegerField(required=False, min_value=1, label="Requests per minute")
    tpm = forms.IntegerField(required=False, min_value=1, label="Tokens per minute")
    parallel = forms.IntegerField(required=False, min_value=1, label="Requests at once")
    budget_tokens = forms.IntegerField(required=False, min_value=1, label="Token budget")

    def __init__(self, owners: list[Owner], data: Any = None) -> None:
        super().__init__(data)
        self._usable = ApiKey.objects.listed().usable().filter(owner__in=owners)
        like: Any = self.fields["like"]
        like.queryset = self._usable.select_related("owner__user").order_by("created_at")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        like = data.get("like")
        for name in LIMITS if like else ():
            granted, asked = getattr(like, name), data.get(name)
            if granted is not None and asked is not None and asked > granted:
                self.add_error(name, f"At most {granted}: that is what this key may.")
        if like and any(getattr(like, name) for name in BUDGETS):  # counted per key
            self.add_error("like", "It has a budget, and a second key would add to it.")
        if like and self._usable.count() >= MOST_KEYS:
            raise forms.ValidationError(
                f"You hold {MOST_KEYS} keys. Revoke one that you no longer use."
            )
        return data

    def limits(self) -> KeyLimits:
        data, like = self.cleaned_data, self.cleaned_data["like"]
        return KeyLimits(**{name: data.get(name) or getattr(like, name) for name in LIMITS})


@owners_only
def keys(request: HttpRequest, owners: list[Owner]) -> HttpResponseBase:
    """The person's keys, and the form for one more."""
    form = OwnKeyForm(owners, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        like: ApiKey = form.cleaned_data["like"]
        try:
            key, text = key_create(
                owner=like.owner,
                name=form.cleaned_data["name"],
                scopes=[scope for scope in like.scopes if scope == Scope.INFERENCE],
                allowed_models=like.allowed_models,
                limits=form.limits(),
                expires_at=like.expires_at,
                actor=actor_of(request),
            )
        except InvalidRequest as error:
            form.add_error("name", error.message)
        else:
            return render(request, "account/shown_once.html", BASE | {"key": key, "text": text})
    rows = ApiKey.objects.listed().filter(owner__in=owners).select_related("owner__user")
    context = BASE | {"form": form, "keys": rows, "title": "API keys"}
    return render(request, "account/keys.html", context)


@owners_only
@require_POST
def key_end(request: HttpRequest, owners: list[Owner], public_id: str) -> HttpResponseBase:
    key = ApiKey.objects.listed().filter(owner__in=owners, public_id=public_id).first()
    if key is None:
        raise Http404
    key_revoke(key=key, actor=actor_of(request))
    return redirect("account:keys")


def _own(owners: list[Owner]) -> frozenset[str]:
    """Ids of the keys that were ever used for these owners. One query."""
    return report.keys_of_owner_ids(_ids(owners))


def _ids(owners: list[Owner]) -> list[str]:
    return [str(owner.pk) for owner in owners]


def _log_url(query: str) -> str:
    return f"{reverse('account:requests')}?{query}"


app_name = "account"
urlpatterns = [
    path("", usage, name="usage"),
    path("export/", usage_export, name="usage-export"),
    path("requests/", requests, name="requests"),
    path("requests/export/", requests_export, name="log-export"),
    path("requests/<str:rid>/", request_detail, name="request"),
    path("keys/", keys, name="keys"),
    path("keys/<str:public_id>/revoke/", key_end, name="key-revoke"),
    path(
        "login/",
        LoginView.as_view(template_name="account/login.html", next_page="account:usage"),
        name="login",
    ),
    path("logout/", LogoutView.as_view(next_page="account:login"), name="logout"),
]
