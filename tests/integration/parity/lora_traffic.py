"""Random adapter operations under traffic on one real core, with every answer checked.

Each adapter's answer to each prompt is known from a core that has served nobody else, tokens and
logprobs to the last bit. Slots and host memory hold only some of the adapters, so that all of them
move between disk, memory and slots while requests run.
"""

from __future__ import annotations

import gc
import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.lora.request import LoRARequest
from engine.lora.weights import HostAdapter
from engine.messages import AdapterSource, AdapterState, Finish, QueueBody
from engine.runner.build import build_core
from engine.sampling_params import SamplingParams
from tests.unit.engine.lora.adapter_drafts import ALL, BASE_CONFIG, draft

NAMES, VERSIONS = 6, 2  # adapters by name, contents of each
TOKENS, MOST_STEPS = 10, 5000
PROMPTS = ([3, 1, 4, 1, 5], list(range(40)), [*range(32), 9, 2, 6])
Answer = list[tuple[int, float]]  # token, logprob


def make_core(folder: Path) -> EngineCore:
    """A tiny model with room for 2 adapters of a bucket in slots and 5 in memory."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(BASE_CONFIG))
    return build_core(
        EngineConfig(
            model=str(folder),
            load_format="dummy",
            skip_tokenizer_init=True,
            max_num_seqs=8,
            max_num_batched_tokens=24,
            block_size=16,
            num_gpu_blocks_override=16,
            max_loras=2,
            max_cpu_loras=5,
        )
    )


def make_adapters(folder: Path) -> list[list[AdapterSource]]:
    """[name][version]; ranks of two buckets."""
    made = []
    for n in range(NAMES):
        versions = []
        for v in range(VERSIONS):
            rank = (2, 8, 16)[n % 3]
            path = draft(rank, ALL, seed=10 * n + v, lora_alpha=6 * rank**0.5).write(
                folder / f"{n}-{v}"
            )
            versions.append(LoRARequest(f"adapter-{n}", 1, str(path)).source())
        made.append(versions)
    return made


@dataclass
class Driver:
    """Submits, steps, and keeps what every request got."""

    core: EngineCore
    answers: dict[str, Answer] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)

    def submit(self, rid: str, digest: str | None, prompt: list[int]) -> None:
        params = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True, logprobs=0)
        self.answers[rid] = []
        self.open.add(rid)
        self.core.submit(
            QueueBody(
                rid=rid, attempt=1, web="w", model="m", prompts=[prompt], params=params,
                adapter=digest, deadline_ms=0,
            )
        )  # fmt: skip

    def step(self) -> None:
        for delta in self.core.step():
            for choice in delta.choices:
                rows = choice.logprobs or [[] for _ in choice.token_ids]
                self.answers[delta.rid] += [
                    (token, row[0].logprob)
                    for token, row in zip(choice.token_ids, rows, strict=True)
                ]
            if delta.counts is not None:
                self.open.discard(delta.rid)
            if delta.error is not None:
                self.errors[delta.rid] = delta.error.message

    def rest(self) -> None:
        """Step until nothing is left to do; a stall fails."""
        for _ in range(MOST_STEPS):
            if not self.core.has_work():
                return
            self.step()
        raise AssertionError(f"still open after {MOST_STEPS} steps: {sorted(self.open)}")


def cold_answers(
    folder: Path, sources: list[AdapterSource]
) -> dict[tuple[str | None, int], Answer]:
    """By digest and prompt, each from a request that was alone in the engine."""
    driver = Driver(make_core(folder))
    for source in sources:
        driver.core.load_adapter(source)
        for i, prompt in enumerate(PROMPTS):
            driver.core.reset_prefix_cache()
            driver.submit(f"{source.digest}/{i}", source.digest, prompt)
            driver.rest()
        driver.core.unload_adapter(source.digest)
    for i, prompt in enumerate(PROMPTS):
        driver.submit(f"/{i}", None, prompt)
        driver.rest()
    driver.core.close()
    assert not driver.errors
    return {
        (digest or None, int(i)): answer
        for (digest, i), answer in ((rid.split("/"), a) for rid, a in driver.answers.items())
    }


class Traffic:
    """Chooses operations; knows which content each name stands for."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.draw = random.Random(seed)
        self.adapters = make_adapters(folder)
        flat = [source for versions in self.adapters for source in versions]
        self.expected = cold_answers(folder / "base", flat)
        self.driver = Driver(make_core(folder / "base"))
        self.current: dict[int, AdapterSource] = {}  # name → loaded version
        self.asked: dict[str, tuple[str | None, int]] = {}
        self.cancelled: set[str] = set()
        self.done: dict[str, int] = {}

    def run(self, operations: int) -> None:
        """So many operations, one to three requests and a few steps after each."""
        kinds = [self.load, self.unload, self.replace, self.pin, self.replace]
        for _ in range(operations):
            operation = self.draw.choice(kinds)
            if operation():
                self.done[operation.__name__] = self.done.get(operation.__name__, 0) + 1
            for _ in range(self.draw.randint(1, 3)):
                self.ask()
            if self.draw.random() < 0.1 and self.driver.open:
                rid = self.draw.choice(sorted(self.driver.open))
                self.cancelled.add(rid)
                self.driver.core.cancel(rid, Finish.CANCELLED)
            for _ in range(self.draw.randint(1, 12)):
                self.driver.step()
        self.driver.rest()

    def load(self) -> bool:
        name = self.draw.randrange(NAMES)
        self.current.setdefault(name, self.draw.choice(self.adapters[name]))
        self.driver.core.load_adapter(self.current[name])
        return True

    def unload(self) -> bool:
        if not self.current:
            return False
        name = self.draw.choice(sorted(self.current))
        self.driver.core.unload_adapter(self.current.pop(name).digest)
        return True

    def replace(self) -> bool:
        """Another content under the same name; requests for the old one finish."""
        if not self.current:
            return False
        name = self.draw.choice(sorted(self.current))
        old = self.current[name]
        self.current[name] = next(s for s in self.adapters[name] if s.digest != old.digest)
        self.driver.core.load_adapter(self.current[name])
        self.driver.core.unload_adapter(old.digest)
        return True

    def pin(self) -> bool:
        """At most two stay pinned, so that others find room."""
        if not self.current:
            return False
        core, beats = self.driver.core, self.driver.core.adapters()
        pinned = [beat.digest for beat in beats if beat.pinned]
        name = self.draw.choice(sorted(self.current))
        wanted = len(pinned) < 2 and self.current[name].digest not in pinned
        self.current[name] = AdapterSource(
            digest=self.current[name].digest,
            name=self.current[name].name,
            path=self.current[name].path,
            pinned=wanted,
        )
        core.load_adapter(self.current[name])
        return True

    def ask(self) -> None:
        choices: list[str | None] = [None, *(s.digest for s in self.current.values())]
        digest, prompt = self.draw.choice(choices), self.draw.randrange(len(PROMPTS))
        rid = str(len(self.asked))
        self.asked[rid] = digest, prompt
        self.driver.submit(rid, digest, PROMPTS[prompt])

    def check(self) -> None:
        """No wrong answer, nothing lost, nothing left behind."""
        driver = self.driver
        assert driver.errors == {}
        assert driver.open == set()
        wrong = [
            rid
            for rid, asked in self.asked.items()
            if rid not in self.cancelled and driver.answers[rid] != self.expected[asked]
        ]
        assert wrong == [], f"{len(wrong)} of {len(self.asked)} answers differ from a cold engine's"
        states = {beat.state for beat in driver.core.adapters()}
        assert states <= {AdapterState.READY}
        for source in self.current.values():
            driver.core.unload_adapter(source.digest)
        driver.rest()
        gauges = driver.core.gauges()
        assert driver.core.adapters() == []
        assert gauges.lora_slots_used == 0
        assert gauges.blocks_free == gauges.blocks_total
        gc.collect()
        assert not [thing for thing in gc.get_objects() if type(thing) is HostAdapter]
        driver.core.close()
