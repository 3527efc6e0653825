"""Prometheus histograms of answered generation requests, under the names vLLM's boards read.

Observed once per request in the web process that answered it; what must survive a restart (counts,
first-token time, time per token, whole time) comes from the usage sums instead (`apps.usage`).
"""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Histogram

from engine.client import RequestStream
from engine.errors import EngineLost, Overloaded, PagodaError, QuotaExceeded, RateLimited

LATENCY_S = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960)
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
CHOICES = (1, 2, 5, 10, 20)
LABELS = ["model_name"]

QUEUE = Histogram(
    "vllm:request_queue_time_seconds", "Admission to the engine's start.", LABELS, buckets=LATENCY_S
)
PREFILL = Histogram(
    "vllm:request_prefill_time_seconds", "Start to the first token.", LABELS, buckets=LATENCY_S
)
DECODE = Histogram(
    "vllm:request_decode_time_seconds", "First token to the last.", LABELS, buckets=LATENCY_S
)
INFERENCE = Histogram(
    "vllm:request_inference_time_seconds", "Start to the last token.", LABELS, buckets=LATENCY_S
)
PROMPT = Histogram("vllm:request_prompt_tokens", "Prompt tokens.", LABELS, buckets=TOKENS)
COMPLETION = Histogram(
    "vllm:request_generation_tokens", "Generated tokens, all choices.", LABELS, buckets=TOKENS
)
COMPUTED = Histogram(
    "vllm:request_prefill_kv_computed_tokens", "Prompt tokens not cached.", LABELS, buckets=TOKENS
)
ASKED = Histogram("vllm:request_params_max_tokens", "max_tokens.", LABELS, buckets=TOKENS)
WIDTH = Histogram("vllm:request_params_n", "Choices asked for.", LABELS, buckets=CHOICES)
REJECTED = Counter("vllm:admission_rejections", "Requests refused at admission.", ["reason"])
STALLED = Counter("pagoda_slow_readers_cancelled", "Streams whose clients read nothing.")
DISCONNECTED = Counter("pagoda_disconnects", "Clients that left before their answer's end.")
CALLS = Counter("vllm:tool_call_parser_invocations", "Choices read for tool calls.", ["parser"])
for _kind in (RateLimited, QuotaExceeded, Overloaded, EngineLost):
    REJECTED.labels(_kind.code or _kind.type)  # a rate needs a series that begins at zero


@cache
def _of(model: str) -> tuple[Histogram, ...]:
    """The model's children, looked up once: labels cost more than observations."""
    families = (QUEUE, PREFILL, DECODE, INFERENCE, PROMPT, COMPUTED, COMPLETION, WIDTH, ASKED)
    return tuple(family.labels(model) for family in families)


def observe(stream: RequestStream) -> None:
    """Note one request, if its engine has ended it and told the counts."""
    body, counts = stream.body, stream.counts
    if counts is None:
        return
    queue, prefill, decode, inference, prompt, computed, completion, width, asked = _of(body.model)
    queue_s, first_s, total_s = (
        ms / 1000 for ms in (counts.queue_ms, counts.ttft_ms, counts.total_ms)
    )
    queue.observe(queue_s)
    prefill.observe(max(0.0, first_s - queue_s))
    decode.observe(max(0.0, total_s - first_s))
    inference.observe(max(0.0, total_s - queue_s))
    prompt.observe(counts.prompt_tokens)
    computed.observe(counts.prompt_tokens - counts.cached_tokens)
    completion.observe(counts.completion_tokens)
    width.observe(body.params.n)
    if body.params.max_tokens is not None:
        asked.observe(body.params.max_tokens)


def refused(error: PagodaError) -> None:
    """Note a refusal that time will mend: a limit of the caller's or too much to do."""
    if error.status in (429, 503):
        REJECTED.labels(error.code or error.type).inc()
