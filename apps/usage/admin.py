"""Admin of usage: only to read. Rows and sums are written by the settler alone."""

from __future__ import annotations

from django.contrib import admin
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.paginator import InfinitePaginator

from apps.models.admin_base import ReadOnlyAdmin, column
from apps.usage.models import Status, Sums, UsageDay, UsageHour, UsageRecord

STATUS_COLOURS = {
    Status.OK: "success",
    Status.CANCELLED: "info",
    Status.LOST: "danger",
    Status.ERROR: "warning",
}
SUMS = (
    "model",
    "adapter",
    "status",
    "requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "micros",
    "mean_ms",
)


class LargeTableAdmin(ReadOnlyAdmin):
    """No COUNT over millions of rows, and no filter that reads every distinct value."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50
    list_filter_submit = True


@admin.register(UsageRecord)
class UsageRecordAdmin(LargeTableAdmin):
    list_display = (
        "settled_at",
        "key_name",
        "model",
        "shown_status",
        "finish",
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "ttft_ms",
        "total_ms",
        "rid",
    )
    list_filter = ("status", ("settled_at", RangeDateTimeFilter))
    search_fields = ("=rid", "=key_id", "=model", "=client_request_id")
    search_help_text = "An exact request id, key id or model name."
    ordering = ("-settled_at", "-id")

    @column("Status", label=STATUS_COLOURS)
    def shown_status(self, row: UsageRecord) -> Status:
        return Status(row.status)


class SumsAdmin(LargeTableAdmin):
    list_filter = ("status",)
    search_fields = ("=key_id", "=model", "=adapter")
    search_help_text = "An exact key id, model or adapter name."

    @column("Key", ordering="key_id")
    def key(self, row: Sums) -> str:
        return row.key_id or "all keys"

    @column("Mean ms")
    def mean_ms(self, row: Sums) -> int:
        return row.total_ms // row.requests if row.requests else 0


@admin.register(UsageHour)
class UsageHourAdmin(SumsAdmin):
    list_display = ("hour", "key", *SUMS)
    ordering = ("-hour", "-id")


@admin.register(UsageDay)
class UsageDayAdmin(SumsAdmin):
    list_display = ("day", "key", *SUMS)
    ordering = ("-day", "-id")
