"""Good streams beside the abuse: each asks again and again and notes the gaps of its chunks."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

TOKENS = 200


@dataclass
class Gaps:
    """Seconds between chunks, by the phase they fell into; and what was not a whole answer."""

    phase: str = ""
    of: dict[str, list[float]] = field(default_factory=dict)
    whole: int = 0
    broken: list[str] = field(default_factory=list)

    def p99_ms(self, phase: str) -> float:
        return percentile(self.of[phase], 0.99) * 1000


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


class GoodStreams:
    """Threads that read streams until `stop`. A phase named "" is not measured."""

    def __init__(self, base: str, key: str, model: str, count: int) -> None:
        self.gaps = Gaps()
        self._body: dict[str, Any] = {
            "model": model, "prompt": "Once upon a time", "max_tokens": TOKENS, "stream": True,
            "ignore_eos": True,
        }  # fmt: skip
        self._base, self._headers = base, {"Authorization": f"Bearer {key}"}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._read, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _read(self) -> None:
        options: Any = {"base_url": self._base, "headers": self._headers, "trust_env": False}
        with httpx.Client(timeout=60, **options) as http:
            while not self._over.is_set():
                self._one(http)

    def _one(self, http: httpx.Client) -> None:
        with http.stream("POST", "/v1/completions", json=self._body) as reply:
            if reply.status_code != 200:
                self.gaps.broken.append(reply.read().decode()[:300])
                time.sleep(0.2)
                return
            last, line = 0.0, ""
            for line in reply.iter_lines():
                if not line.startswith("data: "):
                    continue
                now = time.monotonic()
                if last and self.gaps.phase:
                    self.gaps.of.setdefault(self.gaps.phase, []).append(now - last)
                last = now
                if self._over.is_set():
                    return
                if "error" in line and "error" in json.loads(line[6:]):
                    self.gaps.broken.append(line[:300])
                    return
            self.gaps.whole += 1
