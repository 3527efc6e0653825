"""Adapters on the CPU: the demo model with adapters beside itself without, in turns in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.make_adapters import make_adapters
from benchmarks.rows import Row
from benchmarks.workloads import ragged
from engine import LLM, LoRARequest, SamplingParams

DEMO = Path(__file__).parents[1] / "demo" / "pagoda-demo"
RANK, FEW, MANY, SLOTS = 16, 8, 64, 16
Loras = list[LoRARequest | None]


def open_model(**options: object) -> LLM:
    return LLM(str(DEMO), enable_prefix_caching=False, max_num_seqs=64, **options)


def speed(llm: LLM, loras: Loras) -> float:
    """Output tokens a second; request i uses loras[i mod their number]."""
    work = ragged(vocab=4000)
    params = [SamplingParams(temperature=0, max_tokens=n, ignore_eos=True) for _, n in work]
    prompts = [{"prompt_token_ids": prompt} for prompt, _ in work]
    spread = [loras[i % len(loras)] for i in range(len(work))]
    start = time.perf_counter()
    llm.generate(prompts, params, use_tqdm=False, lora_request=spread)
    return sum(n for _, n in work) / (time.perf_counter() - start)


def in_turns(
    ours: tuple[LLM, Loras], control: tuple[LLM, Loras], repeat: int
) -> tuple[float, float]:
    """Medians, after one untimed turn of each."""
    pairs = [(speed(*ours), speed(*control)) for _ in range(repeat + 1)][1:]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def rows(folder: Path, repeat: int) -> Iterator[Row]:
    paths = make_adapters(DEMO, folder / "adapters", MANY, RANK)
    loras: Loras = [LoRARequest(path.name, i, str(path)) for i, path in enumerate(paths, 1)]
    base: Loras = [None]
    with open_model(max_loras=FEW) as llm:
        mixed, alone = in_turns((llm, [*loras[:FEW], None]), (llm, base), repeat)
        yield _row("lora-mixed", mixed, "base rows only, same engine", alone, 0.8)
        with open_model(enable_lora=False) as without:
            idle, plain = in_turns((llm, base), (without, base), repeat)
            yield _row("lora-idle", idle, "the same engine without LoRA", plain, 0.99)
    with open_model(max_loras=SLOTS) as llm:
        crowd, alone = in_turns((llm, loras), (llm, base), repeat)
        yield _row("lora-crowd", crowd, "base rows only, same engine", alone, None)


def _row(name: str, ours: float, control: str, value: float, goal: float | None) -> Row:
    return Row(
        row=name,
        unit="output tokens/s",
        ours=ours,
        control=control,
        control_value=value,
        goal=goal,
        detail={"rank": RANK},
    )
