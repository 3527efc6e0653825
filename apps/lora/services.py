"""Writes to adapters. Desired state changes here; `apps.lora.reconcile` closes the difference.

Every change that alters what a name stands for moves the catalog's epoch in its transaction, so
that no web process serves the old meaning once the call has answered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from apps.api.services import Actor, audit_record
from apps.lora import store
from apps.lora.jobs import check_soon
from apps.lora.models import CHECKING, IN_ENGINES, Adapter, AdapterVersion, SourceKind, VersionState
from apps.lora.sources import Source
from apps.models.models import Desired, ServedModel
from apps.models.services import catalog_changed, names_free
from engine.errors import InvalidRequest, ModelNotFound

SYSTEM = Actor()
ACTIONS = ("load", "unload", "pin", "unpin", "roll_back")  # ends of the management API's paths
WITHOUT = "The model {!r} is served without adapters."
WITHOUT_FIX = "Switch enable_lora on in its engine options, or start it with --enable-lora."


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the check of the files found out."""

    digest: str
    rank: int
    alpha: float
    modules: list[str] = field(default_factory=list)
    size_bytes: int = 0
    hashes: dict[str, str] = field(default_factory=dict)


@transaction.atomic
def version_add(
    *,
    name: str,
    source: Source,
    base: str | None = None,
    load: bool = True,
    pinned: bool = False,
    actor: Actor = SYSTEM,
) -> AdapterVersion:
    """A new adapter, or a new version of one; it is checked in the background.

    With `load` it takes the name as soon as it is usable, and an older version drains. Raises
    `InvalidRequest` for a bad or taken name, `ModelNotFound` for an unknown base.
    """
    adapter = Adapter.objects.select_for_update().filter(name=name).first()
    if adapter is None:
        adapter = _new_adapter(name, base_named(base))
    elif base is not None and base_named(base) != adapter.base:
        raise InvalidRequest(
            f"The adapter {name!r} belongs to the model {adapter.base.name!r}.", param="base"
        )
    _check_possible(adapter)
    adapter.desired = Desired.LOADED if load else adapter.desired
    adapter.pinned = adapter.pinned or pinned
    adapter.save(update_fields=["desired", "pinned"])
    last = adapter.versions.aggregate(last=Max("number"))["last"] or 0
    version = AdapterVersion.objects.create(
        adapter=adapter,
        number=last + 1,
        kind=source.kind,
        source=source.text,
        owner=source.owner,
        activates=load,
    )
    detail = {"version": version.number, "kind": source.kind, "source": source.text, "load": load}
    audit_record(actor=actor, action="adapter.add", subject=name, **detail)
    if source.kind != SourceKind.UPLOAD:
        transaction.on_commit(partial(check_soon, version.pk))
    return version


def version_claim(version_id: int, *, stale_before: Any) -> AdapterVersion | None:
    """Take a version to check: a fresh one, or one whose checker died before `stale_before`."""
    rows = AdapterVersion.objects.filter(pk=version_id)
    fresh = rows.filter(state=VersionState.REGISTERED, ticket_digest="")
    left = rows.filter(state=VersionState.VALIDATING, since__lt=stale_before)
    for claimable in (fresh, left):
        if claimable.update(state=VersionState.VALIDATING, since=timezone.now()):
            return rows.select_related("adapter__base", "owner").get()
    return None


@transaction.atomic
def version_accept(*, version: AdapterVersion, facts: Facts) -> AdapterVersion:
    """The files are good and in the store. If an older version has the same content, that one is
    used and this row goes. Returns the version that stays."""
    adapter = Adapter.objects.select_for_update().get(pk=version.adapter_id)
    same = adapter.versions.filter(digest=facts.digest).exclude(pk=version.pk).first()
    if same is not None:
        AdapterVersion.objects.filter(pk=version.pk).delete()
        kept = same
    else:
        AdapterVersion.objects.filter(pk=version.pk, state=VersionState.VALIDATING).update(
            state=VersionState.UNLOADED, since=timezone.now(), cause="", fix="", problems=[],
            digest=facts.digest, rank=facts.rank, alpha=facts.alpha, modules=facts.modules,
            size_bytes=facts.size_bytes, hashes=facts.hashes,
        )  # fmt: skip
        kept = version
    kept.refresh_from_db()
    overtaken = adapter.target is not None and adapter.target.number > version.number
    if version.activates and not overtaken:
        _aim(adapter, kept)
    audit_record(actor=SYSTEM, action="adapter.accept", subject=adapter.name, version=kept.number)
    return kept


