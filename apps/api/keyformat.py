"""What an API key looks like: `pgd_<8 base62 id>_<43 base62 secret><6 base62 CRC32>`.

The id is public (lists, logs, limits). The secret has 256 random bits. The checksum lets a typing
error be refused without asking Redis or the database; it protects nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import zlib
from dataclasses import dataclass

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_CHARS, SECRET_CHARS, CHECK_CHARS = 8, 43, 6
MAX_CHOSEN_CHARS = 200
KEY_CHARS = len("pgd_") + ID_CHARS + 1 + SECRET_CHARS + CHECK_CHARS
_LETTERS = frozenset(ALPHABET)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh key. `text` is shown once and stored nowhere."""

    public_id: str
    text: str

    def __repr__(self) -> str:
        return f"NewKey({self.public_id})"


def generate() -> NewKey:
    """Draw a key from the system's random source."""
    public_id = _base62(secrets.randbelow(62**ID_CHARS), ID_CHARS)
    secret = _base62(secrets.randbits(256), SECRET_CHARS)
    body = f"pgd_{public_id}_{secret}"
    return NewKey(public_id, body + _checksum(body))


def public_id_of(text: str) -> str | None:
    """The id inside a well-formed key, or None when form or checksum are wrong."""
    if len(text) != KEY_CHARS or not text.startswith("pgd_") or text[12] != "_":
        return None
    body, check = text[:-CHECK_CHARS], text[-CHECK_CHARS:]
    if not _LETTERS.issuperset(text[4:12]) or not _LETTERS.issuperset(text[13:]):
        return None
    return text[4:12] if check == _checksum(body) else None


def is_word(text: str) -> bool:
    """Whether an Authorization header can carry `text` as a key."""
    fits = 1 <= len(text) <= MAX_CHOSEN_CHARS
    return fits and text.isascii() and text.isprintable() and " " not in text


def chosen_id(text: str, pepper: bytes) -> str:
    """The id of a key whose text an operator chose; it tells nothing about the text."""
    number = int.from_bytes(hmac.digest(pepper, b"chosen:" + text.encode(), hashlib.sha256))
    return _base62(number % 62**ID_CHARS, ID_CHARS)


def digest(text: str, pepper: bytes) -> bytes:
    """HMAC-SHA-256 of the whole key under the server's pepper: 32 bytes."""
    return hmac.digest(pepper, text.encode("ascii"), hashlib.sha256)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), CHECK_CHARS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits))
