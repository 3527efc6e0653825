"""The management API of adapters, and vLLM's two routes. Keys need the scope `adapters`.

A key that is limited to some names manages the adapters of these names and sees no others.
"""

from __future__ import annotations

from typing import Annotated

from django.http import HttpResponse
from pydantic import BaseModel, Field
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.drf import KeyView, parsed, tell_ignored
from apps.api.models import Owner
from apps.api.schema_types import Schema
from apps.lora import selectors, services
from apps.lora.config import FILES, lora_settings
from apps.lora.models import Adapter
from apps.lora.sources import source_from
from apps.lora.tickets import upload_open
from apps.models.services import catalog_publish
from engine.errors import InvalidRequest, ModelNotFound, PagodaError, PermissionDenied

Name = Annotated[str, Field(min_length=1, max_length=128)]
Path = Annotated[str, Field(min_length=1, max_length=1024)]
UPLOADS = "/api/adapter-uploads/"


class AdapterIn(Schema):
    """Body of POST /api/adapters. Without `source` the two files are uploaded afterwards."""

    name: Name
    base: Name | None = None
    source: Path | None = None
    load: bool = True
    pinned: bool = False


class RollBackIn(Schema):
    """Body of POST /api/adapters/{name}/roll_back."""

    version: Annotated[int, Field(ge=1)]


class LoadIn(Schema):
    """Body of POST /v1/load_lora_adapter, as vLLM's; `base_model_name` is needed only where
    several base models are served."""

    lora_name: Name
    lora_path: Path
    load_inplace: bool = False
    base_model_name: Name | None = None


class UnloadIn(Schema):
    """Body of POST /v1/unload_lora_adapter, as vLLM's; `lora_int_id` has no meaning here."""

    lora_name: Name
    lora_int_id: int | None = None


FOREIGN_NAMES = {"name": "lora_name", "source": "lora_path", "base": "base_model_name"}
BODIES: dict[tuple[str, str], type[BaseModel]] = {  # for the OpenAPI document
    ("/api/adapters", "post"): AdapterIn,
    ("/v1/load_lora_adapter", "post"): LoadIn,
    ("/v1/unload_lora_adapter", "post"): UnloadIn,
}


class AdapterView(KeyView):
    scope = "adapters"

    def may_manage(self, name: str, base: str | None) -> None:
        """Whether the key may add this adapter, or a version of it. A new one lets it use its base
        model. Raises `PermissionDenied`."""
        if not self.key.may_use(name):
            raise PermissionDenied(
                "This API key manages only the adapters it may use; their names are in its list."
            )
        if self.key.allowed_models and not Adapter.objects.filter(name=name).exists():
            model = services.base_named(base)
            if not any(self.key.may_use(one) for one in (model.name, *model.aliases)):
                raise PermissionDenied(
                    "This API key may add adapters only to models it may use; their names are in "
                    "its list."
                )

    def one(self, name: str, status: int = 200) -> Response:
        adapter = selectors.adapter_for_key(self.key, name)
        return Response(selectors.shown(adapter, selectors.placements_read()), status=status)

    def owner(self) -> Owner:
        return Owner.objects.get(pk=int(self.key.owner_id))


class AdapterList(AdapterView):
    """GET and POST /api/adapters."""

    def get(self, request: Request) -> Response:
        placements = selectors.placements_read()
        rows = [a for a in selectors.adapters_listed() if self.key.may_use(a.name)]
        data = [selectors.shown(adapter, placements) for adapter in rows]
        return Response({"object": "list", "data": data})

    def post(self, request: Request) -> Response:
        """201 when the adapter is usable (or, with `load: false`, checked), 202 when that takes
        longer. A refused adapter is a 400 that names every problem."""
        body = parsed(AdapterIn, request)
        self.may_manage(body.name, body.base)
        if body.source is None:
            return self._open_upload(body)
        source = source_from(body.source, owner=self.owner())
        version = services.version_add(
            name=body.name, source=source, base=body.base, load=body.load, pinned=body.pinned,
            actor=self.actor,
        )  # fmt: skip
        within_s = lora_settings().adapter_wait_s
        done = selectors.version_await(version.pk, name=body.name, within_s=within_s)
        catalog_publish()
        return self.one(body.name, 201 if done else 202)

    def _open_upload(self, body: AdapterIn) -> Response:
        version, ticket = upload_open(
            name=body.name, base=body.base, load=body.load, owner=self.owner(), actor=self.actor,
            pinned=body.pinned,
        )  # fmt: skip
        reply = self.one(body.name, 201)
        reply.data["upload"] = upload_words(version.pk, ticket)
        return reply


