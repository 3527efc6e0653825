"""The reconcile loop with real engine processes (the fake core) and a clock of the test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from apps.models.agent.loop import SILENT_AFTER_S, Agent, AgentSettings, Failures
from apps.models.models import EngineInstance, ServedModel, State
from apps.models.selectors import catalog_read, placement_read
from apps.models.services import (
    model_keep_alive_set,
    model_register,
    model_restart,
    model_unload,
)
from engine import redis_keys
from inference_site.launcher import random_model
from tests.served import LIMIT_S

pytestmark = pytest.mark.django_db


class Clock:
    """Real time plus what the test adds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_agent(redis_url: str, tmp_path: Path, clock: Clock) -> Iterator[Callable[[str], Agent]]:
    made: list[Agent] = []

    def make(host: str = "node") -> Agent:
        settings = AgentSettings(
            host=host,
            pid=os.getpid(),
            redis_url=redis_url,
            log_folder=tmp_path / "logs",
            engine_module="engine.testing",
            drain_s=5,
        )
        made.append(Agent(settings, redis.Redis.from_url(redis_url), clock))
        return made[-1]

    yield make
    for agent in made:
        for child in agent.children.values():
            child.kill()
            child.process.wait()
        agent.client.close()


@pytest.fixture
def agent(make_agent: Callable[[str], Agent]) -> Agent:
    return make_agent("node")


@pytest.fixture
def model(tmp_path: Path) -> ServedModel:
    random_model.write(tmp_path / "tiny")
    return model_register(name="tiny", source=str(tmp_path / "tiny"), aliases=["small"])


def turn_until(agent: Agent, state: State, limit_s: float = LIMIT_S) -> EngineInstance:
    limit = time.monotonic() + limit_s
    while True:
        agent.turn()
        found = EngineInstance.objects.filter(state=state).first()
        if found is not None:
            return found
        assert time.monotonic() < limit, list(EngineInstance.objects.values("state", "cause"))
        time.sleep(0.1)


def test_wanted_model_becomes_ready_and_enters_the_catalog(
    agent: Agent, model: ServedModel
) -> None:
    assert catalog_read().models == {}
    before = catalog_read().epoch
    turn_until(agent, State.READY)
    catalog = catalog_read()
    assert set(catalog.models) == {"tiny", "small"}
    assert catalog.models["small"].base == "tiny"
    assert catalog.models["tiny"].vocab_size > 0
    assert catalog.epoch > before


def test_a_host_takes_no_more_than_its_limit_and_others_take_the_rest(
    make_agent: Callable[[str], Agent], model: ServedModel
) -> None:
    shutil.rmtree(model.source)  # claimed all the same, and nothing needs to start
    ServedModel.objects.update(replicas=3)
    for host, expected in (("one", 1), ("one", 1), ("two", 2), ("three", 3)):
        agent = make_agent(host)
        agent.settings = replace(agent.settings, max_engines=1)
        agent.turn()
        assert EngineInstance.objects.count() == expected
    assert set(EngineInstance.objects.values_list("host__name", "replica")) == {
        ("one", 0), ("two", 1), ("three", 2),
    }  # fmt: skip


def test_turn_without_a_difference_changes_nothing(agent: Agent, model: ServedModel) -> None:
    first = turn_until(agent, State.READY)
    epoch = catalog_read().epoch
    agent.turn()
    assert EngineInstance.objects.get().engine_id == first.engine_id
    assert catalog_read().epoch == epoch


def test_unloaded_model_leaves_at_once_and_its_engine_ends(
    agent: Agent, model: ServedModel
) -> None:
    turn_until(agent, State.READY)
    (child,) = agent.children.values()
    model_unload(name="tiny")
    assert catalog_read().models == {}
    agent.turn()
    assert EngineInstance.objects.get().state == State.DRAINING
    child.process.wait(timeout=LIMIT_S)
    agent.turn()
    assert not EngineInstance.objects.exists()


