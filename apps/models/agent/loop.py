"""The reconcile loop. Every turn compares what is wanted with what is and does one idempotent step
for each difference, so it may be killed and started at any point."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import redis

from apps.lora.reconcile import AdapterReconciler
from apps.models import engine_services as writes
from apps.models.agent.child import EngineChild, EngineSpec, engine_start, last_line
from apps.models.agent.facts import facts_of
from apps.models.agent.gpus import GpuWatch
from apps.models.agent.idle import IdleWatch
from apps.models.models import EngineInstance, ServedModel, State
from apps.models.overview import beats_read
from apps.models.selectors import instances_listed
from apps.models.services import epoch_publish, model_facts_set
from apps.models.sources import SourceMissing, local_folder
from apps.usage.services import judge_wake
from engine import redis_keys
from engine.messages import EngineBeat, EngineState, WireMismatch, unpack
from inference_site.process import how_it_ended

log = logging.getLogger(__name__)

HUNG_AFTER_MS = 10_000  # the step loop has work and does not turn
SILENT_AFTER_S = 15.0  # no heartbeat although the process lives
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.5, 300.0
STEADY_AFTER_S = 60.0  # ready this long: earlier failures are forgotten
HOST_NOTE_EVERY_S = 5.0
REAPED = (State.LOADING, State.READY, State.DRAINING, State.VALIDATING)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What the command hands to the loop."""

    host: str
    pid: int
    redis_url: str
    log_folder: Path
    engine_module: str
    drain_s: float
    max_engines: int = 0  # on this host; 0: no limit


@dataclass(slots=True)
class Failures:
    """Of one replica: how often it ended badly in a row, and when it may start again."""

    count: int = 0
    not_before: float = 0.0

    def add(self, now: float) -> float:
        """Seconds until the next start: 0.5, 1, 2 … 300."""
        delay: float = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0**self.count)
        self.count += 1
        self.not_before = now + delay
        return delay


