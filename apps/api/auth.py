"""The one check of an API key, for consumers, DRF views and unknown routes alike."""

from __future__ import annotations

import hmac
import time
from typing import Any

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.api import keyformat
from apps.api.body import Header, header
from apps.api.errors import invalid_key
from apps.api.selectors import KeySnapshot, key_read, pepper
from apps.api.snapshot import Keyring
from engine.errors import PermissionDenied

FRESH_S = 1.0  # routes without admission do not trust an older snapshot


def bearer(header: bytes | None) -> str | None:
    """The token of an Authorization header, or None if there is none of a sane form."""
    if (
        header is None
        or len(header) > 256
        or header[:7].lower() != b"bearer "
        or not header.isascii()
    ):
        return None
    return header[7:].strip().decode("ascii")


def _public_id(text: str | None) -> str | None:
    """The id of a key of our form, or of the one the operator chose (PAGODA_API_KEY)."""
    if not text:
        return None
    found, chosen = keyformat.public_id_of(text), settings.PAGODA.api_key
    if found is None and chosen and hmac.compare_digest(text.encode(), chosen.encode()):
        return keyformat.chosen_id(text, pepper())
    return found


async def authenticate(
    keyring: Keyring, header: bytes | None, max_age_s: float, *, admission: bool = False
) -> KeySnapshot:
    """The caller's key. Raises `InvalidApiKey`, or `Overloaded` if the database is away."""
    text = bearer(header)
    public_id = _public_id(text)
    if text is None or public_id is None:
        raise invalid_key()
    key = verify(text, await keyring.get(public_id, max_age_s, admission=admission))
    keyring.used[public_id] = time.time()
    return key


def authenticate_now(header: bytes | None) -> KeySnapshot:
    """The same in one SQL query, for callers that are in a thread anyway."""
    text = bearer(header)
    public_id = _public_id(text)
    if text is None or public_id is None:
        raise invalid_key()
    return verify(text, key_read(public_id))


def remembered(keyring: Keyring, headers: list[Header]) -> bool:
    """Whether the request has a key that this process knows already, good or ended."""
    given = (header(headers, b"authorization"), b"Bearer " + (header(headers, b"x-api-key") or b""))
    for text in map(bearer, given):
        public_id = _public_id(text)
        if text is not None and public_id is not None:
            _, key = keyring.peek(public_id, 0)
            if key is not None and hmac.compare_digest(
                keyformat.digest(text, pepper()), key.digest
            ):
                return True
    return False


def verify(text: str, key: KeySnapshot | None) -> KeySnapshot:
    """Believe a snapshot only if the text has its digest. Raises `InvalidApiKey`."""
    if key is None or not hmac.compare_digest(keyformat.digest(text, pepper()), key.digest):
        raise invalid_key()
    if not key.usable(time.time()):
        raise invalid_key()
    return key


async def authenticate_again(keyring: Keyring, key: KeySnapshot, scope: str) -> KeySnapshot:
    """The key as it is now, after admission found `key` stale. Raises `InvalidApiKey` when it has
    ended or the id was given to another key, `PermissionDenied` when it lost the scope."""
    fresh = await keyring.reload(key.public_id)
    if fresh is None or fresh.digest != key.digest or not fresh.usable(time.time()):
        raise invalid_key()
    require_scope(fresh, scope)
    return fresh


def require_scope(key: KeySnapshot, scope: str) -> None:
    if scope not in key.scopes:
        raise PermissionDenied(f"This API key lacks the scope '{scope}' that this route needs.")


class KeyAuthentication(BaseAuthentication):
    """Hands the dispatcher's result to DRF views. `request.auth` is the `KeySnapshot`."""

    def authenticate(self, request: Request) -> tuple[None, KeySnapshot]:
        scope: dict[str, Any] = getattr(request._request, "scope", {})
        key = scope.get("pagoda_key")
        if isinstance(key, KeySnapshot):
            return None, key
        header = request.META.get("HTTP_AUTHORIZATION")
        return None, authenticate_now(header.encode() if header else None)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(BasePermission):
    """The key has the scope its view names in `scope`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, KeySnapshot):
            raise invalid_key()
        require_scope(request.auth, view.scope)
        return True
