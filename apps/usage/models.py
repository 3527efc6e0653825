"""What was used: one row per ended request, and sums per hour and day.

Rows are append-only and hold names as they were, no foreign keys: deleting a key blanks no history.
Only the settler writes here, a row and its sums in one transaction.
"""

from __future__ import annotations

from django.db import models

from apps.usage.histogram import METRICS, columns

SUM_FIELDS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "micros")


class Status(models.TextChoices):
    """How a request ended, coarse enough for sums."""

    OK = "ok", "ok"
    CANCELLED = "cancelled", "cancelled"
    LOST = "lost", "lost"
    ERROR = "error", "error"


class UsageRecord(models.Model):
    """One ended request. `rid` is unique: settling twice changes nothing."""

    rid = models.CharField(max_length=64, unique=True)
    settled_at = models.DateTimeField()
    ended_at = models.DateTimeField(help_text="Clock of Redis.")
    key_id = models.CharField(max_length=64)
    key_name = models.CharField(max_length=255, blank=True)
    owner_id = models.CharField(max_length=64, blank=True)
    owner_name = models.CharField(max_length=255, blank=True)
    model = models.CharField(max_length=255, blank=True)
    adapter = models.CharField(max_length=255, blank=True)
    adapter_digest = models.CharField(max_length=128, blank=True)
    route = models.CharField(max_length=64, blank=True)
    stream = models.BooleanField(default=False)
    status = models.CharField(max_length=16, choices=Status)
    finish = models.CharField(max_length=16)
    error = models.CharField(max_length=64, blank=True, help_text="Error class.")
    attempts = models.PositiveSmallIntegerField(default=1)
    engine = models.CharField(max_length=128, blank=True)
    client_request_id = models.CharField(max_length=512, blank=True)
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    cached_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)
    queue_ms = models.PositiveBigIntegerField(default=0)
    ttft_ms = models.PositiveBigIntegerField(default=0)
    total_ms = models.PositiveBigIntegerField(default=0)
    price_version = models.PositiveIntegerField(default=0)
    micros = models.PositiveBigIntegerField(default=0, help_text="Price in millionths.")

    class Meta:
        indexes = [
            models.Index(fields=["ended_at", "id"], name="usage_ended"),
            models.Index(fields=["key_id", "ended_at"], name="usage_key_ended"),
            models.Index(fields=["model", "ended_at"], name="usage_model_ended"),
            # Few rows each: rare ones are found without reading the common ones.
            models.Index(
                fields=["status", "ended_at"],
                name="usage_bad_ended",
                condition=~models.Q(status="ok"),
            ),
            models.Index(
                fields=["adapter", "ended_at"],
                name="usage_adapter_ended",
                condition=~models.Q(adapter=""),
            ),
        ]

    def __str__(self) -> str:
        return self.rid

    @property
    def tokens_per_s(self) -> float | None:
        """Speed after the first token; None where there is no second one."""
        decode_ms = self.total_ms - self.ttft_ms
        if self.completion_tokens < 2 or decode_ms <= 0:
            return None
        return 1000 * (self.completion_tokens - 1) / decode_ms


class StoredBody(models.Model):
    """Text of one request and of its answer, for keys that ask for it. Deflated, not encrypted."""

    rid = models.CharField(max_length=64, unique=True)
    key_id = models.CharField(max_length=64)
    stored_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text="Not shown after this moment, and deleted.")
    request = models.BinaryField()
    request_bytes = models.PositiveBigIntegerField(help_text="As received; the start is kept.")
    answer = models.BinaryField()
    answer_bytes = models.PositiveBigIntegerField(help_text="As sent; the start is kept.")

    class Meta:
        indexes = [
            models.Index(fields=["ends_at"], name="body_ends"),
            models.Index(fields=["key_id"], name="body_key"),
        ]

    def __str__(self) -> str:
        return self.rid


class UsageKey(models.Model):
    """The names a key had when it was last used. They outlive the key and its rows."""

    key_id = models.CharField(max_length=64, unique=True)
    key_name = models.CharField(max_length=255, blank=True)
    owner_id = models.CharField(max_length=64, blank=True)
    owner_name = models.CharField(max_length=255, blank=True)

    def __str__(self) -> str:
        return self.key_name or self.key_id


class Sums(models.Model):
    """Sums over requests that ended in one period. `key_id` empty = all keys together."""

    key_id = models.CharField(max_length=64, blank=True)
    model = models.CharField(max_length=255, blank=True)
    adapter = models.CharField(max_length=255, blank=True)
    status = models.CharField(max_length=16, choices=Status)
    requests = models.PositiveBigIntegerField(default=0)
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    cached_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)
    micros = models.PositiveBigIntegerField(default=0)
    queue_ms = models.PositiveBigIntegerField(default=0)
    total_ms = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True


for _metric in METRICS:  # 22 buckets each; see histogram.py
    for _column in columns(_metric):
        Sums.add_to_class(_column, models.PositiveBigIntegerField(default=0, editable=False))


class UsageHour(Sums):
    """One row per hour (UTC), key, model, adapter and status, and one without key."""

    hour = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "key_id", "model", "adapter", "status"], name="usage_hour_unique"
            )
        ]
        # Holds what the heat map shows: months of an owner's keys without reading a row.
        indexes = [models.Index(fields=["key_id", "hour", "requests"], name="usage_hour_cover")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.key_id or 'all keys'} {self.model} {self.status}"


class UsageDay(Sums):
    """The same per day (UTC)."""

    day = models.DateField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "key_id", "model", "adapter", "status"], name="usage_day_unique"
            )
        ]
        # Holds all that the tables of keys show: a sum over months of a thousand keys reads this
        # index in its order and no row.
        indexes = [
            models.Index(
                fields=["key_id", "day", "model", "adapter", "status", *SUM_FIELDS],
                name="usage_day_cover",
            )
        ]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.key_id or 'all keys'} {self.model} {self.status}"
