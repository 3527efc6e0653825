"""What travels through Redis: msgspec structs packed as MessagePack, each with a version.

Web → engine: `QueueBody` (an entry of `pgd:q:{model}:{lane}`) and `Control` (`pgd:ctl:{engine}`).
Engine → web: one `Frame` per step and web process (`pgd:reply:{web}`).
Engine → settler: `UsageEvent` (`pgd:usage`). Everyone: `EngineBeat`, `WebBeat`.
The ledger entry in `pgd:open` is written by Lua only; `engine/lua/README.md` gives its fields.
A reader that meets another version refuses the message by name and never guesses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from engine.pooling.params import PoolingParams
from engine.sampling_params import SamplingParams
from engine.step_figures import StepFigures

WIRE_VERSION = 1
S = TypeVar("S", bound=msgspec.Struct)


class Message(msgspec.Struct, tag_field="version", tag=WIRE_VERSION):
    """What is read by a process that may run another build. The tag is always written (a default
    would be left out) and checked by the decoder; in an array it comes first."""


class Finish(StrEnum):
    """Why a choice (or a whole request) ended. The first three reach clients as finish_reason."""

    STOP = "stop"
    LENGTH = "length"
    REPETITION = "repetition"  # repetition_detection saw its pattern
    CANCELLED = "cancelled"  # the client left, or a deadline passed: rows only
    LOST = "lost"  # its engine died after the first byte: rows only
    ERROR = "error"  # refused or failed in the engine: rows only


class TokenLogprob(msgspec.Struct, array_like=True, frozen=True):
    """One candidate at one position: raw log-softmax of the model, natural log."""

    token_id: int
    logprob: float
    rank: int  # 1 = most likely; 0 = nobody asked for it


class QueueBody(Message, kw_only=True, omit_defaults=True):
    """One admitted request. `width` sequences = len(prompts) × params.n; text never travels."""

    rid: str
    attempt: int
    web: str
    model: str  # name of the served base model = name of its queue
    prompts: list[list[int]]
    params: SamplingParams
    pooling: PoolingParams | None = None  # vectors instead of tokens; then `params` says n = 1
    adapter: str | None = None  # content digest of the adapter version
    priority: int = 0
    salt: bytes = b""  # HMAC over the tenant; part of every prefix-cache hash
    deadline_ms: int  # Redis clock
    admitted_ms: int = 0  # Redis clock

    @property
    def width(self) -> int:
        return len(self.prompts) * self.params.n


class ErrorInfo(msgspec.Struct, array_like=True, frozen=True):
    """A `PagodaError` on the wire: rebuilt by class name on the web side."""

    kind: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None


class ChoiceDelta(msgspec.Struct, array_like=True):
    """New tokens of one choice (index = prompt × n + choice)."""

    index: int
    token_ids: list[int]
    logprobs: list[list[TokenLogprob]] | None = None  # per token; chosen token first
    finish: Finish | None = None
    stop_reason: str | int | None = None  # the stop string or stop token id that matched
    keep_chars: int | None = None  # total characters of this choice's text to show (stop strings)
    vector: bytes | None = None  # of pooling: float32, little-endian; per-token tasks: rows

    def extend(self, more: ChoiceDelta) -> None:
        """Take the next tokens of the same choice in."""
        if more.logprobs is not None:
            self.logprobs = self.logprobs or []
            self.logprobs += more.logprobs
        self.token_ids += more.token_ids
        self.finish, self.stop_reason = more.finish, more.stop_reason
        self.keep_chars = more.keep_chars  # None at the end: all of the text may be shown


class Counts(msgspec.Struct, array_like=True, frozen=True):
    """Truth of one request, counted at the sampler. Milliseconds from admission."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    queue_ms: int = 0
    ttft_ms: int = 0
    total_ms: int = 0


class EventKind(StrEnum):
    STARTED = "started"  # an engine owns this attempt; always seq 0
    DELTA = "delta"
    END = "end"  # sent by the terminal script; carries counts
    REFUSED = "refused"  # ended with `error` before or after tokens; carries counts
    LOST = "lost"  # sent by the judge: the owning engine is dead


class Delta(msgspec.Struct, array_like=True):
    """Everything one request gets from one step. `seq` rises by one per event of an attempt."""

    rid: str
    attempt: int
    seq: int
    kind: EventKind
    choices: list[ChoiceDelta] = []
    prompt_logprobs: list[list[list[TokenLogprob] | None]] | None = None  # [prompt][position]
    counts: Counts | None = None
    error: ErrorInfo | None = None


class Frame(Message, array_like=True):
    """All deltas of one step for one web process."""

    engine: str
    deltas: list[Delta]


class ControlKind(StrEnum):
    ABORT = "abort"
    DRAIN = "drain"
    RESUME = "resume"
    SLEEP = "sleep"  # drain, and give the KV cache's memory back; `RESUME` takes it again
    FORGET_PREFIXES = "forget_prefixes"  # of all prompts before
    START_PROFILE = "start_profile"  # trace what is computed from now on
    STOP_PROFILE = "stop_profile"  # write the trace down
    VIEW = "view"  # answered by `pgd:view:{engine}`; see engine/view.py
    LOAD_ADAPTER = "load_adapter"  # idempotent; a known digest takes the new name and pin
    UNLOAD_ADAPTER = "unload_adapter"  # idempotent; only the digest of `adapter` is read


