"""Adapters: the name clients ask for, and the versions of files behind it.

Desired state is `Adapter.desired` and `Adapter.target`; actual state is what engines tell in their
heartbeats. `AdapterVersion.state` is what the agent made of both, and `Adapter.current` is the
version that the name stands for at this moment.
"""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from apps.api.models import Owner
from apps.models.models import NAME_FORM, Desired, ServedModel


class VersionState(models.TextChoices):
    """Life of one version; `FAILED` always has a cause and a fix."""

    REGISTERED = "registered", "registered"  # files are on their way
    VALIDATING = "validating", "validating"
    LOADING = "loading", "loading"
    READY = "ready", "ready"  # every ready engine of the base has it
    DRAINING = "draining", "draining"
    UNLOADED = "unloaded", "unloaded"  # valid, in the store, in no engine
    FAILED = "failed", "failed"


IN_ENGINES = (VersionState.LOADING, VersionState.READY, VersionState.DRAINING)
CHECKING = (VersionState.REGISTERED, VersionState.VALIDATING)


class SourceKind(models.TextChoices):
    UPLOAD = "upload", "upload"
    FOLDER = "folder", "folder of the server"
    HUB = "hub", "hub"


class AdapterQuerySet(models.QuerySet["Adapter"]):
    def wanted(self) -> AdapterQuerySet:
        return self.filter(desired=Desired.LOADED)

    def servable(self) -> AdapterQuerySet:
        """Wanted, usable on all engines, and the base model is servable."""
        return self.wanted().filter(
            current__isnull=False, base__desired=Desired.LOADED, base__max_model_len__gt=0
        )


class Adapter(models.Model):
    """One name that stands for a base model with a LoRA adapter on top."""

    name = models.CharField(max_length=128, unique=True, validators=[NAME_FORM])
    base = models.ForeignKey(ServedModel, models.PROTECT, related_name="adapters")
    desired = models.CharField(max_length=16, choices=Desired, default=Desired.LOADED)
    pinned = models.BooleanField(
        default=False, help_text="Stays in the engines' memory, whatever else is wanted."
    )
    target = models.ForeignKey(
        "AdapterVersion", models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    current = models.ForeignKey(
        "AdapterVersion", models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AdapterQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def possible(self) -> bool:
        """Whether the engines of its base take adapters at all. Reads `base`."""
        return self.base.engine_options.get("enable_lora") is not False


class AdapterVersion(models.Model):
    """One pair of files. The digest names it in engines, caches and usage rows."""

    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=8, choices=SourceKind)
    source = models.CharField(max_length=1024, blank=True, help_text="Folder or hub id.")
    owner = models.ForeignKey(Owner, models.SET_NULL, null=True, blank=True, related_name="+")
    activates = models.BooleanField(
        default=True, help_text="Takes the name when it was checked; else it waits for a roll back."
    )
    digest = models.CharField(max_length=64, blank=True, db_index=True)
    rank = models.PositiveIntegerField(default=0)
    alpha = models.FloatField(default=0)
    modules = models.JSONField(default=list)
    size_bytes = models.PositiveBigIntegerField(default=0)
    hashes = models.JSONField(default=dict, help_text="SHA-256 of each file.")
    ticket_digest = models.CharField(max_length=64, blank=True, editable=False)
    state = models.CharField(max_length=16, choices=VersionState, default=VersionState.REGISTERED)
    problems = models.JSONField(default=list)
    cause = models.TextField(blank=True)
    fix = models.TextField(blank=True)
    since = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("adapter_id", "-number")
        constraints = (
            models.UniqueConstraint(fields=("adapter", "number"), name="one_number_per_version"),
        )
        verbose_name = "adapter version"

    def __str__(self) -> str:
        return f"version {self.number}"
