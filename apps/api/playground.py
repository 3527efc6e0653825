"""The playground: a page that talks to the real /v1 with a key of its own that ends soon.

Nothing is special about its requests: they are admitted, limited, metered and logged as any other,
under the owner of the person who asks.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from apps.api.models import ApiKey, PlaygroundPreset, Scope
from apps.api.presets import of_request, preset_delete, preset_save
from apps.api.roles import own_owner
from apps.api.services import Actor, KeyLimits, key_create
from apps.models.admin_base import actor_of
from apps.models.console import page, staff_page
from apps.models.selectors import catalog_read
from apps.usage.bodies import VIEW as VIEW_BODIES
from apps.usage.bodies import request_read
from engine.errors import PagodaError

MAY_TRY = "api.add_apikey"
KEY_LIFE = timedelta(minutes=15)
KEPT = timedelta(hours=1)  # an ended key, so that its last requests still find its name
PARALLEL = 8
MOST_COLUMNS = 4


@staff_page(MAY_TRY)
@require_GET
def playground(request: HttpRequest) -> HttpResponseBase:
    """`?model=` fills the first column, `?compare=a,b` up to four; `?preset=` and `?request=` fill
    the whole page."""
    assert isinstance(request.user, User)  # `staff_page` let nobody else in
    wanted = [*request.GET.get("compare", "").split(","), request.GET.get("model", "")]
    columns = [name for name in wanted if name][:MOST_COLUMNS]
    models = [
        {"name": model.name, "parent": model.parent or "", "context": model.max_model_len}
        for model in catalog_read().models.values()
        if model.pooling is None
    ]
    data = {"models": models, "columns": columns, "most": MOST_COLUMNS} | _filling(request)
    context = {"data": data, "presets": request.user.presets.all()}
    return page(request, "console/playground.html", "Playground", context)


def _filling(request: HttpRequest) -> dict[str, Any]:
    """What the address names: a preset of anybody, or a stored request."""
    if slug := request.GET.get("preset", ""):
        found = PlaygroundPreset.objects.select_related("user").filter(slug=slug).first()
        if found is None:
            raise Http404
        mine = found.user == request.user
        told = "" if mine else f"“{found.name}”, a preset of {found.user.get_username()}."
        shown = {"slug": slug, "name": found.name, "mine": mine}
        return {"content": found.content, "preset": shown, "notice": told}
    if rid := request.GET.get("request", ""):
        body = request_read(rid) if request.user.has_perm(VIEW_BODIES) else None
        if body is None or not isinstance(body.get("messages"), list):
            raise Http404
        content, left_out = of_request(body)
        told = f"The request {rid}."
        told += f" Not shown here: {', '.join(left_out)}." if left_out else ""
        return {"content": content.model_dump(), "notice": told}
    return {}


@staff_page(MAY_TRY)
@require_POST
def preset_store(request: HttpRequest) -> HttpResponseBase:
    """JSON {name, content}. Answers with the preset's slug."""
    assert isinstance(request.user, User)
    try:
        given = json.loads(request.body)
        name, content = str(given["name"]), given["content"]
        preset = preset_save(user=request.user, name=name, content=content)
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"message": "Send a name and the content."}, status=400)
    except PagodaError as error:
        return JsonResponse({"message": error.message}, status=error.status)
    return JsonResponse({"slug": preset.slug})


@staff_page(MAY_TRY)
@require_POST
def preset_remove(request: HttpRequest, slug: str) -> HttpResponseBase:
    assert isinstance(request.user, User)
    if not preset_delete(user=request.user, slug=slug):
        return JsonResponse({"message": "You have no such preset."}, status=404)
    return JsonResponse({})


@staff_page(MAY_TRY)
@require_POST
def playground_key(request: HttpRequest) -> HttpResponseBase:
    assert isinstance(request.user, User)  # `staff_page` let nobody else in
    try:
        key, text = temporary_key(user=request.user, actor=actor_of(request))
    except PagodaError as error:
        return JsonResponse({"message": error.message}, status=error.status)
    assert key.expires_at is not None
    reply = JsonResponse({"key": text, "expires_at": key.expires_at.timestamp()})
    reply["Cache-Control"] = "no-store"
    return reply


@transaction.atomic
def temporary_key(*, user: User, actor: Actor) -> tuple[ApiKey, str]:
    """A key that may infer for a quarter of an hour; the person's older ones are cleared away."""
    owner = own_owner(user)
    ended = timezone.now() - KEPT
    owner.keys.filter(temporary=True, expires_at__lt=ended).delete()
    return key_create(
        owner=owner,
        name="playground",
        scopes=[Scope.INFERENCE],
        limits=KeyLimits(parallel=PARALLEL),
        expires_at=timezone.now() + KEY_LIFE,
        actor=actor,
        temporary=True,
    )


urlpatterns = [
    path("playground/", playground, name="playground"),
    path("playground/key/", playground_key, name="playground-key"),
    path("playground/presets/", preset_store, name="preset-store"),
    path("playground/presets/<str:slug>/delete/", preset_remove, name="preset-remove"),
]