def version_refuse(*, version: AdapterVersion, problems: list[str], cause: str, fix: str) -> None:
    """The files are not usable; nothing else changes."""
    with transaction.atomic():
        AdapterVersion.objects.filter(pk=version.pk, state__in=CHECKING).update(
            state=VersionState.FAILED, since=timezone.now(), ticket_digest="",
            problems=problems, cause=cause, fix=fix,
        )  # fmt: skip
        audit_record(
            actor=SYSTEM, action="adapter.refuse", subject=version.adapter.name,
            version=version.number, problems=problems,
        )  # fmt: skip


@transaction.atomic
def adapter_load(*, name: str, actor: Actor = SYSTEM) -> Adapter:
    """Desired state → loaded. Raises `InvalidRequest` when no version of it is valid."""
    adapter = adapter_named(name, lock=True)
    _check_possible(adapter)
    target = adapter.target or adapter.versions.exclude(digest="").first()
    checking = adapter.versions.filter(state__in=CHECKING, activates=True).exists()
    if target is None and not checking:
        raise InvalidRequest(
            f"No version of the adapter {name!r} is valid. Add one that is.", param="name"
        )
    adapter.desired = Desired.LOADED
    adapter.save(update_fields=["desired"])
    if target is not None:
        _aim(adapter, target)
    audit_record(actor=actor, action="adapter.load", subject=name)
    return adapter


@transaction.atomic
def adapter_unload(*, name: str, actor: Actor = SYSTEM) -> Adapter:
    """Desired state → unloaded: the name answers 404 from now on, running requests finish.

    Raises `InvalidRequest` if it is not loaded: losing a race is no silent success.
    """
    adapter = adapter_named(name, lock=True)
    if adapter.desired != Desired.LOADED:
        raise InvalidRequest(f"The adapter {name!r} is not loaded.", param="name")
    adapter.desired, adapter.current = Desired.UNLOADED, None
    adapter.save(update_fields=["desired", "current"])
    _drain(adapter.versions.all())
    audit_record(actor=actor, action="adapter.unload", subject=name)
    catalog_changed()
    return adapter


@transaction.atomic
def adapter_pin(*, name: str, pinned: bool, actor: Actor = SYSTEM) -> Adapter:
    """Keep it in the engines' memory, or let it make room again."""
    adapter = adapter_named(name, lock=True)
    adapter.pinned = pinned
    adapter.save(update_fields=["pinned"])
    audit_record(actor=actor, action="adapter.pin", subject=name, pinned=pinned)
    catalog_changed()
    return adapter


@transaction.atomic
def adapter_roll_back(*, name: str, number: int, actor: Actor = SYSTEM) -> Adapter:
    """Let the name stand for another valid version; the present one drains when that is ready."""
    adapter = adapter_named(name, lock=True)
    version = adapter.versions.filter(number=number).exclude(digest="").first()
    if version is None:
        raise InvalidRequest(
            f"The adapter {name!r} has no valid version {number}.", param="version"
        )
    _aim(adapter, version)
    audit_record(actor=actor, action="adapter.roll_back", subject=name, version=number)
    return adapter


@transaction.atomic
def adapter_delete(*, name: str, actor: Actor = SYSTEM) -> None:
    """Forget an adapter that no engine has, and its versions. Usage rows keep its name."""
    adapter = adapter_named(name, lock=True)
    if not is_deletable(adapter):
        raise InvalidRequest(
            f"The adapter {name!r} is loaded or still draining. Unload it first.", param="name"
        )
    for version_id in adapter.versions.values_list("pk", flat=True):
        transaction.on_commit(partial(store.discard, version_id))
    adapter.delete()
    audit_record(actor=actor, action="adapter.delete", subject=name)
    catalog_changed()


