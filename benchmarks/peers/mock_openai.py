"""An upstream for gateways that costs next to nothing: raw ASGI, prepared bytes.

Plain replies hold 32 tokens. Streams hold CHUNKS chunks (default 128), GAP_MS apart (default 0).
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

CHUNKS = int(os.environ.get("CHUNKS", "128"))
GAP_S = float(os.environ.get("GAP_MS", "0")) / 1000
BASE = {"id": "chatcmpl-mock", "created": 1700000000, "model": "stub"}


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {**BASE, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


# Different texts: some gateways give up on a hundred equal chunks.
STREAM = [event({"content": f"tok{i} "}) for i in range(CHUNKS - 1)] + [event({}, "stop")]
MESSAGE = {"role": "assistant", "content": " ".join(["token"] * 32)}
PLAIN = json.dumps(
    {
        **BASE,
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE}],
        "usage": {"prompt_tokens": 16, "completion_tokens": 32, "total_tokens": 48},
    }
).encode()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if not (body and json.loads(body).get("stream")):
        await start(send, b"application/json")
        await send({"type": "http.response.body", "body": PLAIN if body else b"{}"})
        return
    await start(send, b"text/event-stream")
    loop = asyncio.get_running_loop()
    began = loop.time()
    for i, chunk in enumerate(STREAM):
        if GAP_S:  # an absolute schedule: lateness does not add up
            await asyncio.sleep(max(0.0, began + i * GAP_S - loop.time()))
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def start(send: Any, kind: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
