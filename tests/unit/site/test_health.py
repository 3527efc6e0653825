"""What makes the service healthy, and what /metrics says of an engine."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from apps.models.agent.facts import facts_of
from apps.models.dashboard import sentence
from apps.models.health import Sight
from apps.models.overview import Overview
from apps.models.selectors import Placement
from apps.models.trouble import Area, Trouble
from engine.messages import AdapterBeat, AdapterState, EngineBeat, EngineState
from inference_site.metrics import exposition


def beat(model: str = "m", state: EngineState = EngineState.READY, **more: int) -> EngineBeat:
    return EngineBeat(engine="e", model=model, state=state, **more)


def sight(*beats: EngineBeat, wanted: set[str], announced: bool = True) -> Sight:
    engines = frozenset({"e"}) if announced else frozenset()
    return Sight(Placement(frozenset(wanted), ("e",), engines), beats)


def test_empty_install_is_healthy() -> None:
    assert sight(wanted=set()).healthy


def test_every_wanted_model_needs_a_ready_engine() -> None:
    assert sight(beat("a"), beat("b"), wanted={"a", "b"}).healthy
    assert not sight(beat("a"), wanted={"a", "b"}).healthy
    assert not sight(beat("a", EngineState.LOADING), wanted={"a"}).healthy


def test_an_engine_counts_once_its_model_can_be_listed() -> None:
    assert not sight(beat("a"), wanted={"a"}, announced=False).healthy


def test_engine_that_has_work_and_does_not_step_is_ill() -> None:
    assert not sight(beat("a", running=1, step_age_ms=10_001), wanted={"a"}).healthy
    assert sight(beat("a", step_age_ms=10_001), wanted={"a"}).healthy


def test_metrics_hold_the_figures_of_a_heartbeat() -> None:
    seen = beat(running=3, blocks_total=10, blocks_free=4)
    seen.counters = {"generation_tokens": 42}
    page = exposition(sight(seen, wanted=set())).decode()
    assert 'vllm:num_requests_running{engine="e",model_name="m"} 3.0' in page
    assert 'vllm:kv_cache_usage_perc{engine="e",model_name="m"} 0.6' in page
    assert 'vllm:generation_tokens_total{engine="e",model_name="m"} 42.0' in page
    assert 'pagoda_engine_state{engine="e",model_name="m",state="ready"} 1.0' in page


def test_metrics_tell_a_model_without_any_engine() -> None:
    page = exposition(sight(beat("a"), wanted={"a", "gone"})).decode()
    assert 'pagoda_model_ready{model_name="a"} 1.0' in page
    assert 'pagoda_model_ready{model_name="gone"} 0.0' in page


def test_metrics_tell_how_much_usage_waits_unless_redis_is_away() -> None:
    assert "pagoda_usage_waiting 7.0" in exposition(Sight(Placement(), unsettled=7)).decode()
    assert "pagoda_usage_waiting" not in exposition(Sight(Placement())).decode()


def test_metrics_hold_every_adapter_by_its_name() -> None:
    seen = beat()
    seen.lora_slots_used, seen.lora_slots_total = 1, 8
    seen.adapters = [AdapterBeat(digest="d", name="pirate", state=AdapterState.READY, hits=7)]
    page = exposition(sight(seen, wanted=set())).decode()
    mine = 'adapter="pirate",engine="e",model_name="m"'
    assert f"pagoda_adapter_requests_total{{{mine}}} 7.0" in page
    assert f'pagoda_adapter_info{{{mine},residency="disk",state="ready"}} 1.0' in page
    assert 'pagoda_lora_slots{engine="e",model_name="m"} 8.0' in page


def test_facts_come_from_checkpoint_and_engine(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "config.json").write_text('{"vocab_size": 99}')
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6, "do_sample": true}')
    facts = facts_of(str(tmp_path), beat(max_model_len=128))
    assert facts["vocab_size"] == 99
    assert facts["max_model_len"] == 128
    assert facts["default_params"] == {"temperature": 0.6}
    assert (
        facts_of(str(tmp_path), beat(), options={"generation_config": "none"})["default_params"]
        == {}
    )


def model(*, wanted: bool = True, ready: int = 1) -> Any:
    return SimpleNamespace(wanted=wanted, awake=wanted, ready=ready, replicas=1)


def seen(*models: Any) -> Overview:
    return Overview(now=datetime.now(UTC), models=models)


def test_home_page_says_one_true_sentence() -> None:
    trouble = Trouble(kind="down", area=Area.MODELS, subject="m", cause="No weights.", fix="Add.")
    assert sentence(seen(model(), model()), []) == "Everything is running."
    assert sentence(seen(model(), model(ready=0)), []) == "1 model is loading."
    assert sentence(seen(model(ready=0)), [trouble]) == "1 thing needs you."
    assert sentence(seen(model()), [trouble, trouble]) == "2 things need you."
    assert sentence(seen(model(), model(wanted=False, ready=0)), []) == "Everything is running."
    unloaded = "Nothing is served: no model is loaded."
    assert sentence(seen(model(wanted=False, ready=0)), []) == unloaded
    assert sentence(seen(), []) == "Nothing is served yet."
