"""Names of all Redis keys, in one place. Lua gets them as arguments and builds none itself."""

from __future__ import annotations

LANES = ("high", "batch")
CROWDED = "batch"  # the lane of a key's requests beyond its share
QUEUE_GROUP = "engines"
USAGE_GROUP = "settlers"

OPEN = "pgd:open"  # hash: rid → ledger entry
USAGE = "pgd:usage"  # stream: ended requests waiting for the database
EPOCH = "pgd:epoch"  # random string, set once; another value means Redis lost its data
KEYS_EPOCH = "pgd:keys:epoch"  # hash: key public id → version, "*" for all keys
CATALOG_EPOCH = "pgd:catalog:epoch"  # counter, bumped by every load, unload and rename
JUDGE_LOCK = "pgd:lock:judge"
JUDGE_WAKE = "pgd:wake:judge"  # list: an engine's id, pushed when its parent saw it die
HOLDS = "pgd:lim:holds"  # set: keys of all budget holds
QUEUES = "pgd:queues"  # set: every queue an engine has ever read
AGENT_WAKE = "pgd:wake:agent"  # channel: desired state changed, reconcile now
ALERTS = "pgd:alerts"  # hash: trouble → JSON of the message that was sent of it
AGENT_FAILED = "pgd:agent:failed"  # hash: model → JSON {cause, fix} of what does not start


def queue(model: str, lane: str) -> str:
    return f"pgd:q:{model}:{lane}"


def queue_bytes(queue_key: str) -> str:
    """Counter of the bytes that wait in one queue."""
    return f"{queue_key}:bytes"


def reply(web: str) -> str:
    return f"pgd:reply:{web}"


def control(engine: str) -> str:
    return f"pgd:ctl:{engine}"


def engine_beat(engine: str) -> str:
    return f"pgd:engine:{engine}"


def engine_view(engine: str) -> str:
    """The engine's last `EngineView`, kept for seconds."""
    return f"pgd:view:{engine}"


def view_asked(engine: str) -> str:
    """Set while a view was asked for: many watchers cost one question a second."""
    return f"pgd:view:asked:{engine}"


def web_beat(web: str) -> str:
    return f"pgd:web:{web}"


def guard(rid: str, attempt: int) -> str:
    return f"pgd:enq:{rid}:{attempt}"


def checkpoint(engine: str) -> str:
    return f"pgd:run:{engine}"


def limit(kind: str, subject: str) -> str:
    """`kind` is rpm, tpm, slots, spent, held, paid or owed; `subject` is key:<id>, owner:<id>
    or model:<name>, for a budget with a period followed by :<day or month>."""
    return f"pgd:lim:{kind}:{subject}"
