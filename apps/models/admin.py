"""Admin of the catalog. Actions call services; actual state is read-only."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from apps.models import services
from apps.models.admin_base import ReadOnlyAdmin, actor_of, column, for_each
from apps.models.agent.child import log_tail
from apps.models.models import CatalogEpoch, EngineInstance, Host, ServedModel, State
from apps.models.selectors import model_state
from engine.errors import InvalidRequest

STATE_COLOURS = {
    State.READY: "success",
    State.LOADING: "info",
    State.VALIDATING: "info",
    State.DRAINING: "warning",
    State.FAILED: "danger",
}
EDITABLE = ("source", "revision", "aliases", "engine_options", "replicas", "desired")


class ServedModelForm(forms.ModelForm):  # type: ignore[type-arg]
    """Checks what the service would refuse, so that it shows beside its field."""

    class Meta:
        model = ServedModel
        fields = ("name", *EDITABLE)

    def clean_source(self) -> str:
        return str(_checked(services.source_resolved, self.cleaned_data["source"]))

    def clean_engine_options(self) -> dict[str, Any]:
        options = self.cleaned_data["engine_options"] or {}
        if not isinstance(options, dict):
            raise forms.ValidationError("Use a JSON object of option names and values.")
        return dict(_checked(services.options_checked, options))

    def clean_aliases(self) -> list[str]:
        aliases = self.cleaned_data["aliases"] or []
        if not isinstance(aliases, list) or not all(isinstance(name, str) for name in aliases):
            raise forms.ValidationError('Use a JSON list of names, such as ["chat", "default"].')
        return aliases

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        name = data.get("name") or self.instance.name
        if name and "aliases" in data:
            _checked(partial(services.names_free, name=name, pk=self.instance.pk), data["aliases"])
        return data


@admin.register(ServedModel)
class ServedModelAdmin(ModelAdmin):  # type: ignore[misc]
    form = ServedModelForm
    list_display = ("name", "state", "desired", "engines", "context", "kv_tokens", "source")
    list_filter = ("desired",)
    search_fields = ("name", "source")
    actions = ("load", "unload", "restart", "forget")
    readonly_fields = (
        "state",
        "why",
        "path",
        "max_model_len",
        "vocab_size",
        "kv_tokens",
        "default_params",
        "generation",
        "created_at",
    )
    fieldsets = (
        (None, {"fields": ("name", "state", "why", "desired", "replicas", "aliases")}),
        ("Needs a reload to apply", {"fields": ("source", "revision", "engine_options")}),
        (
            "Facts of the last ready engine",
            {"fields": ("path", "max_model_len", "vocab_size", "kv_tokens", "default_params")},
        ),
        ("History", {"fields": ("generation", "created_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServedModel]:
        rows: QuerySet[ServedModel] = super().get_queryset(request)
        return rows.prefetch_related("instances")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Model | None = None
    ) -> tuple[str, ...]:
        return self.readonly_fields if obj is None else ("name", *self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # the action `forget` calls the service, which looks for running engines

    def save_model(
        self, request: HttpRequest, obj: ServedModel, form: forms.ModelForm[Any], change: bool
    ) -> None:
        values = {name: form.cleaned_data[name] for name in EDITABLE}
        saved = services.model_register(name=obj.name, actor=actor_of(request), **values)
        obj.pk = saved.pk

    @column("State", label=STATE_COLOURS)
    def state(self, model: ServedModel) -> State:
        return model_state(model)

    @column("Cause and fix")
    def why(self, model: ServedModel) -> str:
        lines = [f"{e.cause} {e.fix}" for e in model.instances.all() if e.cause]
        return "\n".join(lines) or "Nothing is wrong."

    @column("Ready / replicas")
    def engines(self, model: ServedModel) -> str:
        ready = sum(engine.state == State.READY for engine in model.instances.all())
        return f"{ready} / {model.replicas}"

    @column("Context", ordering="max_model_len")
    def context(self, model: ServedModel) -> str:
        return str(model.max_model_len or "not known yet")

    @admin.action(description="Load", permissions=["change"])
    def load(self, request: HttpRequest, rows: QuerySet[ServedModel]) -> None:
        act = partial(services.model_load, actor=actor_of(request))
        for_each(self, request, rows, lambda row: act(name=row.name), "Loading")

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


@admin.register(EngineInstance)
class EngineInstanceAdmin(ReadOnlyAdmin):
    list_display = (
        "engine_id",
        "model",
        "replica",
        "host",
        "shown_state",
        "since",
        "pid",
        "restarts",
    )
    list_filter = ("state",)
    list_select_related = ("model", "host")
    fields = (
        ("engine_id", "model", "replica"),
        ("host", "ranks", "pid"),
        ("shown_state", "since", "restarts"),
        "cause",
        "fix",
        "log",
    )

    @column("State", ordering="state", label=STATE_COLOURS)
    def shown_state(self, engine: EngineInstance) -> State:
        return State(engine.state)

    @column("End of the log (on this host)")
    def log(self, engine: EngineInstance) -> str:
        return (log_tail(Path(engine.log_path)) if engine.log_path else "") or "Empty."


@admin.register(Host)
class HostAdmin(ReadOnlyAdmin):
    list_display = ("name", "is_online", "cores", "memory_bytes", "agent_pid", "last_seen")

    @column("Online", boolean=True)
    def is_online(self, host: Host) -> bool:
        return host.online


@admin.register(CatalogEpoch)
class CatalogEpochAdmin(ReadOnlyAdmin):
    list_display = ("id", "epoch")


def _checked(check: Any, value: Any) -> Any:
    try:
        return check(value)
    except InvalidRequest as error:
        raise forms.ValidationError(error.message) from None
