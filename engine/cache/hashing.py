"""Names of full KV blocks: a SHA-256 chain over everything their content depends on.

digest(block) = sha256(digest(parent) ‖ token ids as 32-bit integers). The chain starts from a
root over tagged parts, so two adapters, media or tenants never share a block. Names that people
choose never enter: an alias may move to other weights.
"""

from __future__ import annotations

from array import array
from hashlib import sha256


def root_digest(*, adapter: str | None = None, salt: bytes = b"") -> bytes:
    """Start of a chain. Parts are tagged and length-prefixed, so no two lists of parts collide."""
    hasher = sha256(b"pagoda-kv-1")
    parts = [(b"lora", adapter.encode() if adapter else b""), (b"salt", salt)]
    for tag, value in parts:
        if value:
            hasher.update(tag + len(value).to_bytes(8, "little") + value)
    return hasher.digest()


def extend_chain(
    digests: list[bytes], root: bytes, tokens: list[int], block_tokens: int, num_tokens: int
) -> None:
    """Append digests until `digests` covers every full block of tokens[:num_tokens]."""
    for start in range(len(digests) * block_tokens, num_tokens - block_tokens + 1, block_tokens):
        parent = digests[-1] if digests else root
        ids = array("I", tokens[start : start + block_tokens])
        digests.append(sha256(parent + ids.tobytes()).digest())
