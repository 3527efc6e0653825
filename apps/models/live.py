"""The live engine page and its buttons. The figures come over the admin's socket."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET, require_POST

from apps.models import engine_control
from apps.models.admin_base import actor_of
from apps.models.console import page, staff_page
from engine.errors import PagodaError

VIEW, ACT = "catalog.view_engineinstance", "catalog.change_servedmodel"
GAUGES = (
    ("running", "Running"),
    ("waiting", "Waiting"),
    ("preempted", "Preempted"),
    ("tokens", "Tokens per second"),
    ("batch", "Tokens per step"),
    ("step", "Step time"),
    ("hits", "Prefix hits"),
    ("kv", "KV cache in use"),
    ("slots", "Adapter slots"),
    ("memory", "Memory of the process"),
)


@staff_page(VIEW)
@require_GET
def live(request: HttpRequest) -> HttpResponseBase:
    context = {
        "engine": request.GET.get("engine", ""),
        "may_act": request.user.has_perm(ACT),
        "gauges": GAUGES,
    }
    return page(request, "console/live.html", "Live engine", context)


@staff_page(ACT)
@require_POST
def cancel(request: HttpRequest) -> HttpResponseBase:
    act = partial(engine_control.request_cancel, rid=request.POST.get("rid", ""))
    return _done(request, "The engine was told.", act)


@staff_page(ACT)
@require_POST
def drain(request: HttpRequest) -> HttpResponseBase:
    act = partial(engine_control.engine_drain, engine=request.POST.get("engine", ""))
    return _done(request, "Draining: no new requests.", act)


@staff_page(ACT)
@require_POST
def resume(request: HttpRequest) -> HttpResponseBase:
    act = partial(engine_control.engine_resume, engine=request.POST.get("engine", ""))
    return _done(request, "Taking requests again.", act)


def _done(request: HttpRequest, words: str, act: Callable[..., None]) -> JsonResponse:
    try:
        act(actor=actor_of(request))
    except PagodaError as error:
        return JsonResponse({"message": error.message}, status=error.status)
    return JsonResponse({"message": words})
