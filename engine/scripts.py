"""The Lua scripts as typed calls. A `Call` is data; `run` and `run_async` send it by EVALSHA.

Every effect that must happen wholly or not at all is one call: see engine/lua/README.md.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec
import redis
import redis.asyncio

from engine import redis_keys
from engine.messages import Bill, Control, Counts, Finish, QueueBody, decoded, pack

BUDGETS = {"budget": ("spent", "held"), "money": ("paid", "owed")}
STAMPS = {"day": ":%Y-%m-%d", "month": ":%Y-%m"}
PERIOD_MS = {"": 0, "day": 3 * 86_400_000, "month": 62 * 86_400_000}  # their keys live longer
CONTROL_PREFIX = redis_keys.control("")
MAX_DEATHS = 2  # engines one request may outlive; the next death ends it as poison
_packer = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Script:
    """Text of one script with its includes, and the digest Redis knows it by."""

    name: str
    text: str
    sha: str


@dataclass(frozen=True, slots=True)
class Call:
    """One script call, ready to send."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str | bytes | int]

    def command(self) -> tuple[Any, ...]:
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)


@cache
def script(name: str) -> Script:
    """Read `engine/lua/NAME.lua`, resolving `-- include: OTHER` in its first line."""
    text = (files("engine") / "lua" / f"{name}.lua").read_text()
    first = text.partition("\n")[0]
    if first.startswith("-- include: "):
        text = script(first.removeprefix("-- include: ").strip()).text + "\n" + text
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class AdmitArgs(msgspec.Struct, kw_only=True):
    """Named arguments of admit.lua. A rule is (kind, key, second key, limit), for budgets with the
    ms that their keys live (0: for ever) and what the request holds."""

    rid: str
    attempt: int
    web: str
    key_id: str
    key_epoch: int
    catalog_epoch: int
    epoch: str
    rules: list[tuple[Any, ...]]
    reserve: int
    deadline: int
    group: str = redis_keys.QUEUE_GROUP
    queue_entries: int
    queue_bytes: int
    usage_entries: int


class LedgerEntry(msgspec.Struct):
    """Value of `pgd:open`, written by Lua only (engine/lua/README.md)."""

    attempt: int
    state: Literal["queued", "lost"]
    queue: str
    sid: str
    web: str
    deadline: int
    reserve: int
    bill: dict[str, Any]
    rules: Any = ()
    deaths: int = 0
    engine: str = ""
    cancel: str = ""


def read_entry(packed: bytes) -> LedgerEntry:
    """Raises `msgspec.DecodeError`."""
    entry: LedgerEntry = decoded(packed, LedgerEntry)
    return entry


def rule_keys(kind: str, subject: str, period: str = "", now_s: float = 0.0) -> tuple[str, str]:
    """The one or two keys a rule lives in; the second is empty for all but budgets. Those with a
    period have keys of their own in each: `now_s` is Unix time."""
    if kind not in BUDGETS:
        return redis_keys.limit(kind, subject), ""
    if period:
        subject += time.strftime(STAMPS[period], time.gmtime(now_s))
    spent, held = BUDGETS[kind]
    return redis_keys.limit(spent, subject), redis_keys.limit(held, subject)


def admit(args: AdmitArgs, queue: str, body: QueueBody, bill: Bill, clock: str = "") -> Call:
    keys = (
        redis_keys.OPEN,
        redis_keys.USAGE,
        queue,
        redis_keys.guard(args.rid, args.attempt),
        redis_keys.KEYS_EPOCH,
        redis_keys.CATALOG_EPOCH,
        redis_keys.EPOCH,
        redis_keys.queue_bytes(queue),
        redis_keys.HOLDS,
    )
    return Call(script("admit"), keys, (_packer.encode(args), pack(body), pack(bill), clock))


def requeue(body: QueueBody, bill: Bill, clock: str = "") -> Call:
    """`body.attempt` is the new attempt."""
    keys = (redis_keys.OPEN, redis_keys.guard(body.rid, body.attempt))
    args = (body.rid, body.attempt, pack(body), pack(bill), MAX_DEATHS, clock)
    return Call(script("requeue"), keys, args)


def cancel(rid: str, control: Control, finish: Finish, error: str = "", clock: str = "") -> Call:
    keys = (redis_keys.OPEN, redis_keys.USAGE, redis_keys.guard(rid, 1))
    return Call(script("cancel"), keys, (rid, CONTROL_PREFIX, pack(control), finish, error, clock))


Who = Literal["owner", "lost", "any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a request ends; see terminal.lua for who may end what."""

    rid: str
    attempt: int
    web: str
    finish: Finish
    who: Who
    sid: str = ""
    engine: str = ""
    error: str = ""
    counts: Counts | None = None
    frame: bytes = b""


def terminal(end: Ending, clock: str = "") -> Call:
    keys = (
        redis_keys.OPEN,
        redis_keys.USAGE,
        redis_keys.reply(end.web),
        redis_keys.checkpoint(end.engine),
    )
    counts = b"" if end.counts is None else _packer.encode(end.counts)
    args = (
        end.rid, end.attempt, end.who, end.sid, end.finish, end.engine, end.error, counts,
        end.frame, clock,
    )  # fmt: skip
    return Call(script("terminal"), keys, args)


def judge(
    *, queue: str, sid: str, rid: str, attempt: int, web: str, engine: str, frame: bytes,
    clock: str = "",
) -> Call:  # fmt: skip
    keys = (
        redis_keys.OPEN,
        redis_keys.USAGE,
        queue,
        redis_keys.reply(web),
        redis_keys.checkpoint(engine),
    )
    args = (rid, attempt, redis_keys.QUEUE_GROUP, sid, engine, frame, clock)
    return Call(script("judge"), keys, args)


def heal() -> Call:
    return Call(script("heal"), (redis_keys.OPEN, redis_keys.HOLDS), ())


def text(value: Any) -> str:
    """A reply's string, whichever type the connection gives it."""
    return value.decode() if isinstance(value, bytes) else str(value)


def run(client: redis.Redis, call: Call) -> Any:
    """Send one call; loads the script when Redis does not know it."""
    send: Any = client.execute_command
    try:
        return send(*call.command())
    except redis.exceptions.NoScriptError:
        client.script_load(call.script.text)
        return send(*call.command())


async def run_all_async(client: redis.asyncio.Redis, calls: Sequence[Call]) -> list[Any]:
    """Send calls in one round trip, in order. An error is handed back in its place."""
    pipeline = client.pipeline(transaction=False)
    for call in calls:
        pipeline.execute_command(*call.command())
    replies: list[Any] = await pipeline.execute(raise_on_error=False)
    for index, reply in enumerate(replies):
        if isinstance(reply, redis.exceptions.NoScriptError):
            await client.script_load(calls[index].script.text)
            replies[index] = (await run_all_async(client, [calls[index]]))[0]
    return replies
