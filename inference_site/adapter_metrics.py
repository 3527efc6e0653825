"""Figures of adapters for /metrics, from the engines' heartbeats. Names are registered ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from engine.messages import AdapterBeat, EngineBeat

OF_ENGINE = ["model_name", "engine"]


class AdapterCollector:
    """Turns what engines say of their adapters into metric families."""

    def __init__(self, beats: Iterable[EngineBeat]) -> None:
        self._beats = tuple(beats)

    def collect(self) -> Iterator[Metric]:
        used = GaugeMetricFamily(
            "pagoda_lora_slots_used", "Adapters ready for the next step.", labels=OF_ENGINE
        )
        total = GaugeMetricFamily(
            "pagoda_lora_slots", "Adapters that one step can hold.", labels=OF_ENGINE
        )
        for beat in self._beats:
            used.add_metric([beat.model, beat.engine], beat.lora_slots_used)
            total.add_metric([beat.model, beat.engine], beat.lora_slots_total)
        yield used
        yield total
        yield from self._each()

    def _each(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "pagoda_adapter_requests", "Requests taken.", labels=[*OF_ENGINE, "adapter"]
        )
        memory = GaugeMetricFamily(
            "pagoda_adapter_bytes", "Weights in memory.", labels=[*OF_ENGINE, "adapter"]
        )
        place = GaugeMetricFamily(
            "pagoda_adapter_info",
            "1 for state and nearest place of an adapter.",
            labels=[*OF_ENGINE, "adapter", "state", "residency"],
        )
        for beat, adapter in self._adapters():
            names = [beat.model, beat.engine, adapter.name]
            requests.add_metric(names, adapter.hits)
            memory.add_metric(names, adapter.bytes)
            place.add_metric([*names, adapter.state.value, adapter.residency.value], 1)
        yield requests
        yield memory
        yield place

    def _adapters(self) -> Iterator[tuple[EngineBeat, AdapterBeat]]:
        for beat in self._beats:
            for adapter in beat.adapters:
                yield beat, adapter
