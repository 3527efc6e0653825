"""Writes to the catalog. Each one moves the catalog's epoch and wakes the agents.

The epoch lives in the database and is copied to Redis after the commit, before the service
answers: admission refuses snapshots older than the copy, so a web process never serves a name
that is gone. When Redis is away nothing is admitted anyway, and the agent repeats the copy.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import redis
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from apps.api.models import LIMITS
from apps.api.services import Actor, audit_record
from apps.lora.models import Adapter
from apps.models.models import CatalogEpoch, Desired, EngineInstance, ServedModel, State
from apps.usage.budgets import model_budgets_restore
from engine import redis_keys, scripts
from engine.config import EngineConfig
from engine.errors import EngineStartError, InvalidRequest, ModelNotFound
from engine.redis_link import connect
from inference_site.redis import redis_url

log = logging.getLogger(__name__)
SYSTEM = Actor()

TEXT_FILES = {"chat_template", "tool_call_parser", "reasoning_parser"}
OPTION_NAMES = frozenset(f.name for f in dataclasses.fields(EngineConfig)) - {"model", "revision"}
# KEYS: the epoch. ARGV: the database's. Never moves it back.


@transaction.atomic
def model_register(
    *,
    name: str,
    source: str,
    aliases: Sequence[str] = (),
    revision: str = "",
    engine_options: dict[str, Any] | None = None,
    replicas: int = 1,
    desired: str = Desired.LOADED,
    actor: Actor = SYSTEM,
) -> ServedModel:
    """Add a model, or bring the one of this name to these values; engines restart on a change.

    Raises `InvalidRequest` for a bad name, source or engine option, or a name already taken.
    """
    values = {
        "source": source_resolved(source),
        "aliases": list(aliases),
        "revision": revision,
        "engine_options": options_checked(engine_options or {}),
        "replicas": replicas,
        "desired": desired,
    }
    model = ServedModel.objects.filter(name=name).first() or ServedModel(name=name)
    before = {key: getattr(model, key) for key in values}
    if model.pk is not None and before == values:
        return model
    for key, value in values.items():
        setattr(model, key, value)
    if any(before[key] != values[key] for key in ("source", "revision", "engine_options")):
        forget_facts(model)
        model.generation += model.pk is not None
    _check(model)
    model.save()
    audit_record(actor=actor, action="model.register", subject=name, **values)
    catalog_changed()
    return model


@transaction.atomic
def model_serve_only(*, name: str, actor: Actor = SYSTEM) -> None:
    """Mark a model as the one of `serve MODEL`; the one of the last `serve` is unloaded."""
    ServedModel.objects.filter(name=name).update(from_serve=True)
    others = ServedModel.objects.wanted().filter(from_serve=True).exclude(name=name)
    for other in others.values_list("name", flat=True):
        model_unload(name=other, actor=actor)


@transaction.atomic
def model_load(*, name: str, actor: Actor = SYSTEM) -> None:
    """Desired state → loaded. Also clears a failure, so that the agent tries at once."""
    _move(name, Desired.LOADED, actor, "model.load")


@transaction.atomic
def model_unload(*, name: str, actor: Actor = SYSTEM) -> None:
    """Desired state → unloaded: the name answers 404 from now on, the engines drain."""
    _move(name, Desired.UNLOADED, actor, "model.unload")


@transaction.atomic
def model_restart(*, name: str, actor: Actor = SYSTEM) -> None:
    """Engines of another generation drain and start anew. Raises `ModelNotFound`."""
    moved = ServedModel.objects.filter(name=name, desired=Desired.LOADED).update(
        generation=F("generation") + 1
    )
    if moved != 1:
        raise ModelNotFound(f"The model '{name}' is not loaded.", param="model")
    audit_record(actor=actor, action="model.restart", subject=name)
    catalog_changed()


@transaction.atomic
def model_keep_alive_set(*, name: str, seconds: int | None, actor: Actor = SYSTEM) -> None:
    """Unload the model after so many seconds without a request; None: never. Applies at once."""
    values: dict[str, Any] = {"keep_alive_s": seconds}
    if seconds is None:
        values["resting"] = False  # nobody has to wait for it any more
    if ServedModel.objects.filter(name=name).update(**values) != 1:
        raise ModelNotFound(f"There is no model '{name}'.", param="model")
    audit_record(actor=actor, action="model.keep_alive", subject=name, seconds=seconds)
    transaction.on_commit(catalog_publish)


@transaction.atomic
def model_limits_set(*, name: str, actor: Actor = SYSTEM, **limits: int | None) -> None:
    """Limits and budgets of a model, for all keys together; None: no limit. They hold at once.

    Raises `InvalidRequest` for a bad limit, `ModelNotFound`."""
    for limit, value in limits.items():
        if limit not in LIMITS or (value is not None and not 1 <= value <= 10**15):
            raise InvalidRequest(f"'{limit}' must be a whole number above 0, or null.", param=limit)
    if ServedModel.objects.filter(name=name).update(**limits) != 1:
        raise ModelNotFound(f"There is no model '{name}'.", param="model")
    audit_record(actor=actor, action="model.limits", subject=name, **limits)
    transaction.on_commit(partial(_spent_publish, name))
    catalog_changed()


def _spent_publish(name: str) -> None:
    """A budget counts what was used before it was set. Without Redis the next settler says it."""
    try:
        with connect(redis_url()) as client:
            model_budgets_restore(client, name=name)
    except redis.RedisError as error:
        log.warning("budgets_unpublished", extra={"cause": type(error).__name__})


@transaction.atomic
def model_delete(*, name: str, actor: Actor = SYSTEM) -> None:
    """Forget an unloaded model. Usage rows keep its name. Raises `InvalidRequest` if loaded."""
    deleted, _ = ServedModel.objects.filter(
        name=name, desired=Desired.UNLOADED, instances__isnull=True, adapters__isnull=True
    ).delete()
    if not deleted:
        raise InvalidRequest(
            f"The model '{name}' does not exist, or still has engines or adapters. Unload it and "
            "delete its adapters first.",
            param="name",
        )
    audit_record(actor=actor, action="model.delete", subject=name)
    catalog_changed()


def model_facts_set(*, model: ServedModel, facts: dict[str, Any]) -> bool:
    """Note what a ready engine found out. The epoch moves only if something changed."""
    with transaction.atomic():
        changed = any(getattr(model, key) != value for key, value in facts.items())
        if changed:
            ServedModel.objects.filter(pk=model.pk).update(**facts)
            catalog_changed()
    return changed


def catalog_changed() -> None:
    """Call inside the transaction of the change."""
    row, _ = CatalogEpoch.objects.get_or_create(pk=1)
    CatalogEpoch.objects.filter(pk=row.pk).update(epoch=F("epoch") + 1)
    transaction.on_commit(catalog_publish)


def catalog_publish() -> bool:
    """Copy the epoch to Redis and wake the agents. False when Redis is away (repeated later)."""
    try:
        with connect(redis_url()) as client:
            epoch_publish(client)
            client.publish(redis_keys.AGENT_WAKE, b"catalog")
    except redis.RedisError as error:
        log.warning("catalog_epoch_unpublished", extra={"cause": type(error).__name__})
        return False
    return True


def epoch_publish(client: redis.Redis) -> None:
    """Raise Redis' copy of the epoch to the database's. One SQL query, one command."""
    epoch = CatalogEpoch.objects.values_list("epoch", flat=True).first() or 1
    call = scripts.Call(scripts.script("raise_epoch"), (redis_keys.CATALOG_EPOCH,), (epoch,))
    scripts.run(client, call)


def source_resolved(source: str) -> str:
    """An absolute folder, or a hub id as it is. Raises `InvalidRequest` for a path without one."""
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InvalidRequest(
                f"{path} holds no config.json: give the folder of a checkpoint.", param="source"
            )
        return str(path.resolve())
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise InvalidRequest(
            f"{source!r} is neither a folder nor a hub id of the form owner/name.", param="source"
        )
    return source


def options_checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options as the engine will read them. Raises `InvalidRequest` naming the bad one."""
    if unknown := sorted(set(options) - OPTION_NAMES):
        raise InvalidRequest(f"There is no engine option {unknown[0]!r}.", param="engine_options")
    try:
        texts = {name: option_text(value) for name, value in options.items()}
        config = EngineConfig.from_texts(texts)
    except EngineStartError as error:
        raise InvalidRequest(error.message, param="engine_options") from None
    if TEXT_FILES & options.keys():
        from apps.api.model_texts import check_options  # tokenizers and Jinja: rarely needed here

        check_options(config.chat_template, config.tool_call_parser, config.reasoning_parser)
    return {name: getattr(config, name) for name in sorted(options)}


