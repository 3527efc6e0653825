"""What callers write, what a model answers and the text of keys stay out of logs, metrics and
Redis."""

from __future__ import annotations

from typing import Any

import httpx
import redis

from tests.integration.api.test_generation import open_requests, until
from tests.stack import MODEL, Stack

WORD = "Kanarienvogel-7f3a9c"
TALK = [{"role": "user", "content": f"{WORD} says hello"}]
TOOL = {"type": "function", "function": {"name": "f", "description": WORD}}


def asked(client: httpx.Client, key: str) -> list[int]:
    """Good and bad requests that hold the word everywhere; their statuses."""
    chat: dict[str, Any] = {"model": MODEL, "messages": TALK, "max_tokens": 4, "user": WORD}
    text = {"model": MODEL, "prompt": WORD, "max_tokens": 4}
    bad = {"Authorization": f"Bearer {WORD}"}
    mine = {"Authorization": f"Bearer {key}"}
    return [
        client.post(path, json=body, headers=headers).status_code
        for path, body, headers in (
            ("/v1/chat/completions", chat, mine),
            ("/v1/chat/completions", chat | {"stream": True, "metadata": {"a": WORD}}, mine),
            ("/v1/completions", text | {"stop": [WORD], "echo": True}, mine),
            ("/v1/completions", text | {"n": 99}, mine),
            ("/v1/completions", text | {"model": WORD}, mine),
            ("/v1/chat/completions", chat | {"tools": [TOOL, {"type": WORD}]}, mine),
            ("/v1/completions", text | {WORD: 1, "guided_regex": f"({WORD}"}, mine),
            ("/tokenize", {"model": MODEL, "prompt": WORD}, mine),
            ("/v1/completions", text, bad),
        )
    ]


def test_words_and_keys_are_found_nowhere(stack: Stack, client: httpx.Client) -> None:
    made = client.post("/api/keys", json={"name": "canary", "scopes": ["inference"]}).json()
    secret = made["key"].split("_")[2][:20]
    assert asked(client, made["key"]) == [200, 200, 200, 400, 404, 400, 400, 200, 401]
    until(lambda: open_requests(stack) == 0)
    places = {name: stack.log(name).encode() for name in stack.processes if name != "redis"}
    places["metrics"] = client.get("/metrics").content
    with redis.Redis.from_url(stack.redis_url) as found:
        found.config_set("rdbcompression", "no")
        places |= {f"Redis {k!r}": found.dump(k) or b"" for k in found.scan_iter(count=1000)}
    assert len(places) > 5
    holds = [name for name, text in places.items() if WORD.encode() in text]
    assert holds == []
    assert [name for name, text in places.items() if secret.encode() in text] == []
