"""The management API: keys and models, for keys with the `management` scope.

A management key sees the keys of its own owner; with the `admin` scope, those of all owners. It
cannot give what it has not got: see `check_grant`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from django.utils import timezone
from pydantic import BeforeValidator, Field
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api import services
from apps.api.caps import MAX_INT
from apps.api.drf import KeyView, parsed
from apps.api.models import LIMITS, ApiKey, Owner, Scope
from apps.api.schema_types import Schema
from apps.api.selectors import KeySnapshot, keys_visible
from apps.models.models import ServedModel
from apps.models.selectors import model_state
from apps.models.services import model_load, model_restart, model_unload
from engine.errors import InvalidRequest, ModelNotFound, NotFound, PermissionDenied

Limit = Annotated[int, Field(ge=1, le=MAX_INT)] | None
Moment = Annotated[datetime, Field(strict=False), BeforeValidator(lambda value: _text(value))]
Names = Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=1000)]
PAGE = 100
PAGE_MAX = 1000
NAME_OF = {rule: name for name, rule in LIMITS.items()}
BOUNDS = set(LIMITS)
GRANTED_BY_MANAGEMENT = frozenset({Scope.INFERENCE, Scope.ADAPTERS})


def _text(value: Any) -> Any:
    """Numbers would be read as seconds since 1970."""
    if isinstance(value, int | float):
        raise ValueError("must be a time like 2026-01-31T00:00:00Z")
    return value


class KeyIn(Schema):
    """Body of POST /api/keys."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    owner: Annotated[str, Field(max_length=128)] | None = None
    scopes: Names = Field(default_factory=lambda: ["inference"])
    allowed_models: Names = Field(default_factory=list)
    rpm: Limit = None
    tpm: Limit = None
    parallel: Limit = None
    budget_tokens: Limit = None
    tokens_per_day: Limit = None
    tokens_per_month: Limit = None
    micros_per_day: Limit = None
    micros_per_month: Limit = None
    expires_at: Moment | None = None


class KeyPatch(Schema):
    """Body of PATCH /api/keys/{id}: what is named changes; null removes a limit."""

    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    scopes: Names | None = None
    allowed_models: Names | None = None
    rpm: Limit = None
    tpm: Limit = None
    parallel: Limit = None
    budget_tokens: Limit = None
    tokens_per_day: Limit = None
    tokens_per_month: Limit = None
    micros_per_day: Limit = None
    micros_per_month: Limit = None
    expires_at: Moment | None = None


class RotateIn(Schema):
    """Body of POST /api/keys/{id}/rotate."""

    grace_hours: Annotated[float, Field(ge=0, le=services.MAX_GRACE_HOURS)] = 0.0


class ManagementView(KeyView):
    scope = "management"

    @property
    def sees_all(self) -> bool:
        return Scope.ADMIN in self.key.scopes

    def keys(self) -> QuerySet[ApiKey]:
        return keys_visible(None if self.sees_all else [int(self.key.owner_id)])

    def key_named(self, public_id: str) -> ApiKey:
        key = self.keys().filter(public_id=public_id).first()
        if key is None:
            raise NotFound("No such key.")
        return key


class KeyList(ManagementView):
    """GET and POST /api/keys."""

    def get(self, request: Request) -> Response:
        limit = page_size(request.query_params.get("limit"))
        keys = self.keys().order_by("-id")
        if after := request.query_params.get("after"):
            keys = keys.filter(id__lt=self.key_named(after).pk)
        rows = list(keys[: limit + 1])
        return Response(
            {
                "object": "list",
                "data": [shown(k) for k in rows[:limit]],
                "has_more": len(rows) > limit,
            }
        )

    def post(self, request: Request) -> Response:
        body = parsed(KeyIn, request)
        check_grant(self.key, body.scopes, body.allowed_models)
        check_bounds(self.key, body.model_dump(include=BOUNDS), _aware(body.expires_at))
        limits = services.KeyLimits(**body.model_dump(include=BOUNDS))
        key, text = services.key_create(
            owner=self._owner(body.owner),
            name=body.name,
            scopes=body.scopes,
            allowed_models=body.allowed_models,
            limits=limits,
            expires_at=_aware(body.expires_at),
            actor=self.actor,
        )
        return Response({**shown(key), "key": text}, status=201)

    def _owner(self, name: str | None) -> Owner:
        own = Owner.objects.get(pk=int(self.key.owner_id))
        if name is None or name == own.name:
            return own
        if Scope.ADMIN not in self.key.scopes:
            raise PermissionDenied("This API key makes keys for its own owner only.")
        return services.owner_get_or_create(name=name)