@dataclass(slots=True)
class Agent:
    """State of one agent process. `children` and `failures` are keyed by instance id."""

    settings: AgentSettings
    client: redis.Redis
    clock: Callable[[], float]
    children: dict[int, EngineChild] = field(default_factory=dict)
    failures: dict[int, Failures] = field(default_factory=dict)
    noted_at: float = float("-inf")
    idle: IdleWatch = field(default_factory=IdleWatch)
    gpus: GpuWatch = field(default_factory=GpuWatch)
    adapters: AdapterReconciler = field(init=False)

    def __post_init__(self) -> None:
        self.adapters = AdapterReconciler(self.client, self.settings.host, self.clock)

    @property
    def loading(self) -> bool:
        """Whether an engine or an adapter is on its way to ready."""
        starting = any(child.ready_at is None for child in self.children.values())
        return starting or self.adapters.busy

    def turn(self) -> None:
        """One pass over all replicas and adapters: four SQL queries when nothing has changed."""
        self._note_host()
        self._reap()
        wanted = list(ServedModel.objects.wanted())
        rows = list(instances_listed())
        self._rest_and_wake(wanted, rows)
        wanted = [model for model in wanted if model.awake]
        places = {(model.pk, replica) for model in wanted for replica in range(model.replicas)}
        for row in rows:
            if row.host.name != self.settings.host:
                continue
            if (row.model_id, row.replica) in places:
                self._keep(row)
            else:
                self._remove(row)
        self._claim_free(wanted, rows)
        self.adapters.turn()

    def drain_all(self) -> bool:
        """On the way out: ask all engines to finish. True when none is left."""
        now = self.clock()
        for child in self.children.values():
            child.drain(now)
            self._mark_draining(child)
        self._reap()
        self._kill_overdue(now)
        return not self.children

    def _rest_and_wake(self, wanted: list[ServedModel], rows: list[EngineInstance]) -> None:
        """A model whose setting says so has no engines while nobody asks for it."""
        idle = [model for model in wanted if model.resting or model.keep_alive_s is not None]
        if idle:
            beats = beats_read(self.client, [row.engine_id for row in rows])
            self.idle.turn(self.client, idle, rows, beats, self.clock())

    def _note_host(self) -> None:
        now = self.clock()
        if now - self.noted_at >= HOST_NOTE_EVERY_S:
            self.noted_at = now
            name, pid = self.settings.host, self.settings.pid
            writes.host_seen(name=name, agent_pid=pid, gpus=self.gpus.turn())
            epoch_publish(self.client)

    def _claim_free(self, wanted: list[ServedModel], rows: list[EngineInstance]) -> None:
        """Take what no host has, up to this host's limit: others take the rest."""
        taken = {(row.model_id, row.replica) for row in rows}
        held = sum(row.host.name == self.settings.host for row in rows)
        for model in wanted:
            for replica in range(model.replicas):
                if self.settings.max_engines and held >= self.settings.max_engines:
                    return
                if (model.pk, replica) not in taken:
                    held += self._claim(model, replica)

    def _claim(self, model: ServedModel, replica: int) -> bool:
        host = writes.host_seen(name=self.settings.host, agent_pid=self.settings.pid)
        row = writes.instance_claim(model=model, replica=replica, host=host)
        if row is not None:
            self._keep(row)
        return row is not None

    def _keep(self, row: EngineInstance) -> None:
        """A wanted replica of this host: start it, watch it, or renew it."""
        child = self.children.get(row.pk)
        if child is None:
            self._start_when_due(row)
        elif child.generation != row.model.generation or child.stopping:
            child.drain(self.clock())
            self._mark_draining(child)
            self._kill_overdue(self.clock())
        else:
            self._watch(row, child)

    def _remove(self, row: EngineInstance) -> None:
        child = self.children.get(row.pk)
        if child is None:
            self.client.hdel(redis_keys.AGENT_FAILED, row.model.name)
            self.failures.pop(row.pk, None)
            writes.instance_release(pk=row.pk)
            return
        child.drain(self.clock())
        self._mark_draining(child)
        self._kill_overdue(self.clock())

    def _start_when_due(self, row: EngineInstance) -> None:
        failures = self.failures.setdefault(row.pk, Failures())
        if row.generation != row.model.generation:
            failures.count, failures.not_before = 0, 0.0  # changed options deserve a fresh start
        now = self.clock()
        if now < failures.not_before:
            return
        try:
            folder = local_folder(row.model.source, row.model.revision)
        except SourceMissing as error:
            self._failed(row.pk, row.model.name, error.cause, error.fix)
            return
        spec = EngineSpec(
            engine_id=f"{row.model_id}-{row.replica}-{secrets.token_hex(4)}",
            model_name=row.model.name,
            model_path=folder,
            options=row.model.engine_options,
            redis_url=self.settings.redis_url,
            module=self.settings.engine_module,
            log_path=self.settings.log_folder / f"engine-{row.model_id}-{row.replica}.log",
        )
        child = engine_start(spec, instance_id=row.pk, generation=row.model.generation, now=now)
        self.children[row.pk] = child
        writes.instance_move(
            pk=row.pk,
            to=State.LOADING,
            engine_id=spec.engine_id,
            generation=child.generation,
            pid=child.process.pid,
            restarts=row.restarts + (row.pid != 0),
            log_path=str(spec.log_path),
        )
        log.info("engine_started", extra={"model": row.model.name, "engine": spec.engine_id})

    def _watch(self, row: EngineInstance, child: EngineChild) -> None:
        now = self.clock()
        beat = self._beat(child)
        if beat is None:
            if child.seen_at is not None and now - child.seen_at > SILENT_AFTER_S:
                self._kill_sick(child, "It sent no heartbeat although its process lives.")
            return
        child.seen_at = now
        if beat.state == EngineState.FAILED:
            child.last_words = (beat.cause, beat.fix)
        elif beat.running + beat.waiting and beat.step_age_ms > HUNG_AFTER_MS:
            self._kill_sick(child, f"Its step loop has not turned for {beat.step_age_ms} ms.")
        elif beat.state == EngineState.READY:
            self._is_ready(row, child, beat, now)

    def _is_ready(
        self, row: EngineInstance, child: EngineChild, beat: EngineBeat, now: float
    ) -> None:
        if child.ready_at is None:
            child.ready_at = now
            self.client.hdel(redis_keys.AGENT_FAILED, row.model.name)
            options = row.model.engine_options
            facts = facts_of(child.spec.model_path, beat, options=options)
            model_facts_set(model=row.model, facts=facts)
            writes.instance_move(pk=row.pk, was=[State.LOADING], to=State.READY, cause="", fix="")
            writes.model_load_took(pk=row.model_id, seconds=round(now - child.started_at, 1))
            log.info(
                "engine_ready", extra={"model": row.model.name, "engine": child.spec.engine_id}
            )
        elif now - child.ready_at > STEADY_AFTER_S:
            self.failures.pop(row.pk, None)

    def _reap(self) -> None:
        """Take note of children that ended: the judge hears of it before the heartbeat expires."""
        for pk, child in list(self.children.items()):
            code = child.process.poll()
            if code is None:
                continue
            beat = self._beat(child)
            if beat is not None and beat.state == EngineState.FAILED:
                child.last_words = (beat.cause, beat.fix)
            judge_wake(client=self.client, engine_id=child.spec.engine_id)
            del self.children[pk]
            if child.stopping:
                writes.instance_move(pk=pk, was=REAPED, to=State.UNLOADED, pid=0)
                log.info("engine_stopped", extra={"engine": child.spec.engine_id})
            else:
                cause, fix = child.last_words or _autopsy(child, code)
                self._failed(pk, child.spec.model_name, cause, fix)

    def _failed(self, pk: int, model: str, cause: str, fix: str) -> None:
        delay = self.failures.setdefault(pk, Failures()).add(self.clock())
        writes.instance_move(pk=pk, to=State.FAILED, cause=cause, fix=fix)
        words = json.dumps({"cause": cause, "fix": fix})
        self.client.hset(redis_keys.AGENT_FAILED, model, words)
        log.error(
            "engine_failed",
            extra={"model": model, "cause": cause, "fix": fix, "next_start_s": round(delay, 1)},
        )

    def _kill_sick(self, child: EngineChild, cause: str) -> None:
        child.last_words = (cause, f"It was killed and starts anew. Log: {child.spec.log_path}")
        child.kill()

    def _kill_overdue(self, now: float) -> None:
        for child in self.children.values():
            if child.stop_at is not None and now - child.stop_at > self.settings.drain_s:
                child.kill()

    def _mark_draining(self, child: EngineChild) -> None:
        running = [State.LOADING, State.READY, State.VALIDATING]
        writes.instance_move(pk=child.instance_id, was=running, to=State.DRAINING)

    def _beat(self, child: EngineChild) -> EngineBeat | None:
        data = self.client.get(redis_keys.engine_beat(child.spec.engine_id))
        if not isinstance(data, bytes):
            return None
        try:
            return unpack(EngineBeat, data)
        except WireMismatch as error:
            log.warning("heartbeat_unreadable", extra={"cause": str(error)})
            return None


def _autopsy(child: EngineChild, code: int) -> tuple[str, str]:
    """Cause and fix of an end nobody announced."""
    words = last_line(child.spec.log_path) if code > 0 else ""
    cause = f"The engine ended ({how_it_ended(code)})." + (
        f" Last log line: {words}" if words else ""
    )
    return cause, f"It starts again by itself. See the log {child.spec.log_path}."