def option_text(value: Any) -> str:
    """An option as a flag's text: true, 4096, auto."""
    return value if isinstance(value, str) else json.dumps(value)


def forget_facts(model: ServedModel) -> None:
    """What was true of the old checkpoint says nothing about the new one."""
    model.path, model.default_params, model.pooling = "", {}, {}
    model.max_model_len = model.vocab_size = model.kv_tokens = 0


def _move(name: str, desired: Desired, actor: Actor, action: str) -> None:
    """Set the desired state, whatever it was. Raises `ModelNotFound`."""
    moved = ServedModel.objects.filter(name=name).update(desired=desired, resting=False)
    if moved != 1:
        raise ModelNotFound(f"There is no model '{name}'.", param="model")
    if desired == Desired.LOADED:
        _forgive(name)
    audit_record(actor=actor, action=action, subject=name)
    catalog_changed()


def _forgive(name: str) -> None:
    """A failed engine of this model is tried again at once: its row goes, the agent makes one."""
    EngineInstance.objects.filter(model__name=name, state=State.FAILED).delete()


def _check(model: ServedModel) -> None:
    try:
        model.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidRequest(f"{field}: {messages[0]}", param=field) from None
    names_free(model.aliases, name=model.name, pk=model.pk)


def names_free(aliases: Sequence[str], *, name: str, pk: int | None) -> None:
    """Raise `InvalidRequest` if another model or an adapter has one of these names. Two queries."""
    taken = {name, *aliases}
    others = ServedModel.objects.only("name", "aliases")
    for other in others if pk is None else others.exclude(pk=pk):
        if clash := taken & {other.name, *other.aliases}:
            raise InvalidRequest(
                f"The name {sorted(clash)[0]!r} belongs to the model {other.name!r}.", param="name"
            )
    if clashing := Adapter.objects.filter(name__in=taken).first():
        raise InvalidRequest(f"The name {clashing.name!r} belongs to an adapter.", param="name")
