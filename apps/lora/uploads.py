"""Receives the two files of an upload: `PUT /api/adapter-uploads/{version}/{file}`.

Answered before Django, which would spool a body to disk before anybody looked at it. The ticket in
the header `X-Upload-Ticket` is the permission: one upload, one hour, made by a call that had a key
or a login. Bytes go straight to quarantine under a cap; a name is one of two or refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import tempfile
from functools import partial
from typing import IO, Any

import orjson

from apps.api.body import BODY_S, Disconnected, Receive, check_headers, header
from apps.api.errors import invalid_key, public_error, wrong_method
from apps.api.replies import JSON, refuse
from apps.api.runtime import WebRuntime
from apps.api.writer import ResponseWriter, Send
from apps.lora import store, tickets
from apps.lora.checking import quota_used
from apps.lora.config import FILES, lora_settings
from apps.lora.models import AdapterVersion
from apps.lora.views import UPLOADS
from engine.errors import BodyTooLarge, InvalidRequest, Overloaded

log = logging.getLogger(__name__)
WRITE_BYTES = 1 << 20  # gathered before a thread writes and hashes them


def is_upload(path: str) -> bool:
    return path.startswith(UPLOADS)


async def receive_file(
    runtime: WebRuntime, scope: dict[str, Any], receive: Receive, send: Send
) -> None:
    """The ASGI application of the route."""
    rid, writer = scope["pagoda_rid"], ResponseWriter(send)
    try:
        version, file = await _permitted(runtime, scope)
        cap = await runtime.database.read(partial(_cap, version, file))
        body, sha256 = await _stored(scope, receive, version, file, cap)
        complete = await runtime.database.read(
            partial(tickets.upload_file_done, version=version, file=file, sha256=sha256)
        )
        reply = {"file": file, "bytes": body, "sha256": sha256, "complete": complete}
        headers = [JSON, (b"x-request-id", rid.encode())]
        await writer.whole(200, headers, orjson.dumps(reply))
    except Disconnected:
        return
    except Exception as error:
        await refuse(public_error(_mapped(error), rid), rid, writer, receive)


async def _permitted(runtime: WebRuntime, scope: dict[str, Any]) -> tuple[AdapterVersion, str]:
    """The open upload and the file. Raises `InvalidApiKey` without a ticket that fits."""
    check_headers(scope["headers"])
    number, _, file = scope["path"].removeprefix(UPLOADS).partition("/")
    ticket = header(scope["headers"], b"x-upload-ticket") or b""
    version = None
    if number.isascii() and number.isdigit() and len(number) < 19:
        find = partial(tickets.upload_find, int(number), ticket.decode("latin-1"))
        version = await runtime.database.read(find)
    if version is None:
        raise invalid_key()
    if scope["method"] != "PUT":
        raise wrong_method(scope["method"], ["PUT"])
    if file not in FILES:
        raise InvalidRequest(
            f"An adapter is the two files {' and '.join(FILES)}; send each under its own name. "
            "Archives and other files are not taken.",
            param="file",
        )
    return version, file


def _cap(version: AdapterVersion, file: str) -> int:
    """Bytes this file may have: its own cap, and what is left of the owner's quota."""
    settings = lora_settings()
    cap = settings.cap_of(file)
    if version.owner_id is None:
        return cap
    return max(0, min(cap, settings.adapter_quota_bytes - quota_used(version.owner_id)))


async def _stored(
    scope: dict[str, Any], receive: Receive, version: AdapterVersion, file: str, cap: int
) -> tuple[int, str]:
    """Size and SHA-256 of the file, which is in quarantine now. Nothing of a cut one stays."""
    length = header(scope["headers"], b"content-length")
    if length is not None and length.isdigit() and int(length) > cap:
        raise _too_large(file, cap)
    folder = await asyncio.to_thread(store.incoming_folder, version.pk)
    descriptor, draft = tempfile.mkstemp(dir=folder.parent, prefix=f".{version.pk}-")
    try:
        with os.fdopen(descriptor, "wb") as writing:
            size, sha256 = await _copied(receive, writing, file, cap)
        if length is not None and length.isdigit() and int(length) != size:
            raise Disconnected
        os.replace(draft, folder / file)
    except FileNotFoundError:  # both files were here meanwhile, and the check has begun
        os.unlink(draft)
        raise invalid_key() from None
    except BaseException:
        os.unlink(draft)
        raise
    return size, sha256


async def _copied(receive: Receive, writing: IO[bytes], file: str, cap: int) -> tuple[int, str]:
    digest, size, more = hashlib.sha256(), 0, True
    while more:
        chunk, more = await _gathered(receive)
        size += len(chunk)
        if size > cap:
            raise _too_large(file, cap)
        await asyncio.to_thread(_write, writing, digest, chunk)
    return size, digest.hexdigest()


async def _gathered(receive: Receive) -> tuple[bytes, bool]:
    """About a megabyte of the body, and whether there is more."""
    chunks, size = [], 0
    while size < WRITE_BYTES:
        try:
            async with asyncio.timeout(BODY_S):
                message = await receive()
        except TimeoutError:
            raise InvalidRequest(f"Nothing of the file arrived for {BODY_S:g} s.") from None
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if not message.get("more_body", False):
            return b"".join(chunks), False
    return b"".join(chunks), True


def _write(writing: IO[bytes], digest: Any, chunk: bytes) -> None:
    digest.update(chunk)
    writing.write(chunk)


def _mapped(error: Exception) -> Exception:
    if isinstance(error, OSError):
        log.error("upload_not_stored", extra={"cause": error.strerror})
        return Overloaded(
            "The server cannot store the file now. Try again later.",
            param="disk",
            retry_after_s=60,
        )
    return error


def _too_large(file: str, cap: int) -> BodyTooLarge:
    return BodyTooLarge(f"{file} is larger than the {cap} bytes that are left for it.", param=file)