class AdapterDetail(AdapterView):
    """GET and DELETE /api/adapters/{name}."""

    def get(self, request: Request, name: str) -> Response:
        return self.one(name)

    def delete(self, request: Request, name: str) -> Response:
        selectors.adapter_for_key(self.key, name)
        services.adapter_delete(name=name, actor=self.actor)
        return Response({"id": name, "object": "adapter", "deleted": True})


class AdapterAction(AdapterView):
    """POST /api/adapters/{name}/load, /unload, /pin, /unpin and /roll_back."""

    def post(self, request: Request, name: str, action: str) -> Response:
        selectors.adapter_for_key(self.key, name)
        done = True
        if action == "load":
            services.adapter_load(name=name, actor=self.actor)
            done = self._usable(name)
        elif action == "unload":
            services.adapter_unload(name=name, actor=self.actor)
        elif action == "roll_back":
            number = parsed(RollBackIn, request).version
            adapter = services.adapter_roll_back(name=name, number=number, actor=self.actor)
            done = self._usable(name) if adapter.desired == "loaded" else True
        else:
            services.adapter_pin(name=name, pinned=action == "pin", actor=self.actor)
        catalog_publish()
        return self.one(name, 200 if done else 202)

    def _usable(self, name: str) -> bool:
        return selectors.load_await(name, within_s=lora_settings().adapter_wait_s)


class ForeignView(AdapterView):
    """Refusals name the fields as vLLM's bodies do."""

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, PagodaError) and exc.param in FOREIGN_NAMES:
            exc.param = FOREIGN_NAMES[exc.param]
        return super().handle_exception(exc)


class LoadLoraAdapter(ForeignView):
    """POST /v1/load_lora_adapter: 200 once every web process and engine can use it."""

    def post(self, request: Request) -> HttpResponse:
        body = parsed(LoadIn, request)
        self.may_manage(body.lora_name, body.base_model_name)
        known = Adapter.objects.filter(name=body.lora_name).first()
        if known is not None and known.current_id is not None and not body.load_inplace:
            raise InvalidRequest(
                f"The lora adapter '{body.lora_name}' has already been loaded. If you want to load "
                "the adapter in place, set 'load_inplace' to True.",
                param="lora_name",
            )
        version = services.version_add(
            name=body.lora_name,
            source=source_from(body.lora_path, owner=self.owner()),
            base=body.base_model_name,
            actor=self.actor,
        )
        within_s = lora_settings().adapter_wait_s
        if not selectors.version_await(version.pk, name=body.lora_name, within_s=within_s):
            raise selectors.still_on_its_way(services.adapter_named(body.lora_name))
        catalog_publish()
        return _success(f"LoRA adapter '{body.lora_name}' added successfully.")


class UnloadLoraAdapter(ForeignView):
    """POST /v1/unload_lora_adapter: 200 once no web process takes requests for it."""

    def post(self, request: Request) -> HttpResponse:
        body = parsed(UnloadIn, request)
        if body.lora_int_id is not None:
            tell_ignored(request, ["lora_int_id"])
        known = Adapter.objects.wanted().filter(name=body.lora_name).exists()
        if not known or not self.key.may_use(body.lora_name):
            raise ModelNotFound(
                f"The lora adapter '{body.lora_name}' cannot be found.", param="lora_name"
            )
        services.adapter_unload(name=body.lora_name, actor=self.actor)
        return _success(f"LoRA adapter '{body.lora_name}' removed successfully.")


def upload_words(version_id: int, ticket: str) -> dict[str, object]:
    """How to send the two files: PUT each to its path with the ticket in a header."""
    return {
        "ticket": ticket,
        "header": "X-Upload-Ticket",
        "files": {file: f"{UPLOADS}{version_id}/{file}" for file in FILES},
    }


def _success(text: str) -> HttpResponse:
    return HttpResponse(f"Success: {text}", content_type="text/plain; charset=utf-8")
