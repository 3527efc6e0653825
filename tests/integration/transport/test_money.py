"""Budgets of money: held at the price, settled at the cost; a period begins anew."""

from __future__ import annotations

import dataclasses

import pytest

from apps.usage.rows import cost_micros
from engine import redis_keys, scripts
from engine.client import LimitRule
from engine.errors import InvalidRequest, QuotaExceeded
from engine.messages import Bill, Counts, Finish, QueueBody
from engine.sampling_params import SamplingParams
from tests.integration.transport.conftest import admission
from tests.integration.transport.test_limits import NOW
from tests.integration.transport.waiting import soon

BILL = Bill(key_id="k", input_micros=3_000_000, cached_micros=500_000, output_micros=7_000_000)


async def test_money_is_held_at_the_price_and_settled_at_the_cost(r, engine_of, client_of):
    engine_of(step_delay_s=0.01)
    client = await client_of()
    rule = LimitRule(kind="money", subject="key:k", limit=100, period="month")
    asked = dataclasses.replace(
        admission(tokens=10), rules=(rule,), bill=BILL, reserve_micros=3 * 3 + 10 * 7
    )
    async with client.submit(asked) as stream:
        await stream.started()
        (owed,) = r.keys(redis_keys.limit("owed", "key:k:20*"))
        assert r.get(owed) == b"79"
        with pytest.raises(QuotaExceeded, match=r"budget of 0.0001 a month"):
            async with client.submit(dataclasses.replace(asked, body=admission().body)):
                pass
        await stream.whole()
    await soon(lambda: r.xlen(redis_keys.USAGE))
    (paid,) = r.keys(redis_keys.limit("paid", "key:k:20*"))
    assert int(r.get(paid)) == cost_micros(BILL, stream.counts) == 79
    assert not r.exists(owed)
    assert 0 < r.pttl(paid) <= scripts.PERIOD_MS["month"]
    dear = dataclasses.replace(asked, body=admission().body, reserve_micros=101)
    with pytest.raises(InvalidRequest, match=r"for 0\.000101, more than the whole limit"):
        async with client.submit(dear):
            pass


@pytest.mark.parametrize("counts", [(10, 4, 3), (1, 1, 0), (0, 0, 0), (123_457, 99, 7_654_321)])
def test_lua_and_the_row_agree_on_a_price(r, counts):
    bill = Bill(key_id="k", input_micros=1_234_567, cached_micros=33, output_micros=9_999_999)
    spent, held = scripts.rule_keys("money", "key:k")
    body = QueueBody(
        rid="a", attempt=1, web="w", model="m", prompts=[[1]], params=SamplingParams(),
        deadline_ms=int(NOW) + 60_000,
    )  # fmt: skip
    args = scripts.AdmitArgs(
        rid="a", attempt=1, web="w", key_id="k", key_epoch=0, catalog_epoch=0, epoch="",
        rules=[("money", spent, held, 10**12, 0, 5)], reserve=5, deadline=body.deadline_ms,
        queue_entries=9, queue_bytes=10**9, usage_entries=9,
    )  # fmt: skip
    queue = redis_keys.queue("m", "high")
    assert scripts.run(r, scripts.admit(args, queue, body, bill, NOW))[0] == b"OK"
    assert r.get(held) == b"5"
    assert scripts.run(r, scripts.heal()) == 0
    truth = Counts(*counts)
    ending = scripts.Ending(
        rid="a", attempt=1, web="w", finish=Finish.STOP, who="any", counts=truth
    )
    assert scripts.run(r, scripts.terminal(ending, NOW)) == 1
    assert int(r.get(spent)) == cost_micros(bill, truth)
    assert r.get(held) is None


def test_a_budget_begins_anew_with_each_day_and_month():
    noon = 1_796_040_000  # 2026-11-30 12:00 UTC
    days = [scripts.rule_keys("budget", "key:k", "day", noon + n * 43_200) for n in (0, 0.9, 1)]
    assert days[0] == days[1] != days[2]
    assert days[0] == ("pgd:lim:spent:key:k:2026-11-30", "pgd:lim:held:key:k:2026-11-30")
    months = [scripts.rule_keys("money", "key:k", "month", noon + n * 43_200) for n in (0, 1)]
    assert months == [
        ("pgd:lim:paid:key:k:2026-11", "pgd:lim:owed:key:k:2026-11"),
        ("pgd:lim:paid:key:k:2026-12", "pgd:lim:owed:key:k:2026-12"),
    ]
