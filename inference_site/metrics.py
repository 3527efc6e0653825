"""/metrics in the Prometheus text format, the same from every web process.

Engine figures come from heartbeats and front-end figures from the files of prometheus_client's
multiprocess mode (the launcher sets PROMETHEUS_MULTIPROC_DIR). Labels hold registered names only.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate
from typing import Any

from django.conf import settings
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.multiprocess import MultiProcessCollector

from apps.api.auth import authenticate_now, require_scope
from apps.api.errors import json_of, public_error
from apps.models.health import App, EngineWatch, Scope, Sight
from apps.usage.metrics import ModelSums, UsageCollector, model_sums_read
from engine.errors import PagodaError
from engine.messages import EngineBeat, EngineState
from engine.step_figures import INTER_TOKEN_S, ITERATION_TOKENS
from inference_site.adapter_metrics import AdapterCollector

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when it is imported
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
# Name under `vllm:`, help, and how to read it from a heartbeat.
GAUGES: tuple[tuple[str, str, Callable[[EngineBeat], float]], ...] = (
    ("vllm:num_requests_running", "Sequences in the running batch.", lambda b: b.running),
    ("vllm:num_requests_waiting", "Sequences waiting in the engine.", lambda b: b.waiting),
    ("vllm:kv_cache_usage_perc", "Share of KV blocks in use, 0 to 1.", lambda b: kv_usage(b)),
    ("vllm:engine_sleep_state", "1: sleeps by order.", lambda b: float(b.asleep)),
    ("pagoda_kv_blocks_free", "KV blocks free or evictable.", lambda b: b.blocks_free),
    ("pagoda_engine_step_age_seconds", "Since the last step.", lambda b: b.step_age_ms / 1000),
)
COUNTERS = (
    ("vllm:num_preemptions", "Preemptions by recompute.", "preemptions"),
    ("vllm:prompt_tokens", "Prompt tokens computed or reused.", "prompt_tokens"),
    ("vllm:generation_tokens", "Tokens generated.", "generation_tokens"),
    ("vllm:prefix_cache_queries", "Prompt tokens looked up.", "prefix_queried_tokens"),
    ("vllm:prefix_cache_hits", "Prompt tokens found.", "prefix_hit_tokens"),
    ("pagoda_engine_steps", "Steps of the engine.", "steps"),
)


def kv_usage(beat: EngineBeat) -> float:
    return 1 - beat.blocks_free / beat.blocks_total if beat.blocks_total else 0.0


def cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Buckets as Prometheus counts them: each holds those below it; the last has no bound."""
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))


