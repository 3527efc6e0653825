"""What makes the service healthy, and what /metrics says of an engine."""

from __future__ import annotations

from apps.models.agent.facts import facts_of
from apps.models.dashboard import sentence
from apps.models.health import Sight
from engine.messages import EngineBeat, EngineState
from inference_site.metrics import exposition


def beat(model: str = "m", state: EngineState = EngineState.READY, **more: int) -> EngineBeat:
    return EngineBeat(engine="e", model=model, state=state, **more)


def test_empty_install_is_healthy() -> None:
    assert Sight().healthy


def test_every_wanted_model_needs_a_ready_engine() -> None:
    assert Sight((beat("a"), beat("b")), frozenset({"a", "b"})).healthy
    assert not Sight((beat("a"),), frozenset({"a", "b"})).healthy
    assert not Sight((beat("a", EngineState.LOADING),), frozenset({"a"})).healthy


def test_engine_that_has_work_and_does_not_step_is_ill() -> None:
    hung = beat("a", running=1, step_age_ms=10_001)
    assert not Sight((hung,), frozenset({"a"})).healthy
    idle = beat("a", step_age_ms=10_001)
    assert Sight((idle,), frozenset({"a"})).healthy


def test_metrics_hold_the_figures_of_a_heartbeat() -> None:
    seen = beat(running=3, blocks_total=10, blocks_free=4)
    seen.counters = {"generation_tokens": 42}
    page = exposition([seen]).decode()
    assert 'vllm:num_requests_running{engine="e",model_name="m"} 3.0' in page
    assert 'vllm:kv_cache_usage_perc{engine="e",model_name="m"} 0.6' in page
    assert 'vllm:generation_tokens_total{engine="e",model_name="m"} 42.0' in page
    assert 'pagoda_engine_state{engine="e",model_name="m",state="ready"} 1.0' in page


def test_facts_come_from_checkpoint_and_engine(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "config.json").write_text('{"vocab_size": 99}')
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6, "do_sample": true}')
    facts = facts_of(str(tmp_path), beat(max_model_len=128))
    assert facts["vocab_size"] == 99
    assert facts["max_model_len"] == 128
    assert facts["default_params"] == {"temperature": 0.6}
    assert facts_of(str(tmp_path), beat(), generation_config="none")["default_params"] == {}


def test_home_page_counts_what_needs_help() -> None:
    assert sentence(2, 0) == "Everything is running."
    assert sentence(2, 1) == "1 model needs you."
    assert "pagoda serve" in sentence(0, 0)
