"""What is served and where: desired state in `ServedModel`, actual state in `EngineInstance`."""

from __future__ import annotations

from datetime import timedelta

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from apps.api.models import Limited

NAME_FORM = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}\Z",
    "Use letters, digits and . _ - / : (at most 128 characters, the first a letter or digit).",
)
HOST_SILENT_AFTER = timedelta(seconds=15)


class Desired(models.TextChoices):
    LOADED = "loaded", "loaded"
    UNLOADED = "unloaded", "unloaded"


class State(models.TextChoices):
    """Life of one engine; `FAILED` always has a cause and a fix."""

    REGISTERED = "registered", "registered"
    VALIDATING = "validating", "validating"
    LOADING = "loading", "loading"
    READY = "ready", "ready"
    DRAINING = "draining", "draining"
    UNLOADED = "unloaded", "unloaded"
    FAILED = "failed", "failed"


class ServedModelQuerySet(models.QuerySet["ServedModel"]):
    def wanted(self) -> ServedModelQuerySet:
        return self.filter(desired=Desired.LOADED)

    def awake(self) -> ServedModelQuerySet:
        """Wanted, and not unloaded for want of requests: these have engines."""
        return self.wanted().filter(resting=False)

    def servable(self) -> ServedModelQuerySet:
        """Wanted, and an engine has been ready with it, so that its limits are known."""
        return self.wanted().filter(max_model_len__gt=0)


class ServedModel(Limited):
    """One base model that clients ask for by `name` or an alias."""

    name = models.CharField(max_length=128, unique=True, validators=[NAME_FORM])
    aliases = models.JSONField(default=list, blank=True, help_text="Further names, as a JSON list.")
    source = models.CharField(max_length=1024, help_text="Folder of a checkpoint, or a hub id.")
    revision = models.CharField(max_length=128, blank=True)
    engine_options = models.JSONField(
        default=dict, blank=True, help_text="Engine options by name. Needs a reload to apply."
    )
    desired = models.CharField(max_length=16, choices=Desired, default=Desired.LOADED)
    replicas = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(64)]
    )
    keep_alive_s = models.PositiveIntegerField(
        "unload when idle for",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(31 * 86400)],
        help_text="Seconds without a request after which engines are unloaded; the next request "
        "loads them again. Empty: never.",
    )
    resting = models.BooleanField(
        default=False, editable=False, help_text="Unloaded while idle; a request wakes it."
    )
    load_s = models.FloatField(
        default=0.0, editable=False, help_text="Seconds the last load took; 0 until there was one."
    )
    from_serve = models.BooleanField(
        default=False,
        editable=False,
        help_text="Named on the command line of serve; the next serve MODEL takes its place.",
    )
    generation = models.PositiveIntegerField(
        default=1, help_text="Rises when engines must start anew (restart, changed options)."
    )
    # Facts of the last engine that became ready; 0 until then.
    path = models.CharField(max_length=1024, blank=True, help_text="Folder with the tokenizer.")
    max_model_len = models.PositiveIntegerField(default=0)
    vocab_size = models.PositiveIntegerField(default=0)
    kv_tokens = models.PositiveBigIntegerField(default=0)
    default_params = models.JSONField(default=dict, blank=True)
    pooling = models.JSONField(
        default=dict, blank=True, help_text="How it answers with vectors; empty: it generates."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ServedModelQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        verbose_name = "model"

    def __str__(self) -> str:
        return self.name

    @property
    def task(self) -> str:
        """What the model is for: generate, embed, classify or token_classify."""
        return str(self.pooling.get("task", "generate"))

    @property
    def wanted(self) -> bool:
        return self.desired == Desired.LOADED

    @property
    def awake(self) -> bool:
        """It should have engines now."""
        return self.wanted and not self.resting

    @property
    def ready(self) -> int:
        """Engines that are ready. Reads `instances`: prefetch them for lists."""
        return sum(engine.state == State.READY for engine in self.instances.all())


class Host(models.Model):
    """A machine with an agent."""

    name = models.CharField(max_length=255, unique=True)
    cores = models.PositiveIntegerField(default=0)
    memory_bytes = models.PositiveBigIntegerField(default=0)
    free_bytes = models.PositiveBigIntegerField(
        default=0, help_text="Memory a new process could take when the host was last seen."
    )
    gpus = models.JSONField(
        default=list,
        blank=True,
        help_text="GPUs engines may use: name, memory_bytes, free_bytes, capability.",
    )
    agent_pid = models.PositiveIntegerField(default=0)
    last_seen = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def online(self) -> bool:
        return timezone.now() - self.last_seen < HOST_SILENT_AFTER


class EngineInstance(models.Model):
    """One replica of a model, claimed by a host. The unique pair makes the claim exclusive."""

    model = models.ForeignKey(ServedModel, models.CASCADE, related_name="instances")
    replica = models.PositiveSmallIntegerField()
    host = models.ForeignKey(Host, models.CASCADE, related_name="instances")
    engine_id = models.CharField(max_length=64, unique=True)
    generation = models.PositiveIntegerField(default=1)
    ranks = models.JSONField(default=list, help_text="Pairs of host and device, one per rank.")
    state = models.CharField(max_length=16, choices=State, default=State.REGISTERED)
    cause = models.TextField(blank=True)
    fix = models.TextField(blank=True)
    since = models.DateTimeField(default=timezone.now)
    pid = models.PositiveIntegerField(default=0)
    restarts = models.PositiveIntegerField(default=0)
    log_path = models.CharField(max_length=1024, blank=True)

    class Meta:
        ordering = ("model_id", "replica")
        constraints = (
            models.UniqueConstraint(fields=("model", "replica"), name="one_claim_per_replica"),
        )
        verbose_name = "engine"

    def __str__(self) -> str:
        return self.engine_id


class CatalogEpoch(models.Model):
    """One row: the version of the catalog. Redis holds a copy that admission compares with."""

    epoch = models.PositiveBigIntegerField(default=1)

    def __str__(self) -> str:
        return str(self.epoch)