class AdapterSource(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One validated adapter version: where its two files lie on the engine's host."""

    digest: str  # engine.lora.digest of the two files; checked again when they are read
    name: str = ""  # for people; requests and caches know the digest only
    path: str = ""  # folder of adapter_config.json and adapter_model.safetensors
    pinned: bool = False  # stays in host memory, whatever else is wanted


class Control(Message, kw_only=True, omit_defaults=True):
    """A message to one engine's I/O thread."""

    kind: ControlKind
    rid: str = ""
    attempt: int = 0
    adapter: AdapterSource | None = None


class UsageEvent(Message, kw_only=True, omit_defaults=True):
    """One ended request on its way to the database. Exactly one per admitted rid."""

    rid: str
    finish: Finish
    counts: Counts
    attempts: int = 1
    engine: str = ""
    error: str = ""  # error class name, never text
    ended_ms: int = 0  # Redis clock
    bill: dict[str, Any] = {}  # `Bill` of the admission, snapshotted in the ledger


class Bill(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Names and prices frozen at admission, so that later edits change no old row."""

    key_id: str
    key_name: str = ""
    owner_id: str = ""
    owner_name: str = ""
    model: str = ""
    adapter: str = ""
    adapter_digest: str = ""
    route: str = ""
    stream: bool = False
    price_version: int = 0
    input_micros: int = 0  # micro-units of money per million prompt tokens
    cached_micros: int = 0
    output_micros: int = 0
    client_request_id: str = ""


class EngineState(StrEnum):
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class AdapterState(StrEnum):
    LOADING = "loading"
    READY = "ready"  # requests are served, if need be after a read from disk
    DRAINING = "draining"  # takes no new requests; those here finish, then it is forgotten
    FAILED = "failed"  # `cause` says why; another LOAD_ADAPTER tries again


class Residency(StrEnum):
    """The nearest place to the computation that holds an adapter's weights."""

    SLOT = "slot"
    HOST = "host"
    DISK = "disk"


class AdapterBeat(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One adapter as an engine knows it. An unloaded one is no longer listed."""

    digest: str
    name: str
    state: AdapterState
    residency: Residency = Residency.DISK
    rank: int = 0  # largest of its modules; 0 until it was read once
    bytes: int = 0  # of its weights in memory
    hits: int = 0  # requests this engine accepted for it
    pinned: bool = False
    cause: str = ""


class EngineBeat(Message, kw_only=True, omit_defaults=True):
    """Value of `pgd:engine:{id}`, TTL 3 s, written each second by the engine's I/O thread."""

    engine: str
    model: str
    state: EngineState
    host: str = ""
    pid: int = 0
    epoch: str = ""  # pgd:epoch as this engine saw it
    started_ms: int = 0
    phase: str = ""  # of loading: "weights", "kv cache", "warm-up"
    done_bytes: int = 0
    total_bytes: int = 0
    cause: str = ""  # when failed
    fix: str = ""
    steps: int = 0
    step_age_ms: int = 0  # since the step loop last turned; 0 while idle
    busy_ms: int = 0  # of all steps together
    memory_bytes: int = 0  # of this process, resident
    running: int = 0
    waiting: int = 0
    blocks_total: int = 0
    blocks_free: int = 0  # free or evictable
    blocks_cached: int = 0
    max_model_len: int = 0
    kv_tokens: int = 0  # capacity of the KV cache
    task: str = ""  # embed, classify or token_classify; chat: generates and has a template for it
    counters: dict[str, int] = {}  # names of `EngineCounters`, ever growing
    figures: StepFigures | None = None
    adapters: list[AdapterBeat] = []
    lora_slots_used: int = 0
    lora_slots_total: int = 0  # of the rank buckets in use; 0 until an adapter is registered
    asleep: bool = False  # by order, without memory for its KV cache
    profiling: bool = False


class EngineCounters(msgspec.Struct):
    """Ever-growing figures of one engine process; tests and /metrics read them."""

    steps: int = 0
    mixed_steps: int = 0  # steps that hold both decode and prefill rows
    prompt_tokens: int = 0
    generation_tokens: int = 0
    preemptions: int = 0
    prefix_queried_tokens: int = 0
    prefix_hit_tokens: int = 0
    chunked_prompts: int = 0  # prompts that took three or more chunks
    finished: int = 0
    stopped_choices: int = 0  # by a stop string or token
    full_choices: int = 0  # at their length
    aborted: int = 0
    failed: int = 0


class WebBeat(Message, kw_only=True, omit_defaults=True):
    """Value of `pgd:web:{id}`, TTL 3 s."""

    web: str
    host: str = ""
    pid: int = 0
    open_requests: int = 0
    draining: bool = False
    keys_epoch_seen: int = 0


_encoder = msgspec.msgpack.Encoder()


def pack(message: msgspec.Struct) -> bytes:
    return _encoder.encode(message)


def unpack(kind: type[S], data: bytes) -> S:
    """Decode and check the version. Raises `WireMismatch` for anything we cannot read."""
    try:
        found: S = decoded(data, kind)
        return found
    except msgspec.DecodeError as error:
        version = _version_of(data)
        if version != WIRE_VERSION:
            raise OtherVersion(
                f"{kind.__name__} has version {version}; this build reads {WIRE_VERSION}."
            ) from None
        raise WireMismatch(f"{kind.__name__} could not be read: {error}") from None


def decoded(data: bytes, kind: Any = Any) -> Any:
    """MessagePack as `kind`. Raises `msgspec.DecodeError` for all it cannot read: the library has
    errors of other kinds for text that is no UTF-8, and for nesting too deep."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def _version_of(data: bytes) -> int:
    """The version a message names; ours when it names none."""
    try:
        found = decoded(data)
    except msgspec.DecodeError:
        return WIRE_VERSION
    named = [found.get("version")] if isinstance(found, dict) else found
    return named[0] if isinstance(named, list) and named and type(named[0]) is int else WIRE_VERSION


class WireMismatch(ValueError):
    """A message of another version or form: refuse it, log it, never act on a guess."""


class OtherVersion(WireMismatch):
    """A message of another version: a process of that version can read it."""
