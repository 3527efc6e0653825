"""The playground: a page that talks to the real /v1 with a key of its own that ends soon.

Nothing is special about its requests: they are admitted, limited, metered and logged as any other,
under the owner of the person who asks.
"""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from apps.api.models import ApiKey, Scope
from apps.api.roles import own_owner
from apps.api.services import Actor, KeyLimits, key_create
from apps.models.admin_base import actor_of
from apps.models.console import page, staff_page
from apps.models.selectors import catalog_read
from engine.errors import PagodaError

MAY_TRY = "api.add_apikey"
KEY_LIFE = timedelta(minutes=15)
KEPT = timedelta(hours=1)  # an ended key, so that its last requests still find its name
PARALLEL = 8
MOST_COLUMNS = 4


@staff_page(MAY_TRY)
@require_GET
def playground(request: HttpRequest) -> HttpResponseBase:
    """`?model=` fills the first column, `?compare=a,b` up to four."""
    wanted = [*request.GET.get("compare", "").split(","), request.GET.get("model", "")]
    columns = [name for name in wanted if name][:MOST_COLUMNS]
    models = [
        {"name": model.name, "parent": model.parent or "", "context": model.max_model_len}
        for model in catalog_read().models.values()
        if model.pooling is None
    ]
    context = {"data": {"models": models, "columns": columns, "most": MOST_COLUMNS}}
    return page(request, "console/playground.html", "Playground", context)


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
]
