"""Admin of adapters: the list, a page per adapter, uploads. Every button calls a service."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Model, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin

from apps.api.models import ApiKey
from apps.api.services import Actor
from apps.lora import selectors, services
from apps.lora.config import FILES, lora_settings
from apps.lora.models import Adapter, AdapterVersion, VersionState
from apps.lora.sources import source_from
from apps.lora.tickets import upload_open
from apps.lora.views import upload_words
from apps.models.admin_base import actor_of, chip, column, for_each, gone
from apps.models.models import Desired, ServedModel
from apps.models.templatetags.pagoda import size
from apps.usage.models import UsageDay
from engine.errors import PagodaError

TONES = {
    VersionState.READY: "ok",
    VersionState.LOADING: "info",
    VersionState.VALIDATING: "info",
    VersionState.REGISTERED: "info",
    VersionState.DRAINING: "warn",
    VersionState.FAILED: "bad",
}
PLACES = {"slot": "slot", "host": "host memory", "disk": "disk", "": "no engine"}
SHOWN_KEYS = 20
# Of the request at hand: the list's columns are asked row by row and get no request.
_placements: ContextVar[selectors.Placements] = ContextVar("placements")


def _roll_back(*, name: str, actor: Actor, version: str = "") -> Adapter:
    if not version.isdecimal():
        raise Http404
    return services.adapter_roll_back(name=name, number=int(version), actor=actor)


VERBS: dict[str, tuple[Callable[..., object], str]] = {
    "load": (services.adapter_load, "{} is on its way."),
    "unload": (services.adapter_unload, "{} drains: running answers finish, new ones get 404."),
    "pin": (partial(services.adapter_pin, pinned=True), "{} stays in memory."),
    "unpin": (partial(services.adapter_pin, pinned=False), "{} may make room for others."),
    "roll_back": (_roll_back, "{} takes the other version as soon as that is loaded."),
    "delete": (services.adapter_delete, "{} is deleted."),
}


@admin.register(Adapter)
class AdapterAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = (
        "name",
        "base",
        "state",
        "version",
        "rank",
        "weight",
        "place",
        "hits",
        "pin_word",
    )
    list_filter = ("desired", "base", "pinned")
    list_select_related = ("base", "current", "target")
    search_fields = ("name",)
    actions = ("load", "unload", "pin", "unpin", "forget")
    fields = ("name",)  # for the search and the history; the page itself is our own
    change_list_template = "admin/lora/adapter/change_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Adapter]:
        rows: QuerySet[Adapter] = super().get_queryset(request)
        return rows.prefetch_related("versions")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        _placements.set(selectors.placements_read())
        return super().changelist_view(request, extra_context)  # type: ignore[no-any-return]

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # the action `forget` calls the service, which looks for engines

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        act = view(require_POST(self.act))
        own = [
            path("<int:pk>/act/<str:verb>/", act, name="lora_adapter_act"),
            path("<int:pk>/live/", view(self.live), name="lora_adapter_live"),
            path("open/", view(require_POST(self.open)), name="lora_adapter_open"),
        ]
        return own + list(super().get_urls())

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Two files, a folder of the server, or a hub id."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        context = self._context(request, "Add an adapter") | {
            "bases": ServedModel.objects.order_by("desired", "name"),
            "files": FILES,
            "max_bytes": lora_settings().max_adapter_bytes,
            "name": request.GET.get("name", ""),
        }
        return TemplateResponse(request, "admin/lora/adapter/add.html", context)

    def open(self, request: HttpRequest) -> HttpResponse:
        """Register what the form names. The answer says where to go, and how to send files."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        post = request.POST
        given: dict[str, Any] = {
            "name": post.get("name", "").strip(),
            "base": post.get("base") or None,
            "load": "load" in post,
            "pinned": "pinned" in post,
            "actor": actor_of(request),
        }
        try:
            if source := post.get("source", "").strip():
                version = services.version_add(source=source_from(source), **given)
                upload = None
            else:
                version, ticket = upload_open(owner=None, **given)
                upload = upload_words(version.pk, ticket)
        except PagodaError as error:
            return JsonResponse({"error": error.message}, status=400)
        page = reverse("admin:lora_adapter_change", args=[version.adapter_id])
        return JsonResponse({"page": page, "upload": upload})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        adapter = self._adapter(request, object_id, "view")
        context = self._context(request, adapter.name) | self._live(adapter)
        return TemplateResponse(request, "admin/lora/adapter/detail.html", context)

    def live(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The part of the page that follows the engines."""
        if self.has_view_permission(request) and not Adapter.objects.filter(pk=pk).exists():
            return gone("adapter")
        context = self._live(self._adapter(request, str(pk), "view"))
        return TemplateResponse(request, "admin/lora/adapter/live.html", context)

    def act(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        adapter = self._adapter(request, str(pk), "change")
        if verb not in VERBS:
            raise Http404
        service, words = VERBS[verb]
        more = {"version": request.POST.get("version", "")} if verb == "roll_back" else {}
        try:
            service(name=adapter.name, actor=actor_of(request), **more)
            self.message_user(request, words.format(adapter.name), messages.SUCCESS)
        except PagodaError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            if verb == "delete":
                return HttpResponseRedirect(reverse("admin:lora_adapter_changelist"))
        return HttpResponseRedirect(reverse("admin:lora_adapter_change", args=[pk]))

    def _adapter(self, request: HttpRequest, object_id: str, action: str) -> Adapter:
        if not request.user.has_perm(f"lora.{action}_adapter"):
            raise PermissionDenied
        rows = self.get_queryset(request).select_related("base", "current", "target")
        adapter = rows.filter(pk=object_id).first() if object_id.isdecimal() else None
        if adapter is None:
            raise Http404("This adapter is gone.")
        return adapter

    def _context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
        }

    def _live(self, adapter: Adapter) -> dict[str, Any]:
        placements = selectors.placements_read()
        days = UsageDay.objects.filter(adapter=adapter.name, key_id="")
        state = selectors.adapter_state(adapter)
        return {
            "adapter": adapter,
            "state": state.label,
            "tone": TONES.get(state, ""),
            "loaded": adapter.desired == Desired.LOADED,
            "deletable": services.is_deletable(adapter),
            "rows": [_row(v, adapter, placements) for v in adapter.versions.all()],
            "used": days.aggregate(requests=Sum("requests"), last=Max("day")),
            "keys": _keys_with(adapter.name),
        }

    @column("State")
    def state(self, adapter: Adapter) -> SafeString:
        found = selectors.adapter_state(adapter)
        return chip(found.label, TONES.get(found, ""))

    @column("Version")
    def version(self, adapter: Adapter) -> str:
        return str(adapter.current.number) if adapter.current else "none"

    @column("Rank")
    def rank(self, adapter: Adapter) -> str:
        return str(_shown(adapter).rank) if _shown(adapter).rank else ""

    @column("Size")
    def weight(self, adapter: Adapter) -> str:
        return size(_shown(adapter).size_bytes) if _shown(adapter).size_bytes else ""

    @column("Where")
    def place(self, adapter: Adapter) -> str:
        return PLACES[selectors.residency(self._placed(adapter))]

    @column("Pinned", ordering="pinned")
    def pin_word(self, adapter: Adapter) -> str:
        return "pinned" if adapter.pinned else ""

    @column("Hits")
    def hits(self, adapter: Adapter) -> int:
        return sum(one.beat.hits for one in self._placed(adapter))

    def _placed(self, adapter: Adapter) -> tuple[selectors.Placed, ...]:
        digest = adapter.current.digest if adapter.current else ""
        return _placements.get().get(digest, ())

    @admin.action(description="Load", permissions=["change"])
    def load(self, request: HttpRequest, rows: QuerySet[Adapter]) -> None:
        act = partial(services.adapter_load, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(name=row.name), "Loading")

    @admin.action(description="Drain and unload", permissions=["change"])
    def unload(self, request: HttpRequest, rows: QuerySet[Adapter]) -> None:
        act = partial(services.adapter_unload, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(name=row.name), "Unloading")

    @admin.action(description="Pin in memory", permissions=["change"])
    def pin(self, request: HttpRequest, rows: QuerySet[Adapter]) -> None:
        act = partial(services.adapter_pin, pinned=True, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(name=row.name), "Pinned")

    @admin.action(description="Unpin", permissions=["change"])
    def unpin(self, request: HttpRequest, rows: QuerySet[Adapter]) -> None:
        act = partial(services.adapter_pin, pinned=False, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(name=row.name), "Unpinned")

    @admin.action(description="Forget (unloaded adapters only)", permissions=["change"])
    def forget(self, request: HttpRequest, rows: QuerySet[Adapter]) -> None:
        act = partial(services.adapter_delete, actor=actor_of(request))
        for_each(self, request, list(rows), lambda row: act(name=row.name), "Forgotten")


def _shown(adapter: Adapter) -> AdapterVersion:
    return adapter.current or adapter.target or AdapterVersion()


def _row(
    version: AdapterVersion, adapter: Adapter, placements: selectors.Placements
) -> dict[str, Any]:
    """One version as the page shows it."""
    placed = placements.get(version.digest, ()) if version.digest else ()
    return {
        "version": version,
        "tone": TONES.get(VersionState(version.state), ""),
        "current": version.pk == adapter.current_id,
        "choosable": bool(version.digest) and version.pk != adapter.target_id,
        "placed": [(one.engine, PLACES[str(one.beat.residency)], one.beat) for one in placed],
    }


def _keys_with(name: str) -> dict[str, Any]:
    """Keys that name this adapter, and how many may use every name. One query."""
    rows = ApiKey.objects.listed().usable().values_list("pk", "name", "allowed_models")
    named = [(pk, key) for pk, key, allowed in rows if name in allowed]
    return {
        "named": named[:SHOWN_KEYS],
        "more": max(0, len(named) - SHOWN_KEYS),
        "all": sum(not allowed for _, _, allowed in rows),
    }
