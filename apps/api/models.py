"""Tables of access: owners, API keys, prices and the audit trail."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from engine.client import LimitRule

MAX_KEEP_DAYS = 365  # of texts
# Field → kind and period of its rule in admission.
LIMITS = {
    "rpm": ("rpm", ""),
    "tpm": ("tpm", ""),
    "parallel": ("slots", ""),
    "budget_tokens": ("budget", ""),
    "tokens_per_day": ("budget", "day"),
    "tokens_per_month": ("budget", "month"),
    "micros_per_day": ("money", "day"),
    "micros_per_month": ("money", "month"),
}
BUDGETS = tuple(name for name, (kind, _) in LIMITS.items() if kind in ("budget", "money"))


class Scope(models.TextChoices):
    """What a key may do. Each scope is its own permission; none implies another."""

    INFERENCE = "inference", "Inference"
    ADAPTERS = "adapters", "Load and unload adapters"
    MANAGEMENT = "management", "Keys, models and usage"
    METRICS = "metrics", "Read metrics"
    ADMIN = "admin", "Operate engines"


def _limit(help_text: str) -> models.PositiveBigIntegerField[int | None, int | None]:
    return models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10**15)],
        help_text=f"{help_text} Empty: no limit.",
    )


class Limited(models.Model):
    """What one key, all keys of one owner, or all users of one model together may use. Days and
    months are UTC's."""

    rpm = _limit("Requests per minute.")
    tpm = _limit("Tokens per minute.")
    parallel = _limit("Requests at the same time.")
    budget_tokens = _limit("Tokens that may be spent in all.")
    tokens_per_day = _limit("Tokens that may be spent each day.")
    tokens_per_month = _limit("Tokens that may be spent each month.")
    micros_per_day = _limit("Millionths of money that may be spent each day.")
    micros_per_month = _limit("Millionths of money that may be spent each month.")

    class Meta:
        abstract = True

    def rules(self, subject: str) -> tuple[LimitRule, ...]:
        """The limits that are set, as admission takes them."""
        return tuple(
            LimitRule(kind=kind, subject=subject, limit=limit, period=period)
            for name, (kind, period) in LIMITS.items()
            if (limit := getattr(self, name))
        )


class Owner(Limited):
    """A person or team: the tenant of limits, usage and the prefix cache."""

    class Kind(models.TextChoices):
        PERSON = "person", "Person"
        TEAM = "team", "Team"

    name = models.CharField(max_length=128, unique=True)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.PERSON)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="owners",
    )
    active = models.BooleanField(default=True, help_text="Keys of an inactive owner are refused.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def allowed(self) -> bool:
        """Whether its keys may be used: neither it nor its login is suspended."""
        return self.active and (self.user is None or self.user.is_active)


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> ApiKeyQuerySet:
        """Neither revoked nor expired, the owner is active and so is the owner's login."""
        alive = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
        login = Q(owner__user__isnull=True) | Q(owner__user__is_active=True)
        return self.filter(alive, login, revoked_at__isnull=True, owner__active=True)

    def listed(self) -> ApiKeyQuerySet:
        """Keys that people made and manage."""
        return self.filter(temporary=False)

    def unpublished(self) -> ApiKeyQuerySet:
        """Keys whose last change Redis may not know yet: the outbox of epochs."""
        return self.filter(epoch__gt=F("published_epoch"))


class ApiKey(Limited):
    """One key. Only the digest of its secret is stored; every other field can be edited."""

    public_id = models.CharField(max_length=8, unique=True, editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    hint = models.CharField(max_length=4, editable=False, help_text="Last characters of the key.")
    owner = models.ForeignKey(Owner, on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(max_length=128)
    scopes = models.JSONField(default=list)
    allowed_models = models.JSONField(
        default=list, blank=True, help_text="Names this key may use. Empty: all models."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    keep_bodies_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_KEEP_DAYS)],
        help_text="Texts of requests and answers are kept so many days. Empty: never kept.",
    )
    temporary = models.BooleanField(
        default=False, editable=False, help_text="Made by the playground; in no list, ends soon."
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    successor = models.OneToOneField(
        "self",
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="predecessor",
    )
    counted_as = models.CharField(max_length=8, default="", editable=False)
    epoch = models.PositiveBigIntegerField(default=1, editable=False)
    published_epoch = models.PositiveBigIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} (pgd_{self.public_id}_…{self.hint})"

    @property
    def limits_subject(self) -> str:
        """What limits are counted under: with its successors a key has one allowance."""
        return f"key:{self.counted_as or self.public_id}"

    @property
    def usable(self) -> bool:
        expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return self.revoked_at is None and not expired and self.owner.allowed


class PriceVersion(models.Model):
    """Prices from a moment on, in micro-units of money per million tokens. Rows never change."""

    model = models.CharField(max_length=256, blank=True, help_text="Empty: all other models.")
    input_micros = models.PositiveBigIntegerField(default=0)
    cached_micros = models.PositiveBigIntegerField(default=0)
    output_micros = models.PositiveBigIntegerField(default=0)
    starts_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-starts_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["model", "-starts_at"], name="price_model_start")]

    def __str__(self) -> str:
        return f"{self.model or 'all models'} from {self.starts_at:%Y-%m-%d %H:%M}"


class PlaygroundPreset(models.Model):
    """What a person saved in the playground. Whoever is given its address may load it."""

    slug = models.CharField(max_length=24, unique=True)  # not to be guessed
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="presets"
    )
    name = models.CharField(max_length=80)
    content = models.JSONField()
    saved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "name"], name="preset_name_of_user")
        ]

    def __str__(self) -> str:
        return self.name


class AuditEvent(models.Model):
    """Who did what to which object. Append-only; holds no secret."""

    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.CharField(max_length=160)
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=256)
    address = models.GenericIPAddressField(null=True, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["-at", "-id"]
        indexes: ClassVar = [models.Index(fields=["-at", "-id"], name="audit_newest_first")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action} {self.subject}"
