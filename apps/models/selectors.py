"""Reads of the catalog."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import msgspec
from django.db.models import QuerySet

from apps.lora.models import Adapter, SourceKind
from apps.models.catalog import TEXT_OPTIONS, Catalog, CatalogModel, TextOptions
from apps.models.models import CatalogEpoch, EngineInstance, ServedModel, State
from engine.pooling.card import PoolingCard

STATE_ORDER = (State.READY, State.DRAINING, State.LOADING, State.VALIDATING, State.FAILED)


def catalog_read() -> Catalog:
    """The snapshot a web process serves from. Three SQL queries; the epoch is read first, so that
    a change in between makes the snapshot look older than it is and never newer."""
    epoch = CatalogEpoch.objects.values_list("epoch", flat=True).first() or 1
    models: dict[str, CatalogModel] = {}
    for row in ServedModel.objects.servable().order_by("name"):
        for name in (row.name, *row.aliases):
            models.setdefault(name, _entry(row, name))
    for adapter in Adapter.objects.servable().select_related("base", "current"):
        if adapter.possible:
            models.setdefault(adapter.name, _adapter_entry(adapter))
    return Catalog(epoch=epoch, models=models)


@dataclass(frozen=True, slots=True)
class Placement:
    """Names of models that should have engines now; ids of all engines there are, and of those
    that the agent has announced to the catalog."""

    wanted: frozenset[str] = frozenset()
    engines: tuple[str, ...] = ()
    announced: frozenset[str] = frozenset()


def placement_read() -> Placement:
    """Two small queries."""
    wanted = ServedModel.objects.awake().values_list("name", flat=True)
    engines = dict(EngineInstance.objects.values_list("engine_id", "state"))
    announced = frozenset(engine for engine, state in engines.items() if state == State.READY)
    return Placement(frozenset(wanted), tuple(engines), announced)


def model_by_name(name: str) -> ServedModel | None:
    """A model by its own name (not an alias). One query."""
    return ServedModel.objects.filter(name=name).first()


def instances_listed() -> QuerySet[EngineInstance]:
    """All engines with model and host, in one query."""
    return EngineInstance.objects.select_related("model", "host")


def model_state(model: ServedModel) -> State:
    """The best state of its engines. Reads `model.instances`: prefetch it for lists."""
    states = {State(instance.state) for instance in model.instances.all()}
    for state in STATE_ORDER:
        if state in states:
            return state
    return State.REGISTERED if model.awake else State.UNLOADED


def _adapter_entry(adapter: Adapter) -> CatalogModel:
    """The base model under another name, with the digest of the version the name stands for."""
    version = adapter.current
    assert version is not None  # servable
    return dataclasses.replace(
        _entry(adapter.base, adapter.name),
        root=version.source if version.kind == SourceKind.HUB else f"sha256:{version.digest}",
        parent=adapter.base.name,
        created=int(adapter.created_at.timestamp()),
        adapter_digest=version.digest,
    )


def _entry(row: ServedModel, name: str) -> CatalogModel:
    return CatalogModel(
        name=name,
        base=row.name,
        root=row.source,
        path=Path(row.path),
        created=int(row.created_at.timestamp()),
        max_model_len=row.max_model_len,
        vocab_size=row.vocab_size,
        default_params=row.default_params,
        kv_tokens=row.kv_tokens,
        load_s=row.load_s,
        text=TextOptions(**{k: v for k, v in row.engine_options.items() if k in TEXT_OPTIONS}),
        pooling=msgspec.convert(row.pooling, PoolingCard) if row.pooling else None,
        rules=row.rules(f"model:{row.name}"),
        by_priority=row.engine_options.get("scheduling_policy") == "priority",
    )
