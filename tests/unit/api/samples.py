"""Small things the tests of this folder share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import BPE

from apps.api.selectors import KeySnapshot
from apps.models.catalog import CatalogModel
from engine.tokenizer import Tokenizer


def model(**changes: Any) -> CatalogModel:
    facts: dict[str, Any] = {
        "name": "tiny",
        "base": "tiny",
        "root": "tiny",
        "path": Path("/nowhere"),
        "created": 0,
        "max_model_len": 100,
        "vocab_size": 300,
    }
    return CatalogModel(**(facts | changes))


def key(**changes: Any) -> KeySnapshot:
    facts: dict[str, Any] = {
        "public_id": "abcdefgh",
        "digest": b"",
        "name": "test",
        "owner_id": "1",
        "owner_name": "owner",
        "scopes": frozenset({"inference"}),
        "allowed_models": frozenset(),
        "rules": (),
        "salt": b"salt",
        "expires_at": None,
        "dead": False,
        "epoch": 1,
    }
    return KeySnapshot(**(facts | changes))


def letters() -> Tokenizer:
    """Token id n is the n-th letter of the alphabet; id 26 is the end of text."""
    vocab = {chr(ord("a") + i): i for i in range(26)}
    fast = FastTokenizer(BPE(vocab, []))
    fast.decoder = Fuse()
    fast.add_special_tokens([AddedToken("<end>", special=True)])
    return Tokenizer(fast, {}, frozenset({26}))
