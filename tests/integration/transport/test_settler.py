"""Usage events become rows and sums, once, whatever is repeated or killed in between."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db.models import Sum

from apps.usage.histogram import BOUNDS_MS, columns, quantile
from apps.usage.models import UsageDay, UsageHour, UsageKey, UsageRecord
from apps.usage.rows import cost_micros
from apps.usage.selectors import usage_grouped, usage_page, usage_totals
from apps.usage.services import usage_rebuild
from apps.usage.settler import Settler
from engine import redis_keys
from engine.messages import Bill, Counts, Finish, UsageEvent, pack

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = dt.datetime(2026, 3, 1, 10, tzinfo=dt.UTC)
PRICES = {"input_micros": 2_000_000, "cached_micros": 500_000, "output_micros": 6_000_000}


def event(
    rid: str, *, key: str = "k", finish: Finish = Finish.STOP, minute: int = 5, **counts: int
):
    figures = {"prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 5} | counts
    return UsageEvent(
        rid=rid,
        finish=finish,
        counts=Counts(**figures, queue_ms=1, ttft_ms=40, total_ms=200),
        engine="e",
        ended_ms=int(HOUR.timestamp() + 60 * minute) * 1000,
        bill={"key_id": key, "key_name": "my key", "model": "m", **PRICES},
    )


def send(r, *events: UsageEvent) -> None:
    for one in events:
        r.xadd(redis_keys.USAGE, {"e": pack(one)})


@pytest.fixture
def settler(redis_url):
    made = Settler(redis_url, dead_after_ms=50)
    made._ensure_group()
    yield made
    made._leave()


class AcknowledgesFirst(Settler):
    """The negative control: forgets the event before it is stored."""

    def _settle(self, entries):
        self._acknowledge([entry_id for entry_id, _ in entries])
        super()._settle(entries)


def test_an_event_becomes_a_row_and_its_sums(r, settler):
    send(r, event("a"))
    assert settler.turn() == 1
    row = UsageRecord.objects.get()
    assert (row.rid, row.status, row.finish, row.key_name) == ("a", "ok", "stop", "my key")
    assert row.micros == 6 * 2 + 2 + 5 * 6
    assert row.ended_at == HOUR + dt.timedelta(minutes=5)
    assert sorted(UsageHour.objects.values_list("key_id", "hour", "requests")) == [
        ("", HOUR, 1), ("k", HOUR, 1),
    ]  # fmt: skip
    assert sorted(UsageDay.objects.values_list("key_id", "day", "completion_tokens")) == [
        ("", HOUR.date(), 5), ("k", HOUR.date(), 5),
    ]  # fmt: skip
    assert r.xlen(redis_keys.USAGE) == 0


def test_an_event_that_comes_twice_counts_once(r, settler):
    send(r, event("a"), event("b"), event("a"))
    settler.turn()
    send(r, event("b"), event("c"))
    settler.turn()
    assert UsageRecord.objects.count() == 3
    assert UsageHour.objects.get(key_id="").requests == 3


def test_a_settler_that_dies_before_its_commit_loses_nothing(r, settler, redis_url, monkeypatch):
    send(r, *(event(f"r{i}") for i in range(5)))
    _die_in_the_transaction(monkeypatch, Settler(redis_url))
    heir = settler
    heir._claim_at = 0.0
    _sleep_past(50)
    assert heir.turn() == 5
    assert UsageRecord.objects.count() == 5


def test_acknowledging_before_the_commit_loses_rows(r, settler, redis_url, monkeypatch):
    send(r, *(event(f"r{i}") for i in range(5)))
    _die_in_the_transaction(monkeypatch, AcknowledgesFirst(redis_url))
    _sleep_past(50)
    assert r.xlen(redis_keys.USAGE) == 0
    assert UsageRecord.objects.count() == 0  # the harness can see a loss


def test_a_settler_that_dies_between_commit_and_acknowledgement_doubles_nothing(
    r, settler, redis_url, monkeypatch
):
    send(r, *(event(f"r{i}") for i in range(5)))
    dying = Settler(redis_url)
    monkeypatch.setattr(dying, "_acknowledge", _killed)
    with pytest.raises(Killed):
        dying.turn()
    _sleep_past(50)
    settler.turn()
    assert UsageRecord.objects.count() == 5
    assert UsageHour.objects.get(key_id="").requests == 5
    assert r.xlen(redis_keys.USAGE) == 0


def test_an_unreadable_event_is_logged_and_does_not_stop_the_others(r, settler):
    r.xadd(redis_keys.USAGE, {"e": b"\xc1 not a message"})
    send(r, event("a", key="k\x00" + "x" * 300))
    assert settler.turn() == 2
    assert UsageRecord.objects.get().key_id == ("k" + "x" * 300)[:64]


@pytest.mark.parametrize(
    "broken",
    [
        {"cached_tokens": 100},  # a negative price
        {"prompt_tokens": -1},
        {"completion_tokens": 2**54},  # more than any sum could take
        {"minute": 10**10},  # a date beyond year 9999
    ],
)
def test_an_event_no_row_can_hold_does_not_stop_the_others(r, settler, broken):
    send(r, event("bad", **broken), event("good"))
    assert settler.turn() == 2
    assert [row.rid for row in UsageRecord.objects.all()] == ["good"]
    assert r.xlen(redis_keys.USAGE) == 0


def test_sums_rebuilt_from_rows_are_the_same(r, settler):
    finishes = list(Finish)
    send(
        r,
        *(
            event(
                f"r{i}", key=f"k{i % 3}", finish=finishes[i % 5], minute=7 * i, prompt_tokens=i + 4
            )
            for i in range(40)
        ),
    )
    settler.turn()
    before = [_values(UsageHour), _values(UsageDay)]
    assert before[0]
    assert usage_rebuild(day=HOUR.date())
    assert [_values(UsageHour), _values(UsageDay)] == before


def test_wrong_sums_are_told_and_mended_by_a_rebuild(r, settler, caplog):
    send(r, event("a"), event("b", minute=60 * 24))
    settler.turn()
    right = [_values(UsageHour), _values(UsageDay)]
    UsageHour.objects.filter(key_id="k").update(micros=1)
    UsageDay.objects.filter(key_id="").delete()
    assert not usage_rebuild(day=HOUR.date())
    assert not usage_rebuild(day=HOUR.date() + dt.timedelta(days=1))
    assert caplog.messages == ["usage_sums_were_wrong"] * 2
    assert [_values(UsageHour), _values(UsageDay)] == right


def test_row_without_key_is_the_sum_of_all_keys(r, settler):
    send(r, *(event(f"r{i}", key=f"k{i % 4}") for i in range(10)))
    settler.turn()
    total = UsageHour.objects.exclude(key_id="").aggregate(n=Sum("requests"), t=Sum("ttft_07"))
    everybody = UsageHour.objects.get(key_id="")
    assert (everybody.requests, everybody.ttft_07) == (total["n"], total["t"]) == (10, 10)


def test_last_names_of_a_key_outlive_its_rows(r, settler):
    send(r, event("a"))
    settler.turn()
    renamed = event("b")
    renamed.bill = renamed.bill | {"key_name": "new name", "owner_id": "7", "owner_name": "us"}
    send(r, renamed)
    settler.turn()
    UsageRecord.objects.all().delete()
    kept = UsageKey.objects.get()
    assert (kept.key_id, kept.key_name, kept.owner_id, kept.owner_name) == (
        "k", "new name", "7", "us",
    )  # fmt: skip


def test_selectors_read_sums_and_pages(r, settler, django_assert_num_queries):
    send(r, *(event(f"r{i}", key=f"k{i % 2}") for i in range(6)))
    settler.turn()
    span = {"start": HOUR, "end": HOUR + dt.timedelta(hours=1)}
    with django_assert_num_queries(1):
        totals = usage_totals(**span)
    assert (totals.requests, totals.completion_tokens, totals.ttft_p95_ms) == (6, 30, 56.0)
    assert usage_totals(**span, key_ids=["k1"]).requests == 3
    assert [row["requests"] for row in usage_grouped(**span, by=("key_id",))] == [3, 3]
    newest = usage_page(limit=4)
    assert [row.rid for row in newest] == ["r5", "r4", "r3", "r2"]
    assert [row.rid for row in usage_page(before=newest[-1].pk)] == ["r1", "r0"]


def test_cost_is_rounded_half_up():
    bill = Bill(key_id="k", input_micros=1, output_micros=500_000)
    assert cost_micros(bill, Counts(completion_tokens=1)) == 1
    assert cost_micros(bill, Counts(prompt_tokens=499_999)) == 0


def test_histograms_cover_every_value_and_give_bounds():
    counts = [0] * len(columns("ttft"))
    assert quantile(counts, 0.5) is None
    counts[0], counts[3] = 1, 9
    assert quantile(counts, 0.5) == float(BOUNDS_MS[3])


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the product catches it."""


def _killed(*args: object) -> None:
    raise Killed


def _die_in_the_transaction(monkeypatch, dying: Settler) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("apps.usage.settler.usage_insert", _killed)
        with pytest.raises(Killed):
            dying.turn()


def _sleep_past(ms: int) -> None:
    import time

    time.sleep(ms / 1000 + 0.03)


def _values(model):
    drop = {"id"}
    rows = [{k: v for k, v in row.items() if k not in drop} for row in model.objects.values()]
    return sorted(rows, key=repr)
