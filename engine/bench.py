"""`python -m engine.bench latency|throughput|startup`: the engine alone, without HTTP and Redis.

Reached as `pagoda bench …`. Prints one JSON object; prompts are random token ids.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.config import EngineConfig
from engine.errors import PagodaError
from engine.llm import LLM
from engine.sampling_params import SamplingParams

Figures = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(argv)
    names = (option.name for option in dataclasses.fields(EngineConfig))
    texts = {n: getattr(given, n) for n in names if getattr(given, n) is not None}
    try:
        figures = _MEASURES[given.what](given, texts)
    except PagodaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps({"bench": given.what, **figures}) + "\n")
    return 0


def latency(given: argparse.Namespace, texts: Mapping[str, str]) -> Figures:
    """Seconds from a batch's arrival to its last token."""
    with _llm(texts) as llm:
        prompts = _prompts(llm, given.batch_size, given.input_len)
        params = SamplingParams(temperature=0, max_tokens=given.output_len, ignore_eos=True)
        seconds = []
        for turn in range(given.warmup + given.repeat):
            llm.reset_prefix_cache()  # the same prompts each time, computed each time
            began = time.perf_counter()
            llm.generate(prompts, params, use_tqdm=False)
            if turn >= given.warmup:
                seconds.append(time.perf_counter() - began)
    shape = {name: getattr(given, name) for name in ("batch_size", "input_len", "output_len")}
    return {**shape, "repeat": given.repeat, **_spread(seconds)}


def throughput(given: argparse.Namespace, texts: Mapping[str, str]) -> Figures:
    """Requests and tokens a second when all requests wait from the start."""
    with _llm(texts) as llm:
        warm, *prompts = _prompts(llm, given.num_prompts + 1, given.input_len)
        params = SamplingParams(temperature=0, max_tokens=given.output_len, ignore_eos=True)
        llm.generate([warm], params, use_tqdm=False)
        began = time.perf_counter()
        outputs = llm.generate(prompts, params)
        seconds = time.perf_counter() - began
    made = sum(len(output.outputs[0].token_ids) for output in outputs)
    asked = sum(map(len, prompts))
    return {
        "requests": len(prompts),
        "seconds": round(seconds, 4),
        "requests_per_s": round(len(prompts) / seconds, 3),
        "output_tokens_per_s": round(made / seconds, 1),
        "total_tokens_per_s": round((asked + made) / seconds, 1),
    }


def startup(given: argparse.Namespace, texts: Mapping[str, str]) -> Figures:
    """Seconds from the start of a process to its first token, in a fresh process each time."""
    if given.once:
        with _llm(texts) as llm:
            llm.generate([[1]], SamplingParams(max_tokens=1), use_tqdm=False)
        return {}
    flags = [f"--{name.replace('_', '-')}={text}" for name, text in texts.items()]
    argv = [sys.executable, "-m", "engine.bench", "startup", "--once", *flags]
    seconds = []
    for _ in range(given.repeat):
        began = time.perf_counter()
        done = subprocess.run(argv, stdout=subprocess.DEVNULL)
        if done.returncode:
            raise PagodaError(f"The engine did not start (exit code {done.returncode}).")
        seconds.append(time.perf_counter() - began)
    return {"repeat": given.repeat, **_spread(seconds)}


_MEASURES: Mapping[str, Callable[[argparse.Namespace, Mapping[str, str]], Figures]] = {
    "latency": latency,
    "throughput": throughput,
    "startup": startup,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pagoda bench", allow_abbrev=False)
    what = parser.add_subparsers(dest="what", required=True)
    each = {name: what.add_parser(name, help=run.__doc__) for name, run in _MEASURES.items()}
    each["latency"].add_argument("--batch-size", type=int, default=8)
    each["latency"].add_argument("--warmup", type=int, default=2)
    each["throughput"].add_argument("--num-prompts", type=int, default=200)
    each["startup"].add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    for name in ("latency", "startup"):
        each[name].add_argument("--repeat", type=int, default=5, help="runs measured")
    for name in ("latency", "throughput"):
        each[name].add_argument("--input-len", type=int, default=32, help="tokens of each prompt")
        each[name].add_argument("--output-len", type=int, default=128, help="tokens of each answer")
    for one in each.values():
        for option in dataclasses.fields(EngineConfig):
            flag, words = f"--{option.name.replace('_', '-')}", option.metadata["help"]
            one.add_argument(flag, nargs="?", const="true", help=words.replace("%", "%%"))
    return parser


def _llm(texts: Mapping[str, str]) -> LLM:
    """Raises `EngineStartError`."""
    config = EngineConfig.from_texts(dict(texts))
    options = dataclasses.asdict(config)
    return LLM(options.pop("model"), **options)


def _prompts(llm: LLM, count: int, tokens: int) -> list[list[int]]:
    draw = random.Random(0)
    vocab = llm.core.runner.vocab_size
    return [[draw.randrange(vocab) for _ in range(tokens)] for _ in range(count)]


def _spread(seconds: Sequence[float]) -> Figures:
    ordered = sorted(seconds)
    return {
        "mean_s": round(statistics.fmean(ordered), 5),
        "median_s": round(statistics.median(ordered), 5),
        "min_s": round(ordered[0], 5),
        "max_s": round(ordered[-1], 5),
    }


if __name__ == "__main__":
    sys.exit(main())
