"""Completions and chat over a real socket."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import redis

from engine import redis_keys
from engine.messages import EngineBeat, WebBeat, unpack
from tests.served import LIMIT_S, wait_for
from tests.stack import Stack

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
MIB = 1024 * 1024


def events(reply: httpx.Response) -> list[Any]:
    data = [line[6:] for line in reply.text.split("\n\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in data]


def beat(stack: Stack) -> EngineBeat:
    with redis.Redis.from_url(stack.redis_url) as client:
        packed = client.get(redis_keys.engine_beat("engine"))
    assert isinstance(packed, bytes)
    return unpack(EngineBeat, packed)


def until(check: Callable[[], bool]) -> None:
    wait_for(check, what="it")


def open_requests(stack: Stack) -> int:
    with redis.Redis.from_url(stack.redis_url) as client:
        return int(client.hlen(redis_keys.OPEN))


def web_requests(stack: Stack) -> int:
    """Requests the live web processes hold open, by their own heartbeats."""
    with redis.Redis.from_url(stack.redis_url) as client:
        packed = [client.get(key) for key in client.scan_iter(redis_keys.web_beat("*"))]
    return sum(unpack(WebBeat, beat).open_requests for beat in packed if isinstance(beat, bytes))


def raw_request(
    stack: Stack, body: dict[str, Any], path: str = "/v1/completions", base: str = ""
) -> socket.socket:
    """Send a request on a socket of our own and leave the answer unread."""
    content = json.dumps(body).encode()
    target = urlsplit(base or stack.base)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((target.hostname, target.port))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.keys['full']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    sock.sendall(head.encode() + content)
    return sock


def test_streamed_and_whole_answers_agree(client: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": "hello", "max_tokens": 20}
    whole = client.post("/v1/completions", json=body).json()
    streamed = events(client.post("/v1/completions", json=body | {"stream": True}))
    assert streamed[-1] == "[DONE]"
    text = "".join(event["choices"][0]["text"] for event in streamed[:-1])
    assert text == whole["choices"][0]["text"]
    assert streamed[-2]["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 20


def test_usage_comes_last_and_only_when_asked(client: httpx.Client) -> None:
    body = CHAT | {"max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}}
    found = events(client.post("/v1/chat/completions", json=body))
    assert found[-2]["choices"] == []
    assert found[-2]["usage"]["completion_tokens"] == 3
    without = events(
        client.post("/v1/chat/completions", json=CHAT | {"stream": True, "max_tokens": 3})
    )
    assert not any("usage" in event for event in without[:-1])


def test_choices_are_numbered_prompt_by_prompt(client: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": ["a", "b"], "n": 2, "max_tokens": 2}
    reply = client.post("/v1/completions", json=body).json()
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2, 3]
    assert reply["usage"]["completion_tokens"] == 8


def test_echo_puts_the_prompt_first(client: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": "hello", "max_tokens": 1, "echo": True}
    assert (
        client.post("/v1/completions", json=body).json()["choices"][0]["text"].startswith("hello")
    )


def test_headers_tell_ids_timing_and_what_was_ignored(client: httpx.Client) -> None:
    body = CHAT | {"max_tokens": 1, "zebra": 1}
    reply = client.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "mine-7"})
    assert reply.json()["id"] == "chatcmpl-" + reply.headers["x-request-id"]
    assert reply.headers["x-client-request-id"] == "mine-7"
    assert reply.headers["x-pagoda-ignored"] == "zebra"
    assert "ttft;dur=" in reply.headers["server-timing"]


def test_a_client_id_cannot_smuggle_a_header(client: httpx.Client) -> None:
    body = CHAT | {"max_tokens": 1, "request_id": "a\r\nSet-Cookie: x=1"}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200
    assert "set-cookie" not in reply.headers


def test_a_refusal_keeps_its_status_in_a_stream(client: httpx.Client) -> None:
    body = CHAT | {"stream": True, "max_tokens": 10_000}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("stream", [True, False])
def test_a_closed_socket_frees_the_engine(stack: Stack, stream: bool) -> None:
    before = beat(stack).counters["aborted"]
    body = {"model": "tiny", "prompt": "a", "max_tokens": 2000, "stream": stream}
    sock = raw_request(stack, body)
    until(lambda: beat(stack).running == 1)
    if stream:
        received = b""
        while received.count(b"data: ") < 3:
            received += sock.recv(4096)
    sock.close()
    until(lambda: open_requests(stack) == 0)
    until(lambda: beat(stack).counters["aborted"] == before + 1)


def test_a_reader_that_reads_nothing_costs_little_and_is_cut_off(stack: Stack) -> None:
    body = {"model": "tiny", "prompt": ["a"] * 8, "n": 8, "max_tokens": 2000, "stream": True}
    with stack.second_web(PAGODA_WRITE_STALL_S="1") as base:
        web = psutil.Process(stack.processes["second"].pid)
        for _ in range(2):  # warm: buffers of a busy process exist
            httpx.post(
                f"{base}/v1/completions", json=body | {"max_tokens": 100}, headers=stack.headers,
                timeout=30, trust_env=False,
            )  # fmt: skip
        before = highest = web.memory_info().rss
        sock = raw_request(stack, body, base=base)
        until(lambda: web_requests(stack) == 1)
        begin = time.monotonic()
        while web_requests(stack) and time.monotonic() - begin < LIMIT_S:
            highest = max(highest, web.memory_info().rss)
            time.sleep(0.05)
        assert web_requests(stack) == 0
        assert highest - before < 2 * MIB, (highest - before) / MIB
        mine = sock.getsockname()[1]
        until(lambda: mine not in {one.raddr.port for one in web.net_connections() if one.raddr})
        sock.close()


def test_a_five_gigabyte_upload_is_refused_unread(stack: Stack) -> None:
    target = urlsplit(stack.base)
    sock = socket.create_connection((target.hostname, target.port), timeout=LIMIT_S)
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {stack.keys['full']}\r\nContent-Length: 5000000000\r\n\r\n"
    sock.sendall(head.encode() + b"{" * 1000)
    assert b" 413 " in sock.recv(4096).split(b"\r\n")[0]
    sock.close()


@pytest.mark.parametrize("piece", [b"a" * 65536, b"x-a: 1\r\n" * 8192])
def test_an_endless_head_is_refused_within_a_mebibyte(stack: Stack, piece: bytes) -> None:
    target = urlsplit(stack.base)
    sock = socket.create_connection((target.hostname, target.port), timeout=LIMIT_S)
    sock.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nx-big: ")
    sent = 0
    readable: list[socket.socket] = []
    while not readable and sent < 64 * MIB:
        sock.sendall(piece)
        sent += len(piece)
        readable, _, _ = select.select([sock], [], [], 0.02)
    head, _, body = sock.recv(4096).partition(b"\r\n\r\n")
    assert b" 400 " in head.split(b"\r\n")[0]
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert sent <= MIB
    sock.close()


def test_an_undeclared_upload_is_refused_soon_after_the_cap(stack: Stack) -> None:
    target = urlsplit(stack.base)
    sock = socket.create_connection((target.hostname, target.port), timeout=LIMIT_S)
    head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {stack.keys['full']}\r\nTransfer-Encoding: chunked\r\n\r\n"
    sock.sendall(head.encode())
    sent = 0
    readable: list[socket.socket] = []
    while not readable and sent < 64 * MIB:
        sock.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        sent += 65536
        # Slow enough that what is under way in the kernel does not blur the count.
        readable, _, _ = select.select([sock], [], [], 0.02)
    assert b" 413 " in sock.recv(4096).split(b"\r\n")[0]
    assert sent <= 5 * MIB
    sock.close()


def test_the_web_process_has_no_torch(stack: Stack, client: httpx.Client) -> None:
    client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 1})
    maps = psutil.Process(stack.processes["web"].pid).memory_maps()
    assert not [entry.path for entry in maps if "/torch/" in entry.path]
