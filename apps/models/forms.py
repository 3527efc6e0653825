"""The form of a model. Checks what the services would refuse, so that it shows beside its field.

Every engine option is a field of its own, made from its declaration in `EngineConfig`.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.api.models import LIMITS
from apps.models import services
from apps.models.fit import fit_check, rooms_read
from apps.models.models import Desired, ServedModel
from engine.config import EngineConfig
from engine.errors import InvalidRequest

PREFIX = "option_"
NOW = "Applies now."
RELOAD = "Needs a reload: engines restart when it is saved."
REGISTERED = ("source", "revision", "aliases", "replicas", "desired")
OPTIONS = [f for f in dataclasses.fields(EngineConfig) if f.name in services.OPTION_NAMES]


def _option_field(option: dataclasses.Field[Any]) -> forms.CharField | forms.ChoiceField:
    """Empty means: as the engine decides."""
    choices = option.metadata["choices"]
    if str(option.type) == "bool":
        choices = ("true", "false")
    default = services.option_text(option.default) if option.default is not None else "decided"
    facts: dict[str, Any] = {
        "label": option.name,
        "required": False,
        "help_text": f"{option.metadata['help'].capitalize()}. Default: {default}.",
    }
    if choices:
        words = [("", f"default ({default})"), *((word, word) for word in choices)]
        return forms.ChoiceField(choices=words, widget=UnfoldAdminSelectWidget(), **facts)
    return forms.CharField(widget=UnfoldAdminTextInputWidget(), **facts)


class ServedModelForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = ServedModel
        fields = ("name", *REGISTERED, *LIMITS, "keep_alive_s")
        help_texts = {
            "aliases": f"Further names, as a JSON list. {NOW}",
            "replicas": f"Engines that serve this model. {NOW}",
            "desired": f"Loaded: engines run and the name answers. {NOW}",
            "source": f"Folder of a checkpoint, or a hub id. {RELOAD}",
            "revision": f"Of a hub checkpoint. {RELOAD}",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, value in (self.instance.engine_options or {}).items():
            if PREFIX + name in self.fields:
                self.initial[PREFIX + name] = services.option_text(value)

    def clean_source(self) -> str:
        return str(checked(services.source_resolved, self.cleaned_data["source"]))

    def clean_aliases(self) -> list[str]:
        aliases = self.cleaned_data["aliases"] or []
        if not isinstance(aliases, list) or not all(isinstance(name, str) for name in aliases):
            raise forms.ValidationError('Use a JSON list of names, such as ["chat", "default"].')
        return aliases

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        data["engine_options"] = self._engine_options(data)
        name = data.get("name") or self.instance.name
        if name and "aliases" in data:
            checked(partial(services.names_free, name=name, pk=self.instance.pk), data["aliases"])
        if self.instance.pk is None and not self.errors and data["desired"] == Desired.LOADED:
            self._check_room(data)
        return data

    def _check_room(self, data: dict[str, Any]) -> None:
        """A new model starts at once: what cannot fit is said before it is there. One SQL query."""
        fit = fit_check(
            source=data["source"],
            revision=data["revision"],
            options=data["engine_options"],
            rooms=rooms_read(),
        )
        if fit.too_big:
            self.add_error("source", f"{fit.cause} {fit.fix}")

    def _engine_options(self, data: dict[str, Any]) -> dict[str, Any]:
        """The options that were filled in, as the engine will read them."""
        options: dict[str, Any] = {}
        for option in OPTIONS:
            if not (text := data.get(PREFIX + option.name)):
                continue
            try:
                options |= services.options_checked({option.name: text})
            except InvalidRequest as error:
                self.add_error(PREFIX + option.name, error.message)
        return options


_fields = {PREFIX + option.name: _option_field(option) for option in OPTIONS}
ServedModelForm.declared_fields.update(_fields)
ServedModelForm.base_fields.update(_fields)


def checked(check: Any, value: Any) -> Any:
    """A service's refusal as the field's error."""
    try:
        return check(value)
    except InvalidRequest as error:
        raise forms.ValidationError(error.message) from None
