"""The contract of `engine.core.Core`, held by the real core and by the fake one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.core_contract import Core
from engine.errors import InvalidRequest
from engine.lora.manager import AdapterLimits, AdapterManager
from engine.messages import AdapterSource, AdapterState, Delta, EventKind, Finish, QueueBody
from engine.sampling_params import SamplingParams
from engine.testing import FakeAdapter, FakeCore, FakeSpeed
from tests.unit.engine.fakes import FakeRunner

ROWS = 4
ENDS = (EventKind.END, EventKind.REFUSED)


def real_core() -> Core:
    config = EngineConfig(
        model="fake", max_num_seqs=ROWS, max_num_batched_tokens=16, max_model_len=48
    )
    runner = FakeRunner(num_blocks=64, max_rows=ROWS)
    adapters = AdapterManager(AdapterLimits(), FakeAdapter.read)
    return EngineCore(config, runner, None, frozenset(), adapters=adapters)


def fake_core() -> Core:
    return FakeCore(FakeSpeed(max_num_seqs=ROWS, max_model_len=48))


@pytest.fixture(params=[real_core, fake_core], ids=["EngineCore", "FakeCore"])
def core(request: pytest.FixtureRequest) -> Core:
    make: Callable[[], Core] = request.param
    return make()


def body(rid: str, *, tokens: int = 4, n: int = 1, attempt: int = 1, prompt: int = 3) -> QueueBody:
    return QueueBody(
        rid=rid, attempt=attempt, web="w", model="m", prompts=[list(range(1, prompt + 1))],
        params=SamplingParams(max_tokens=tokens, n=n, ignore_eos=True, temperature=0.0),
        deadline_ms=0,
    )  # fmt: skip


def drain(core: Core, steps: int = 500) -> list[Delta]:
    out: list[Delta] = []
    while core.has_work():
        out += core.step()
        steps -= 1
        assert steps, "the core never came to rest"
    return out


def test_events_of_one_request_are_numbered_and_framed(core):
    core.submit(body("a"))
    deltas = drain(core)
    assert [delta.seq for delta in deltas] == list(range(len(deltas)))
    assert deltas[0].kind is EventKind.STARTED
    assert deltas[-1].kind is EventKind.END
    assert {delta.kind for delta in deltas[1:-1]} <= {EventKind.DELTA}


def test_counts_equal_the_tokens_that_were_handed_out(core):
    core.submit(body("a", tokens=5, n=2))
    deltas = drain(core)
    handed_out = sum(len(choice.token_ids) for delta in deltas for choice in delta.choices)
    assert deltas[-1].counts.completion_tokens == handed_out == 10
    assert deltas[-1].counts.prompt_tokens == 3


def test_each_choice_says_once_why_it_ended(core):
    core.submit(body("a", n=3))
    choices = [choice for delta in drain(core) for choice in delta.choices]
    finishes = [(c.index, c.finish) for c in choices if c.finish is not None]
    assert sorted(finishes) == [(i, Finish.LENGTH) for i in range(3)]


def test_every_request_ends_once_also_when_they_do_not_fit_together(core):
    rids = [f"r{i}" for i in range(3 * ROWS)]
    for rid in rids:
        core.submit(body(rid))
    ends = [delta.rid for delta in drain(core) if delta.kind in ENDS]
    assert sorted(ends) == sorted(rids)


def test_a_running_request_that_is_cancelled_ends_with_its_counts(core):
    core.submit(body("a", tokens=40))
    for _ in range(4):
        core.step()
    core.cancel("a", Finish.CANCELLED)
    last = drain(core)[-1]
    assert last.kind is EventKind.END
    assert [choice.finish for choice in last.choices] == [Finish.CANCELLED]
    assert 0 < last.counts.completion_tokens < 40


def test_a_waiting_request_can_be_cancelled(core):
    for i in range(ROWS + 1):
        core.submit(body(f"r{i}"))
    core.cancel(f"r{ROWS}", Finish.CANCELLED)
    ends = [delta for delta in drain(core) if delta.rid == f"r{ROWS}" and delta.kind in ENDS]
    assert len(ends) == 1
    assert ends[0].counts.completion_tokens == 0


def test_cancelling_an_unknown_request_does_nothing(core):
    core.cancel("nobody", Finish.CANCELLED)
    assert not core.has_work()


def test_a_prompt_that_cannot_fit_is_refused_and_harms_nobody(core):
    core.submit(body("bad", prompt=49))
    core.submit(body("good"))
    ends = {delta.rid: delta for delta in drain(core) if delta.kind in ENDS}
    assert ends["bad"].kind is EventKind.REFUSED
    assert ends["bad"].error is not None
    assert ends["good"].kind is EventKind.END


def test_a_second_copy_of_an_attempt_is_ignored(core):
    core.submit(body("a"))
    core.submit(body("a"))
    assert [delta.kind for delta in drain(core)].count(EventKind.STARTED) == 1


def test_a_newer_attempt_replaces_the_older_one(core):
    core.submit(body("a", tokens=40))
    core.step()
    core.submit(body("a", tokens=4, attempt=2))
    deltas = drain(core)
    ends = [(delta.attempt, delta.kind) for delta in deltas if delta.kind in ENDS]
    assert sorted(ends) == [(1, EventKind.END), (2, EventKind.END)]
    assert [d.seq for d in deltas if d.attempt == 2] == list(range(5))


def test_credit_counts_sequences_and_comes_back(core):
    whole = core.credit()
    core.submit(body("a", n=3))
    assert core.credit() == whole - 3
    drain(core)
    assert core.credit() == whole


def test_blocks_are_free_again_when_all_has_ended(core):
    before = core.gauges()
    core.submit(body("a", n=2))
    core.step()
    drain(core)
    after = core.gauges()
    assert (after.running, after.waiting) == (0, 0)
    assert after.blocks_free == before.blocks_free == before.blocks_total


def source(folder: Path, digest: str = "d1", rank: int = 8) -> AdapterSource:
    (folder / "adapter_config.json").write_text(f'{{"r": {rank}}}')
    return AdapterSource(digest=digest, name="pirate", path=str(folder))


def adapted(rid: str, digest: str = "d1") -> QueueBody:
    made = body(rid)
    made.adapter = digest
    return made


def test_an_adapter_is_loaded_used_and_forgotten(core, tmp_path):
    core.load_adapter(source(tmp_path))
    core.submit(adapted("a"))
    assert drain(core)[-1].kind is EventKind.END
    (beat,) = core.adapters()
    assert (beat.digest, beat.name, beat.state, beat.rank, beat.hits) == (
        "d1", "pirate", AdapterState.READY, 8, 1,
    )  # fmt: skip
    assert core.gauges().lora_slots_used == 1
    core.unload_adapter("d1")
    core.unload_adapter("d1")
    drain(core)
    assert core.adapters() == []
    assert core.gauges().lora_slots_used == 0


def test_an_adapter_that_cannot_be_read_tells_its_cause_and_ends_requests(core, tmp_path):
    core.load_adapter(AdapterSource(digest="d1", name="pirate", path=str(tmp_path / "none")))
    core.submit(adapted("a"))
    core.submit(body("b"))
    ends = {delta.rid: delta for delta in drain(core) if delta.kind in ENDS}
    assert ends["b"].kind is EventKind.END
    assert ends["a"].kind is EventKind.REFUSED
    assert "'pirate' could not be loaded" in ends["a"].error.message
    (beat,) = core.adapters()
    assert beat.state is AdapterState.FAILED
    assert "adapter_config.json" in beat.cause


def test_a_request_may_come_before_its_load_message(core, tmp_path):
    core.submit(adapted("a"))
    core.step()
    core.load_adapter(source(tmp_path))
    assert drain(core)[-1].kind is EventKind.END


def test_an_adapter_being_unloaded_finishes_what_runs_and_takes_no_more(core, tmp_path):
    core.load_adapter(source(tmp_path))
    core.submit(adapted("a"))
    core.unload_adapter("d1")
    core.submit(adapted("late"))
    ends = {delta.rid: delta.kind for delta in drain(core) if delta.kind in ENDS}
    assert ends == {"a": EventKind.END, "late": EventKind.REFUSED}
    assert core.adapters() == []


def test_a_core_sleeps_when_nothing_is_open_and_answers_again_when_awake(core):
    core.submit(body("a"))
    with pytest.raises(InvalidRequest):
        core.sleep()
    drain(core)
    core.sleep()
    assert core.asleep
    core.wake_up()
    core.wake_up()  # is nothing more
    assert not core.asleep
    core.reset_prefix_cache()
    core.submit(body("b", tokens=5))
    assert drain(core)[-1].counts.completion_tokens == 5