class KeyDetail(ManagementView):
    """GET, PATCH and DELETE /api/keys/{id}; DELETE revokes."""

    def get(self, request: Request, public_id: str) -> Response:
        return Response(shown(self.key_named(public_id)))

    def patch(self, request: Request, public_id: str) -> Response:
        body = parsed(KeyPatch, request)
        key = self.key_named(public_id)
        changes = {name: getattr(body, name) for name in request.data if name in services.EDITABLE}
        for name in ("name", "scopes", "allowed_models"):
            if name in changes and changes[name] is None:
                raise InvalidRequest(f"'{name}' cannot be null.", param=name)
        scopes, allowed = changes.get("scopes", key.scopes), changes.get("allowed_models")
        check_grant(self.key, scopes, key.allowed_models if allowed is None else allowed)
        if "expires_at" in changes:
            changes["expires_at"] = _aware(changes["expires_at"])
        expires_at = changes.get("expires_at", key.expires_at)
        check_bounds(self.key, {b: changes.get(b, getattr(key, b)) for b in BOUNDS}, expires_at)
        return Response(shown(services.key_edit(key=key, actor=self.actor, **changes)))

    def delete(self, request: Request, public_id: str) -> Response:
        key = services.key_revoke(key=self.key_named(public_id), actor=self.actor)
        return Response(shown(key))


class KeyRevoke(ManagementView):
    """POST /api/keys/{id}/revoke."""

    def post(self, request: Request, public_id: str) -> Response:
        key = services.key_revoke(key=self.key_named(public_id), actor=self.actor)
        return Response(shown(key))


class KeyRotate(ManagementView):
    """POST /api/keys/{id}/rotate: a successor; the old key ends after `grace_hours`."""

    def post(self, request: Request, public_id: str) -> Response:
        body = parsed(RotateIn, request)
        key = self.key_named(public_id)
        check_grant(self.key, key.scopes, key.allowed_models)
        check_bounds(self.key, {bound: getattr(key, bound) for bound in BOUNDS}, key.expires_at)
        successor, text = services.key_rotate(
            key=key, grace_hours=body.grace_hours, actor=self.actor
        )
        return Response({**shown(successor), "key": text}, status=201)


class ServedModels(ManagementView):
    """GET /api/models: desired and actual state of every model."""

    def get(self, request: Request) -> Response:
        rows = ServedModel.objects.prefetch_related("instances").order_by("name")
        return Response({"object": "list", "data": [_model(row) for row in rows]})


class ServedModelAction(ManagementView):
    """POST /api/models/{name}/load, /unload and /restart."""

    scope = "admin"
    actions = {"load": model_load, "unload": model_unload, "restart": model_restart}

    def post(self, request: Request, name: str, action: str) -> Response:
        self.actions[action](name=name, actor=self.actor)
        row = ServedModel.objects.prefetch_related("instances").filter(name=name).first()
        if row is None:
            raise ModelNotFound(f"The model {name[:200]!r} does not exist.", param="model")
        return Response(_model(row))


def check_grant(creator: KeySnapshot, scopes: list[str], allowed_models: list[str]) -> None:
    """A key gives at most inference and adapter rights, what it has itself, and its own models.

    Raises `PermissionDenied`.
    """
    grantable = creator.scopes | GRANTED_BY_MANAGEMENT
    for scope in scopes:
        if scope in Scope.values and scope not in grantable:
            raise PermissionDenied(f"This API key cannot give the scope '{scope}'.")
    if creator.allowed_models and not (
        allowed_models and creator.allowed_models.issuperset(allowed_models)
    ):
        raise PermissionDenied("This API key can only give the models it may use itself.")


def check_bounds(
    creator: KeySnapshot, limits: dict[str, int | None], expires_at: datetime | None
) -> None:
    """A key gives no wider limits and no longer life than its own. Raises `PermissionDenied`."""
    for rule in creator.rules:
        if rule.subject.startswith("owner:"):  # holds for the new key too
            continue
        name = NAME_OF[rule.kind, rule.period]
        given = limits[name]
        if given is None or given > rule.limit:
            raise PermissionDenied(f"This API key can give '{name}' up to its own {rule.limit}.")
    last = creator.expires_at
    if last is not None and (expires_at is None or expires_at.timestamp() > last):
        raise PermissionDenied("This API key can only give keys that expire no later than itself.")


def shown(key: ApiKey) -> dict[str, Any]:
    """A key without its secret. One query if the successor is not loaded yet."""
    return {
        "id": key.public_id,
        "object": "api_key",
        "name": key.name,
        "owner": key.owner.name,
        "hint": key.hint,
        "scopes": key.scopes,
        "allowed_models": key.allowed_models,
        **{name: getattr(key, name) for name in LIMITS},
        "keep_bodies_days": key.keep_bodies_days,
        "usable": key.usable,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "successor": key.successor.public_id if key.successor else None,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
    }


def _model(row: ServedModel) -> dict[str, Any]:
    return {
        "id": row.name,
        "object": "served_model",
        "desired": row.desired,
        "state": model_state(row),
        "replicas": row.replicas,
        "aliases": row.aliases,
        "max_model_len": row.max_model_len,
        "engines": [
            {"id": e.engine_id, "state": e.state, "cause": e.cause, "fix": e.fix}
            for e in row.instances.all()
        ],
    }


def page_size(text: str | None) -> int:
    if text is None:
        return PAGE
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= PAGE_MAX):
        raise InvalidRequest(f"'limit' must be 1 to {PAGE_MAX}.", param="limit")
    return int(text)


def _aware(moment: datetime | None) -> datetime | None:
    """In UTC, as times without a zone are. Raises `InvalidRequest` if UTC's calendar lacks it."""
    if moment is None or timezone.is_naive(moment):
        return moment and moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest(
            "'expires_at' must lie in the years 1 to 9999, in UTC.", param="expires_at"
        ) from None
