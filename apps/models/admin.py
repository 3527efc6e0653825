"""Admin of models, engines and hosts. Actions call services; actual state is read-only."""

from __future__ import annotations

import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin

from apps.api.models import LIMITS
from apps.models import services
from apps.models.admin_base import ReadOnlyAdmin, actor_of, chip, column, for_each, gone
from apps.models.agent.child import log_tail
from apps.models.fit import Fit, fit_check, rooms_read
from apps.models.forms import OPTIONS, PREFIX, REGISTERED, ServedModelForm
from apps.models.models import EngineInstance, Host, ServedModel, State
from apps.models.overview import beats_read
from apps.models.selectors import model_state
from apps.models.templatetags.pagoda import size
from engine.errors import PagodaError
from engine.messages import EngineBeat
from inference_site.process import resident_bytes
from inference_site.redis import redis_url

TONES = {
    State.READY: "ok",
    State.LOADING: "info",
    State.VALIDATING: "info",
    State.DRAINING: "warn",
    State.FAILED: "bad",
}
HOLDS_MEMORY = {State.LOADING, State.READY}  # what is free then says nothing about the model
VERBS = {
    "load": (services.model_load, "{} is on its way."),
    "unload": (services.model_unload, "{} drains: running answers finish, new ones get 404."),
    "restart": (services.model_restart, "{} restarts: running answers finish first."),
}