def test_killed_engine_is_judged_named_and_started_again(
    agent: Agent, model: ServedModel, clock: Clock
) -> None:
    first = turn_until(agent, State.READY)
    os.kill(first.pid, signal.SIGKILL)
    agent.children[first.pk].process.wait()
    agent.turn()
    failed = EngineInstance.objects.get()
    assert failed.state == State.FAILED
    assert failed.cause == "The engine ended (killed by SIGKILL)."
    assert agent.client.get(redis_keys.engine_beat(first.engine_id)) is None
    assert agent.client.lrange(redis_keys.JUDGE_WAKE, 0, -1) == [first.engine_id.encode()]
    clock.ahead += 1
    second = turn_until(agent, State.READY)
    assert (second.restarts, second.cause) == (1, "")
    assert second.engine_id != first.engine_id


def test_silent_engine_is_killed(agent: Agent, model: ServedModel, clock: Clock) -> None:
    engine = turn_until(agent, State.READY)
    os.kill(engine.pid, signal.SIGSTOP)
    agent.client.delete(redis_keys.engine_beat(engine.engine_id))
    clock.ahead += SILENT_AFTER_S + 1
    agent.turn()
    agent.children[engine.pk].process.wait(timeout=LIMIT_S)
    agent.turn()
    assert "no heartbeat" in EngineInstance.objects.get().cause


def test_restart_makes_a_new_engine(agent: Agent, model: ServedModel) -> None:
    first = turn_until(agent, State.READY)
    model_restart(name="tiny")
    agent.turn()
    agent.children[first.pk].process.wait(timeout=LIMIT_S)
    assert turn_until(agent, State.READY).engine_id != first.engine_id


def test_missing_files_have_a_cause_and_a_fix(agent: Agent, model: ServedModel) -> None:
    (Path(model.source) / "config.json").unlink()
    agent.turn()
    failed = EngineInstance.objects.get()
    assert failed.state == State.FAILED
    assert "holds no config.json" in failed.cause
    assert failed.fix
    told = json.loads(agent.client.hget(redis_keys.AGENT_FAILED, "tiny") or b"{}")
    assert told == {"cause": failed.cause, "fix": failed.fix}


def test_one_of_two_agents_gets_the_replica(
    make_agent: Callable[[str], Agent], model: ServedModel
) -> None:
    one, two = make_agent("one"), make_agent("two")
    one.turn()
    two.turn()
    assert (len(one.children), len(two.children)) == (1, 0)


def test_new_agent_takes_up_what_a_dead_one_left(
    make_agent: Callable[[str], Agent], model: ServedModel
) -> None:
    dead = make_agent("node")
    left = turn_until(dead, State.READY)
    for child in dead.children.values():
        child.kill()
        child.process.wait()
    fresh = make_agent("node")
    fresh.turn()
    assert EngineInstance.objects.get().engine_id != left.engine_id


def test_waits_grow_to_five_minutes() -> None:
    failures = Failures()
    waits = [failures.add(0.0) for _ in range(14)]
    assert waits[:4] == [0.5, 1, 2, 4]
    assert max(waits) == 300


def test_idle_model_rests_keeps_its_name_and_wakes_for_a_request(
    agent: Agent, model: ServedModel, clock: Clock
) -> None:
    model_keep_alive_set(name="tiny", seconds=60)
    turn_until(agent, State.READY)
    agent.turn()
    model.refresh_from_db()
    assert not model.resting
    assert model.load_s > 0
    clock.ahead += 61
    agent.turn()
    model.refresh_from_db()
    assert model.resting
    assert "tiny" in catalog_read().models
    assert placement_read().wanted == frozenset()  # health does not wait for it
    while agent.children:
        agent.turn()
        time.sleep(0.1)
    agent.client.xadd(redis_keys.queue("tiny", "high"), {"rid": "r"})
    turn_until(agent, State.READY)
