"""The generation routes: one consumer per route, mounted before Django's middleware.

The handler runs beside a watcher of `receive()`: a client that leaves cancels the handler, which
leaves `client.submit`, which aborts in the engine. (Channels' dispatch loop would see the
disconnect only after the handler has returned, so `__call__` is our own.)
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from channels.consumer import AsyncConsumer

from apps.api import request_metrics
from apps.api.admission import Call
from apps.api.answers import Answer, times_ms
from apps.api.auth import authenticate, authenticate_again, require_scope
from apps.api.bodies import Copy
from apps.api.body import (
    Disconnected,
    Header,
    Receive,
    check_content_type,
    check_headers,
    header,
    read_body,
)
from apps.api.errors import (
    json_of,
    public_error,
    wrong_method,
)
from apps.api.output_form import asks_for_form
from apps.api.replies import JSON, SSE, own_id, printable, refuse, reply_headers
from apps.api.runtime import WebRuntime
from apps.api.schemas import GenerationBody
from apps.api.selectors import KeySnapshot
from apps.api.writer import Headers, ResponseWriter, Send, abort_connection
from engine.client import Admission, RequestStream, StaleSnapshot, new_rid
from engine.errors import Overloaded, PagodaError
from engine.messages import Counts, EventKind

B = TypeVar("B", bound=GenerationBody)
TOKEN_CHARS = 4  # of text, roughly
SUBMITS = 3  # a stale snapshot is read again and the request submitted again


@dataclass(slots=True)
class Opened:
    """An admitted request and what its answer needs."""

    stream: RequestStream
    answer: Answer
    copy: Copy | None


class EngineConsumer(AsyncConsumer, ABC, Generic[B]):  # type: ignore[misc]
    """What all routes that reach the engine share: read, check, admit, answer."""

    route: ClassVar[str]
    runtime: WebRuntime  # given to `as_asgi`

    def __init__(self, *, runtime: WebRuntime) -> None:
        """One consumer is made for each request."""
        self.runtime = runtime
        self._made: Answer | None = None
        self._data = b""  # the body as it came, until the request is admitted

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        rid = scope.get("pagoda_rid") or new_rid()
        writer = ResponseWriter(send)
        watchers: list[asyncio.Task[None]] = []
        try:
            await self._run(rid, scope, receive, writer, watchers)
        except asyncio.CancelledError:
            await self._interrupted(rid, writer, scope)
        finally:
            await writer.close()
            if writer.copy is not None:
                self.runtime.bodies.put(writer.copy)
            for watcher in watchers:
                watcher.cancel()
                await asyncio.wait(watchers)

    async def _run(
        self, rid: str, scope: dict[str, Any], receive: Receive, writer: ResponseWriter,
        watchers: list[asyncio.Task[None]],
    ) -> None:  # fmt: skip
        try:
            call, key = await self._read(rid, scope, receive)
            watchers.append(asyncio.create_task(_leave_on_disconnect(receive, writer)))
            await self._answer(call, key, writer)
        except Disconnected:
            return
        except Exception as error:
            shown = self.in_own_words(public_error(error, rid))
            request_metrics.refused(shown)
            await self._refuse(shown, rid, writer, receive)

    async def _read(
        self, rid: str, scope: dict[str, Any], receive: Receive
    ) -> tuple[Call, KeySnapshot]:
        """Authenticate first, then look at anything else."""
        runtime = self.runtime
        headers: list[Header] = scope["headers"]
        key = await authenticate(
            runtime.keys,
            self.credentials(headers),
            runtime.settings.key_snapshot_s,
            admission=True,
        )
        require_scope(key, "inference")
        if scope["method"] != "POST":
            raise wrong_method(scope["method"], ["POST"])
        check_headers(headers)
        check_content_type(headers)
        data = self._data = await read_body(receive, headers, runtime.caps.max_body)
        # JSON is read some 16 times faster than text is tokenised; forms take longer to check
        work = len(data) if asks_for_form(data) else len(data) // 16
        body, ignored = await runtime.prompts.near(work, lambda: self.parse(data))
        client_id = printable(body.request_id) or printable(own_id(headers))
        call = Call(
            rid=rid,
            route=self.route,
            body=body,
            client_request_id=client_id,
            ignored=tuple(ignored),
        )
        return call, key

    async def _answer(self, call: Call, key: KeySnapshot, writer: ResponseWriter) -> None:
        async with self._open(call, key) as opened:
            self.runtime.opened(writer, key)
            writer.copy = opened.copy
            try:
                await opened.stream.started()
                headers = reply_headers(call, opened.answer.unmet, opened.stream.limits_left)
                if call.body.stream:
                    settings = self.runtime.settings
                    opened.answer.tells_times = settings.per_request_metrics
                    await _stream(call.body, opened, headers, writer, settings.force_include_usage)
                else:
                    await self._whole(opened, headers, writer)
            finally:
                self.runtime.closed(writer)
                request_metrics.observe(opened.stream)

    async def _whole(self, opened: Opened, headers: Headers, writer: ResponseWriter) -> None:
        """One JSON body. A long one is put together in a thread: the streams beside it go on."""
        deltas = await opened.stream.whole()
        counts = opened.stream.counts or Counts()
        timing = ", ".join(f"{name};dur={ms}" for name, ms in times_ms(counts).items()).encode()
        body = await self.runtime.prompts.near(
            TOKEN_CHARS * counts.completion_tokens, lambda: opened.answer.whole(deltas, counts)
        )
        await writer.whole(200, [JSON, *headers, (b"server-timing", timing)], body)

    @asynccontextmanager
    async def _open(self, call: Call, key: KeySnapshot) -> AsyncIterator[Opened]:
        """Prepare and admit; a stale snapshot is read again, then once more everything."""
        for _ in range(SUBMITS):
            answer, admission = await self._prepare(call, key)
            submitted = self.runtime.client.submit(admission)
            try:
                stream = await submitted.__aenter__()
            except StaleSnapshot as stale:
                key = await self._reread(stale.kind, key)
                continue
            data, self._data = self._data, b""
            copy = Copy(call.rid, key.public_id, data) if key.keeps_bodies else None
            try:
                yield Opened(stream, answer, copy)
            except BaseException as error:
                await submitted.__aexit__(type(error), error, error.__traceback__)
                raise
            await submitted.__aexit__(None, None, None)
            return
        raise Overloaded("The catalog keeps changing.", param="catalog", retry_after_s=1)

    @abstractmethod
    async def _prepare(self, call: Call, key: KeySnapshot) -> tuple[Any, Admission]:
        """Check the body against the model; its answer to come, and what to submit."""

    async def _reread(self, kind: str, key: KeySnapshot) -> KeySnapshot:
        """Raises `InvalidApiKey` or `PermissionDenied` when the key may infer no longer."""
        if kind == "catalog":
            await self.runtime.models.reload()
            return key
        return await authenticate_again(self.runtime.keys, key, "inference")

    async def _interrupted(self, rid: str, writer: ResponseWriter, scope: dict[str, Any]) -> None:
        """Someone else ended the handler: the client left, stalled, or lost its key."""
        task = asyncio.current_task()
        if writer.task is not None or task is None:
            raise asyncio.CancelledError  # the server stops
        task.uncancel()
        if writer.stalled:
            request_metrics.STALLED.inc()
            abort_connection(scope)
        elif writer.cut is not None:
            await self._refuse(writer.cut, rid, writer, None)

    async def _refuse(
        self, error: PagodaError, rid: str, writer: ResponseWriter, receive: Receive | None
    ) -> None:
        """The error as a response, or as the last event of a stream that is already open."""
        if writer.opened and self._made is not None:
            await writer.finish(self._made.failure(error))
        else:
            await refuse(error, rid, writer, receive, self.error_body(error, rid))

    def credentials(self, headers: list[Header]) -> bytes | None:
        """The value of an Authorization header."""
        return header(headers, b"authorization")

    def in_own_words(self, error: PagodaError) -> PagodaError:
        """The error with the field names of this route."""
        return error

    def error_body(self, error: PagodaError, rid: str) -> bytes:
        return json_of(error)

    @abstractmethod
    def parse(self, data: bytes) -> tuple[B, list[str]]:
        """The body, checked, and the names of fields that mean nothing here."""


async def _stream(
    body: GenerationBody, opened: Opened, headers: Headers, writer: ResponseWriter,
    tells_usage: bool,
) -> None:  # fmt: skip
    """Server-sent events, one write per delta. The headers leave with the first tokens, so that
    an engine that dies before them costs the client nothing."""
    stream, answer = opened.stream, opened.answer
    options = body.stream_options
    continuous = options is not None and options.continuous_usage_stats
    answer.continuous_usage = tells_usage or continuous
    writer.prepare_stream([*SSE, *headers], stream.first_byte_sent)
    data = answer.opening()
    async for delta in stream:
        data += answer.chunks(delta)
        if delta.kind is EventKind.END:
            break
        if data:
            await writer.write(data)
            data = b""
    tells_usage = tells_usage or body.include_usage
    await writer.finish(data + answer.closing(stream.counts or Counts(), tells_usage))


async def _leave_on_disconnect(receive: Receive, writer: ResponseWriter) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if writer.task is not None:
        request_metrics.DISCONNECTED.inc()
    writer.interrupt(None)