@admin.register(ServedModel)
class ServedModelAdmin(ModelAdmin):  # type: ignore[misc]
    form = ServedModelForm
    list_display = (
        "name",
        "task",
        "state",
        "engines",
        "context",
        "kv_room",
        "memory",
        "adapters",
        "do",
    )
    list_filter = ("desired",)
    search_fields = ("name", "source")
    actions = ("load", "unload", "restart", "forget")
    readonly_fields = (
        "path",
        "max_model_len",
        "vocab_size",
        "kv_tokens",
        "default_params",
        "pooling",
    )
    change_form_template = "admin/catalog/servedmodel/change_form.html"
    fieldsets = (
        (None, {"fields": ("name", "source", "revision")}),
        ("Applies now", {"fields": ("desired", "replicas", "aliases", *LIMITS, "keep_alive_s")}),
        (
            "Engine options",
            {
                "fields": tuple(PREFIX + option.name for option in OPTIONS),
                "classes": ("collapse",),
                "description": "Need a reload: engines restart when they are saved. "
                "Empty: the engine decides from model and machine.",
            },
        ),
        ("Facts of the last ready engine", {"fields": readonly_fields, "classes": ("collapse",)}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.fieldsets if obj is not None else self.fieldsets[:3]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServedModel]:
        rows: QuerySet[ServedModel] = super().get_queryset(request)
        loaded = Count("adapters", filter=Q(adapters__desired="loaded"))
        return rows.prefetch_related("instances__host").annotate(num_adapters=loaded)

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> tuple[str, ...]:
        return self.readonly_fields if obj is None else ("name", *self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # the action `forget` calls the service, which looks for running engines

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path(
                "<int:pk>/act/<str:verb>/",
                view(require_POST(self.act)),
                name="catalog_servedmodel_act",
            ),
            path("<int:pk>/live/", view(self.live), name="catalog_servedmodel_live"),
            path("<int:pk>/log/<int:engine>/", view(self.log), name="catalog_servedmodel_log"),
        ]
        return own + list(super().get_urls())

    def save_model(
        self, request: HttpRequest, obj: ServedModel, form: ServedModelForm, change: bool
    ) -> None:
        data, actor = form.cleaned_data, actor_of(request)
        values = {name: data[name] for name in (*REGISTERED, "engine_options")}
        saved = services.model_register(name=obj.name, actor=actor, **values)
        if limits := {name: data[name] for name in LIMITS if name in form.changed_data}:
            services.model_limits_set(name=obj.name, actor=actor, **limits)
        if "keep_alive_s" in form.changed_data:
            services.model_keep_alive_set(name=obj.name, seconds=data["keep_alive_s"], actor=actor)
        obj.pk = saved.pk

    def act(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """Load, unload or restart; back to where the button was pressed."""
        model = self._model(request, pk, "change")
        if verb not in VERBS:
            raise Http404
        service, words = VERBS[verb]
        try:
            if verb == "load":
                _check_room(model)
            service(name=model.name, actor=actor_of(request))
            self.message_user(request, words.format(model.name), messages.SUCCESS)
        except PagodaError as error:
            self.message_user(request, error.message, messages.ERROR)
        back = request.META.get("HTTP_REFERER", "")
        here = request.build_absolute_uri("/")
        home = reverse("admin:catalog_servedmodel_change", args=[pk])
        return HttpResponseRedirect(back if back.startswith(here) else home)

    def live(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The part of a model's page that follows its engines."""
        if self.has_view_permission(request) and not ServedModel.objects.filter(pk=pk).exists():
            return gone("model")
        context = self._live(self._model(request, pk, "view"))
        return TemplateResponse(request, "admin/catalog/servedmodel/live.html", context)

    def log(self, request: HttpRequest, pk: int, engine: int) -> HttpResponse:
        """The end of one engine's log."""
        found = self._model(request, pk, "view").instances.filter(pk=engine).first()
        text = log_tail(Path(found.log_path)) if found and found.log_path else ""
        return HttpResponse(text or "The log is empty.", content_type="text/plain; charset=utf-8")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        model = self.get_object(request, object_id)
        live = {} if model is None else self._live(model)
        return super().change_view(request, object_id, form_url, live)  # type: ignore[no-any-return]

    def _model(self, request: HttpRequest, pk: int, action: str) -> ServedModel:
        """Raises `PermissionDenied`, also for a model that is gone: the page says so itself."""
        if not request.user.has_perm(f"catalog.{action}_servedmodel"):
            raise PermissionDenied
        model = self.get_queryset(request).filter(pk=pk).first()
        if model is None:
            raise PermissionDenied("This model is gone.")
        return model

    def _live(self, model: ServedModel) -> dict[str, Any]:
        engines = list(model.instances.all())
        beats = _beats(engines)
        return {
            "served": model,
            "words": state_words(model),
            "tone": TONES.get(model_state(model), ""),
            "engines": [
                (engine, beats.get(engine.engine_id), engine_bytes(engine)) for engine in engines
            ],
            "fit": None if any(e.state in HOLDS_MEMORY for e in engines) else fit_of(model),
            "base_url": settings.PAGODA.base_url,
        }

    @column("State")
    def state(self, model: ServedModel) -> SafeString:
        return chip(state_words(model), TONES.get(model_state(model), ""))

    @column("Ready")
    def engines(self, model: ServedModel) -> str:
        return f"{model.ready} of {model.replicas}"

    @column("Context", ordering="max_model_len")
    def context(self, model: ServedModel) -> str:
        return f"{model.max_model_len:,}" if model.max_model_len else "not known yet"

    @column("KV tokens", ordering="kv_tokens")
    def kv_room(self, model: ServedModel) -> str:
        return f"{model.kv_tokens:,}" if model.kv_tokens else "not known yet"

    @column("Memory")
    def memory(self, model: ServedModel) -> str:
        held = sum(engine_bytes(engine) for engine in model.instances.all())
        return size(held) if held else ""

    @column("Adapters", ordering="num_adapters")
    def adapters(self, model: ServedModel) -> int:
        return int(model.num_adapters)  # type: ignore[attr-defined]

    @column("Actions")
    def do(self, model: ServedModel) -> SafeString:
        """Buttons of the list's own form, which holds the token against forgery."""
        verbs = (("unload", "Drain and unload"), ("restart", "Restart"))
        parts = [
            format_html(
                '<button class="pg-button" type="submit" formmethod="post" formaction="{}" '
                'aria-label="{} {}">{}</button>',
                reverse("admin:catalog_servedmodel_act", args=[model.pk, verb]),
                label,
                model.name,
                label,
            )
            for verb, label in (verbs if model.wanted else (("load", "Load"),))
        ]
        return format_html('<span class="pg-row">{}</span>', SafeString("".join(parts)))

    @admin.action(description="Load", permissions=["change"])
    def load(self, request: HttpRequest, rows: QuerySet[ServedModel]) -> None:
        taken = 0  # by those that were loaded before in this loop and hold nothing yet

        def act(row: ServedModel) -> None:
            nonlocal taken
            taken += 0 if row.wanted else _check_room(row, taken_bytes=taken).bytes
            services.model_load(name=row.name, actor=actor_of(request))

        for_each(self, request, rows, act, "Loading")

    @admin.action(description="Drain and unload", permissions=["change"])
    def unload(self, request: HttpRequest, rows: QuerySet[ServedModel]) -> None:
        act = partial(services.model_unload, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(name=row.name), "Unloading")

    @admin.action(description="Restart", permissions=["change"])
    def restart(self, request: HttpRequest, rows: QuerySet[ServedModel]) -> None:
        act = partial(services.model_restart, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(name=row.name), "Restarting")

    @admin.action(description="Forget (unloaded models only)", permissions=["change"])
    def forget(self, request: HttpRequest, rows: QuerySet[ServedModel]) -> None:
        act = partial(services.model_delete, actor=actor_of(request))
        for_each(self, request, list(rows), lambda row: act(name=row.name), "Forgotten")


def state_words(model: ServedModel) -> str:
    """The state as people say it."""
    if model.resting and not model.instances.all():
        return "unloaded while idle"
    return str(model_state(model).label)


def engine_bytes(engine: EngineInstance) -> int:
    """Memory its process holds, if it runs on this host."""
    here = engine.pid and engine.host.name == socket.gethostname()
    return resident_bytes(engine.pid) if here else 0


def fit_of(model: ServedModel, *, taken_bytes: int = 0) -> Fit:
    return fit_check(
        source=model.source,
        revision=model.revision,
        options=model.engine_options,
        rooms=rooms_read(),
        taken_bytes=taken_bytes,
    )


def _check_room(model: ServedModel, *, taken_bytes: int = 0) -> Fit:
    """Raises `PagodaError` for a model that does not fit the memory that is free now."""
    fit = fit_of(model, taken_bytes=taken_bytes)
    if not fit.fits:
        raise PagodaError(f"{model.name} was not loaded. {fit.cause} {fit.fix}")
    return fit


def _beats(engines: list[EngineInstance]) -> dict[str, EngineBeat]:
    try:
        with redis.Redis.from_url(redis_url(), socket_timeout=2) as client:
            return beats_read(client, [engine.engine_id for engine in engines])
    except redis.RedisError:
        return {}


@admin.register(EngineInstance)
class EngineInstanceAdmin(ReadOnlyAdmin):
    list_display = (
        "engine_id",
        "model",
        "which",
        "host",
        "shown_state",
        "since",
        "pid",
        "restarts",
    )
    list_filter = ("state",)
    list_select_related = ("model", "host")
    fields = (
        ("engine_id", "model", "which"),
        ("host", "ranks", "pid"),
        ("shown_state", "since", "restarts"),
        "cause",
        "fix",
        "log",
    )

    @column("State", ordering="state")
    def shown_state(self, engine: EngineInstance) -> SafeString:
        state = State(engine.state)
        return chip(str(state.label), TONES.get(state, ""))

    @column("Replica", ordering="replica")
    def which(self, engine: EngineInstance) -> str:
        return f"{engine.replica + 1} of {engine.model.replicas}"

    @column("End of the log (on this host)")
    def log(self, engine: EngineInstance) -> SafeString:
        text = (log_tail(Path(engine.log_path)) if engine.log_path else "") or "Empty."
        return format_html('<pre class="pg-code pg-log" tabindex="0">{}</pre>', text)


@admin.register(Host)
class HostAdmin(ReadOnlyAdmin):
    list_display = ("name", "is_online", "cores", "memory", "free", "gpu", "agent_pid", "last_seen")

    @column("Agent")
    def is_online(self, host: Host) -> SafeString:
        if host.online:
            return chip("online", "ok")
        return chip(f"silent for {time.time() - host.last_seen.timestamp():.0f} s", "bad")

    @column("Memory", ordering="memory_bytes")
    def memory(self, host: Host) -> str:
        return size(host.memory_bytes)

    @column("Free", ordering="free_bytes")
    def free(self, host: Host) -> str:
        return size(host.free_bytes)

    @column("GPUs")
    def gpu(self, host: Host) -> SafeString | str:
        """Each with what is free of its memory."""
        lines = [
            (gpu["name"], size(gpu["free_bytes"]), size(gpu["memory_bytes"])) for gpu in host.gpus
        ]
        return format_html_join(SafeString("<br>"), "{}: {} of {} free", lines) or "none"