def is_deletable(adapter: Adapter) -> bool:
    """Whether no engine has it or is to get it. Reads `versions`: prefetch them for lists."""
    states = {version.state for version in adapter.versions.all()}
    return adapter.current_id is None and not states & set(IN_ENGINES)


@transaction.atomic
def version_switch(*, version: AdapterVersion) -> bool:
    """The target is usable on every engine: the name stands for it from this commit on, and what
    it stood for drains. False if the target changed meanwhile."""
    moved = Adapter.objects.filter(
        pk=version.adapter_id, target=version, desired=Desired.LOADED
    ).update(current=version)
    if moved != 1:
        return False
    AdapterVersion.objects.filter(pk=version.pk).update(
        state=VersionState.READY, since=timezone.now(), cause="", fix=""
    )
    _drain(AdapterVersion.objects.filter(adapter_id=version.adapter_id).exclude(pk=version.pk))
    catalog_changed()
    return True


def version_move(
    *, version: AdapterVersion, to: str, was: tuple[str, ...], cause: str = "", fix: str = ""
) -> bool:
    """Move a version's state if it is one of `was`. False: somebody else moved it."""
    rows = AdapterVersion.objects.filter(pk=version.pk, state__in=was)
    return rows.update(state=to, since=timezone.now(), cause=cause, fix=fix) == 1


def adapter_named(name: str, *, lock: bool = False) -> Adapter:
    """Raises `ModelNotFound`."""
    rows = Adapter.objects.select_related("base", "target", "current")
    if lock:
        rows = rows.select_for_update(of=("self",))
    adapter = rows.filter(name=name).first()
    if adapter is None:
        raise ModelNotFound(f"The adapter {name[:200]!r} does not exist.", param="name")
    return adapter


def base_named(name: str | None) -> ServedModel:
    """The base model of this name or alias; without a name the only one that is loaded."""
    if name is not None:
        for model in ServedModel.objects.all():
            if name in (model.name, *model.aliases):
                return model
        raise ModelNotFound(f"The base model {name[:200]!r} does not exist.", param="base")
    wanted = list(ServedModel.objects.wanted()[:2])
    if len(wanted) == 1:
        return wanted[0]
    raise InvalidRequest(
        "'base' is required: " + ("several models are" if wanted else "no model is") + " loaded.",
        param="base",
    )


def _new_adapter(name: str, base: ServedModel) -> Adapter:
    if name.rpartition("/")[2] in ACTIONS:
        raise InvalidRequest(
            f"An adapter's name cannot end in '{name.rpartition('/')[2]}': paths of the management "
            "API do.",
            param="name",
        )
    adapter = Adapter(name=name, base=base, desired=Desired.UNLOADED)
    try:
        adapter.full_clean()
    except ValidationError as error:
        found, messages = next(iter(error.message_dict.items()))
        raise InvalidRequest(f"{found}: {messages[0]}", param=found) from None
    names_free([], name=name, pk=None)
    adapter.save()
    return adapter


def _check_possible(adapter: Adapter) -> None:
    if not adapter.possible:
        raise InvalidRequest(f"{WITHOUT.format(adapter.base.name)} {WITHOUT_FIX}", param="base")


def _aim(adapter: Adapter, version: AdapterVersion) -> None:
    """Make a valid version the one the name should stand for, and wake the agents."""
    adapter.target = version
    adapter.save(update_fields=["target"])
    if adapter.desired != Desired.LOADED:
        return
    asleep = (VersionState.UNLOADED, VersionState.FAILED, VersionState.DRAINING)
    version_move(version=version, to=VersionState.LOADING, was=asleep)
    _drain(
        adapter.versions.filter(state=VersionState.LOADING).exclude(pk=version.pk)
    )  # an earlier target that never became usable
    catalog_changed()


def _drain(versions: QuerySet[AdapterVersion]) -> None:
    versions.filter(state__in=(VersionState.LOADING, VersionState.READY)).update(
        state=VersionState.DRAINING, since=timezone.now()
    )
    versions.filter(state=VersionState.FAILED).exclude(digest="").update(
        state=VersionState.DRAINING, since=timezone.now()
    )