class ServiceCollector:
    """Says of every wanted model whether it is served (also of one whose engines are all gone and
    have no figures of their own), and how far behind the books are."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def collect(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily(
            "pagoda_model_ready", "1 when a wanted model is served.", labels=["model_name"]
        )
        serving = self._sight.serving
        for name in sorted(self._sight.placement.wanted):
            ready.add_metric([name], float(name in serving))
        yield ready
        if (count := self._sight.unsettled) is not None:
            yield GaugeMetricFamily(
                "pagoda_usage_waiting", "Ended requests the database does not hold yet.", count
            )


class HeartbeatCollector:
    """Turns heartbeats into metric families."""

    def __init__(self, beats: Iterable[EngineBeat]) -> None:
        self._beats = tuple(beats)

    def collect(self) -> Iterator[Metric]:
        labels = ["model_name", "engine"]
        for name, text, read in GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for beat in self._beats:
                gauge.add_metric([beat.model, beat.engine], read(beat))
            yield gauge
        for name, text, key in COUNTERS:
            counter = CounterMetricFamily(name, text, labels=labels)
            for beat in self._beats:
                counter.add_metric([beat.model, beat.engine], beat.counters.get(key, 0))
            yield counter
        yield from self._figures()
        yield self._choices()
        yield self._cache()
        yield self._states()
        build = GaugeMetricFamily("pagoda_build_info", "Version of this build.", labels=["version"])
        build.add_metric([version("pagoda")], 1)
        yield build

    def _figures(self) -> Iterator[Metric]:
        labels = ["model_name", "engine"]
        inter_token = HistogramMetricFamily(
            "vllm:inter_token_latency_seconds", "Between tokens of a choice.", labels=labels
        )
        iteration = HistogramMetricFamily(
            "vllm:iteration_tokens_total", "Tokens of a step.", labels=labels
        )
        for beat in self._beats:
            if (found := beat.figures) is not None:
                names = [beat.model, beat.engine]
                gaps = cumulated(INTER_TOKEN_S, found.inter_token)
                inter_token.add_metric(names, gaps, sum_value=found.inter_token_us / 1e6)
                steps = cumulated(ITERATION_TOKENS, found.iteration)
                iteration.add_metric(names, steps, sum_value=found.iteration_tokens)
        yield inter_token
        yield iteration

    def _choices(self) -> Metric:
        family = CounterMetricFamily(
            "vllm:request_success",
            "Choices that ended by themselves.",
            labels=["model_name", "engine", "finished_reason"],
        )
        for beat in self._beats:
            for reason, key in (("stop", "stopped_choices"), ("length", "full_choices")):
                family.add_metric([beat.model, beat.engine, reason], beat.counters.get(key, 0))
        return family

    def _cache(self) -> Metric:
        family = GaugeMetricFamily(
            "vllm:cache_config_info",
            "1; the labels tell the size of the KV cache.",
            labels=["model_name", "engine", "block_size", "num_gpu_blocks"],
        )
        for beat in self._beats:
            if blocks := beat.blocks_total:
                size = beat.kv_tokens // blocks
                family.add_metric([beat.model, beat.engine, str(size), str(blocks)], 1)
        return family

    def _states(self) -> Metric:
        family = GaugeMetricFamily(
            "pagoda_engine_state",
            "1 for the state an engine is in.",
            labels=["model_name", "engine", "state"],
        )
        for beat in self._beats:
            for state in EngineState:
                family.add_metric(
                    [beat.model, beat.engine, state.value], float(beat.state == state)
                )
        return family


class MetricsApp:
    """Answers /metrics and passes everything else on."""

    def __init__(
        self,
        site: App,
        watch: EngineWatch,
        read: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        self._site = site
        self._watch = watch
        self._read = read
        self._networks = [
            ipaddress.ip_network(text.strip())
            for text in settings.PAGODA.metrics_networks.split(",")
            if text.strip()
        ]

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/metrics":
            await self._metrics(scope, send)
        else:
            await self._site(scope, receive, send)

    async def _metrics(self, scope: Scope, send: Any) -> None:
        try:
            await self._authorise(scope)
        except PagodaError as error:
            shown = public_error(error, str(scope.get("pagoda_rid", "")))
            await _reply(send, shown.status, b"application/json", json_of(shown))
            return
        sight = await self._watch.look_or_guess()
        try:
            sums = await self._read(model_sums_read)
        except PagodaError:
            sums = []  # the database is away; the engines' figures are worth having
        await _reply(send, 200, CONTENT_TYPE, exposition(sight, sums))

    async def _authorise(self, scope: Scope) -> None:
        """A listed network, or a key with the metrics scope. Raises `PagodaError`.

        Behind a proxy everybody has the proxy's address, so that none counts there."""
        client, headers = scope.get("client"), dict(scope["headers"])
        forwarded = b"x-forwarded-for" in headers or b"forwarded" in headers
        address = ipaddress.ip_address(client[0]) if client and not forwarded else None
        if address is not None and any(address in network for network in self._networks):
            return
        given = headers.get(b"authorization")
        key = await self._read(lambda: authenticate_now(given))
        require_scope(key, "metrics")


def exposition(sight: Sight, sums: Iterable[ModelSums] = ()) -> bytes:
    """The whole page."""
    registry = CollectorRegistry()
    registry.register(ServiceCollector(sight))
    registry.register(HeartbeatCollector(sight.beats))
    registry.register(AdapterCollector(sight.beats))
    registry.register(UsageCollector(sums))
    if MULTIPROCESS_DIR in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:  # one process without the launcher: its own figures are all there are
        registry.register(REGISTRY)
    page: bytes = generate_latest(registry)
    return page


async def _reply(send: Any, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
