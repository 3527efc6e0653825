"""A running server as the verbs see it: where it is, its key, and its streams."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from inference_site.commands import CommandFailed

TIMEOUT = httpx.Timeout(600.0, connect=10.0)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`url` is the root of the server, without /v1; `uds` its Unix socket, if it has one."""

    url: str
    key: str
    uds: str | None = None

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=self.uds)
        return httpx.Client(
            base_url=self.url, headers=self.headers(), timeout=TIMEOUT, transport=transport
        )

    def async_client(self, connections: int) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        transport = httpx.AsyncHTTPTransport(uds=self.uds, limits=limits)
        timeout = httpx.Timeout(None, connect=10.0)  # a long queue is no failure
        return httpx.AsyncClient(
            base_url=self.url, headers=self.headers(), timeout=timeout, transport=transport
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    home = "default: the server of PAGODA_HOME"
    parser.add_argument("--url", help=f"base URL of the server, with or without /v1; {home}")
    parser.add_argument("--api-key", help=f"default: PAGODA_API_KEY or OPENAI_API_KEY; else {home}")


def endpoint_of(given: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """From flags, then the environment, then the bootstrap file of PAGODA_HOME."""
    boot = _bootstrap(Path(environ.get("PAGODA_HOME") or ".pagoda").expanduser())
    url = given.url or boot.get("base_url") or "http://127.0.0.1:8000"
    key = given.api_key or environ.get("PAGODA_API_KEY") or environ.get("OPENAI_API_KEY")
    return Endpoint(url.rstrip("/").removesuffix("/v1"), key or boot.get("api_key", ""))


def first_model(client: httpx.Client) -> str:
    """The model to use when none is named. Raises `CommandFailed` when there is none."""
    with told_failures(client):
        reply = client.get("/v1/models")
        raise_for(reply)
        models: list[dict[str, Any]] = reply.json()["data"]
    if not models:
        raise CommandFailed("The server has no model this key may use. See: pagoda models list")
    return str(models[0]["id"])


def stream(client: httpx.Client, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Chunks of a streamed answer. Raises `CommandFailed` with the server's words."""
    with told_failures(client), client.stream("POST", path, json=body | {"stream": True}) as reply:
        if reply.is_error:
            reply.read()
        raise_for(reply)
        for line in reply.iter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            chunk: dict[str, Any] = json.loads(line[6:])
            if "error" in chunk:
                raise CommandFailed(chunk["error"]["message"])
            yield chunk


def raise_for(reply: httpx.Response) -> None:
    """`CommandFailed` with the message of an error body."""
    if reply.is_success:
        return
    try:
        words = reply.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        words = f"The server answered {reply.status_code}."
    raise CommandFailed(words)


@contextlib.contextmanager
def told_failures(client: httpx.Client) -> Iterator[None]:
    """A server that is away is one line, not a traceback."""
    try:
        yield
    except httpx.TransportError as error:
        kind = type(error).__name__
        raise CommandFailed(
            f"No answer from {client.base_url} ({kind}). Is it started? Try: pagoda serve"
        ) from None


def _bootstrap(home: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((home / "bootstrap.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
