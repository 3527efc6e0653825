"""Texts of requests on a running installation: kept for the key that asks for it, for no other."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.stack import Stack

MAKE = """
from apps.api.models import Owner
from apps.api.services import key_create
owner = Owner.objects.get(name="tests")
made = [key_create(owner=owner, name=name, keep_bodies_days=days)[1]
        for name, days in (("keeps", 3), ("silent", None))]
print(json.dumps(made))
"""
READ = """
import time, dataclasses
from apps.usage.bodies import body_read, request_read
from apps.usage.models import StoredBody, UsageRecord
wanted = json.loads(sys.argv[1])
for _ in range(600):
    if not set(wanted) - set(StoredBody.objects.values_list("rid", flat=True)):
        break
    time.sleep(0.1)
found = {rid: {"said": body_read(rid).said, "answer": body_read(rid).answer,
               "request": request_read(rid)} for rid in wanted}
print(json.dumps({"found": found, "stored": StoredBody.objects.count(),
                  "keys": list(StoredBody.objects.values_list("key_id", flat=True).distinct())}))
"""
SECRET = "correct horse battery staple"
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 9}


def post(stack: Stack, key: str, body: dict[str, Any], route: str = "chat/completions") -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    with stack.http(headers=headers) as client:
        return client.post(f"/v1/{route}", json=body)


def test_texts_are_kept_for_the_key_that_asks_for_it_and_for_no_other(stack: Stack) -> None:
    keeps, silent = json.loads(stack.manage(MAKE))
    whole = post(stack, keeps, CHAT)
    streamed = post(stack, keeps, CHAT | {"stream": True})
    plain = {"model": "tiny", "prompt": SECRET, "max_tokens": 9, "stream": True, "n": 2}
    completion = post(stack, keeps, plain, "completions")
    quiet = [post(stack, silent, CHAT), post(stack, silent, CHAT | {"stream": True})]
    refused = post(stack, keeps, CHAT | {"max_tokens": -1})  # never admitted: no row, no text
    assert [r.status_code for r in (whole, streamed, completion, *quiet)] == [200] * 5
    assert refused.status_code == 400
    whole_rid, streamed_rid, completion_rid = (
        reply.headers["x-request-id"] for reply in (whole, streamed, completion)
    )
    told = json.loads(stack.manage(READ, json.dumps([whole_rid, streamed_rid, completion_rid])))
    found = told["found"]
    assert told["stored"] == 3
    assert told["keys"] == [keeps.split("_")[1][:8]]
    assert found[whole_rid]["request"] == CHAT
    assert json.loads(found[whole_rid]["answer"]) == whole.json()
    assert found[streamed_rid]["said"] == text_of(streamed)
    assert found[streamed_rid]["answer"] == streamed.text
    assert len(found[completion_rid]["said"].split("\n\n")) == 2
    logs = "".join(stack.log(name) for name in stack.processes)
    assert SECRET not in logs
    assert not redis_holds(stack, SECRET)


def text_of(reply: httpx.Response) -> str:
    chunks = [json.loads(line[6:]) for line in reply.text.split("\n") if line.startswith("data: {")]
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )


def redis_holds(stack: Stack, text: str) -> bool:
    """Whether any value of Redis has the text in it."""
    import redis

    with redis.Redis.from_url(stack.redis_url) as client:
        dumps = [client.dump(key) or b"" for key in client.scan_iter(count=1000)]
    return any(text.encode() in dump for dump in dumps)
