"""Text ↔ token ids with the `tokenizers` library alone: web processes load it without torch.

Reads `tokenizer.json` (required), `tokenizer_config.json`, `generation_config.json`,
`config.json` and `chat_template.jinja` of a checkpoint directory.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as FastTokenizer

from engine.errors import EngineStartError


class Tokenizer:
    """One checkpoint's tokenizer. Thread-safe: encoding and decoding change no state."""

    def __init__(
        self, fast: FastTokenizer, config: dict[str, Any], eos_ids: frozenset[int]
    ) -> None:
        self.fast = fast
        self.config = config
        self.eos_ids = eos_ids
        self.vocab_size: int = fast.get_vocab_size(with_added_tokens=True)
        self._bytes: dict[int, bytes] = {}
        fast.no_truncation()
        fast.no_padding()

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a checkpoint directory. Raises `EngineStartError` if it holds no tokenizer."""
        folder = Path(path)
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise EngineStartError(
                f"{folder} has no tokenizer.json.",
                "Save the tokenizer in the fast format there, or name another with --tokenizer.",
            )
        try:
            fast = FastTokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise EngineStartError(
                f"{file} is not a readable tokenizer ({error}).", "Copy the checkpoint again."
            ) from None
        config = _json(folder / "tokenizer_config.json")
        template = folder / "chat_template.jinja"
        if template.is_file():
            config["chat_template"] = template.read_text(encoding="utf-8")
        return cls(fast, config, _eos_ids(folder, fast, config))

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self.fast.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def encode_cut(
        self,
        text: str,
        second: str | None = None,
        *,
        most: int | None = None,
        most_each: tuple[int | None, int | None] = (None, None),
        side: str = "right",
        add_special_tokens: bool = True,
    ) -> tuple[list[int], int]:
        """Ids of a text or a pair, and where the second text begins where the model marks that.

        `most` bounds all ids, special tokens included and kept; of a pair the longer text is cut
        first. `most_each` bounds the texts before. `side` is the end that is cut.
        """
        texts = [text] if second is None else [text, second]
        parts = [self.fast.encode(one, add_special_tokens=False) for one in texts]
        rooms = [
            len(p.ids) if cap is None else min(cap, len(p.ids))
            for p, cap in zip(parts, most_each, strict=False)
        ]
        if most is not None:
            extra = self.fast.num_special_tokens_to_add(second is not None)
            rooms = _shared_room(rooms, most - extra * add_special_tokens)
        for part, room in zip(parts, rooms, strict=True):
            part.truncate(room, direction=side)
        pair = parts[1] if second is not None else None
        joined = self.fast.post_process(parts[0], pair, add_special_tokens)
        types = joined.type_ids
        return joined.ids, types.index(1) if 1 in types else 0

    def decode(self, ids: list[int], *, skip_special_tokens: bool = True) -> str:
        text: str = self.fast.decode(ids, skip_special_tokens=skip_special_tokens)
        return text

    def piece(self, token_id: int) -> str | None:
        """The vocabulary's own spelling of a token; None for an id without one."""
        piece: str | None = self.fast.id_to_token(token_id)
        return piece

    def token_text(self, token_id: int) -> str:
        """Readable text of one token alone (incomplete characters show as U+FFFD)."""
        return self.decode([token_id], skip_special_tokens=False)

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes a token stands for, also when they are part of a character."""
        known = self._bytes.get(token_id)
        if known is None:
            known = self._bytes[token_id] = self._spell(token_id)
        return known

    def is_byte_fallback(self, ids: list[int]) -> bool:
        """Whether `ids` is one token that stands for a single raw byte, such as <0x0A>."""
        return bool(ids) and ids[0] in self._fallback_ids

    def _spell(self, token_id: int) -> bytes:
        piece = self.piece(token_id)
        if piece is None:
            return b""
        if token_id in self._fallback_ids:
            return bytes([int(piece[3:5], 16)])
        if self.byte_level and all(c in _BYTE_OF for c in piece):
            return bytes(_BYTE_OF[c] for c in piece)
        if self.byte_level:
            return piece.encode()
        text = self.token_text(token_id)  # a lone token loses the space it begins with
        return (" " + text if piece.startswith("▁") and text[:1] != " " else text).encode()

    @cached_property
    def _decoders(self) -> list[str]:
        """Type names of the decoder chain."""
        decoder = json.loads(self.fast.to_str()).get("decoder") or {}
        return [part["type"] for part in decoder.get("decoders", [decoder]) if "type" in part]

    @cached_property
    def byte_level(self) -> bool:
        """Pieces are spelled in GPT-2's printable byte alphabet and nothing else happens."""
        return self._decoders == ["ByteLevel"]

    @cached_property
    def _fallback_ids(self) -> frozenset[int]:
        if "ByteFallback" not in self._decoders:
            return frozenset()
        ids = (self.fast.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
        return frozenset(i for i in ids if i is not None)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        added = self.fast.get_added_tokens_decoder()
        return frozenset(i for i, token in added.items() if token.special)

    @property
    def chat_template(self) -> str | None:
        template = self.config.get("chat_template")
        if isinstance(template, list):  # several named templates
            named = {entry["name"]: entry["template"] for entry in template}
            template = named.get("default")
        return template if isinstance(template, str) else None

    @property
    def special_tokens(self) -> dict[str, str]:
        """Named special tokens (bos_token, eos_token, …) as templates expect them."""
        names = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token")
        return {name: text for name in names if (text := _content(self.config.get(name)))}


def _shared_room(lengths: list[int], room: int) -> list[int]:
    """Lengths that fit `room` together, the longest cut first."""
    room = max(0, room)
    if sum(lengths) <= room:
        return lengths
    if len(lengths) == 1:
        return [room]
    least = min(lengths)
    if 2 * least >= room:
        return [room - room // 2, room // 2]
    rest = room - least
    return [least, rest] if lengths[0] == least else [rest, least]


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise EngineStartError(f"{file} is not valid JSON.", "Copy the checkpoint again.") from None
    return data if isinstance(data, dict) else {}


def _content(token: Any) -> str | None:
    """Special tokens are stored as text or as {"content": text, …}."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) and token else None


def _eos_ids(folder: Path, fast: FastTokenizer, config: dict[str, Any]) -> frozenset[int]:
    """Union of what config.json, generation_config.json and the tokenizer name as end of text."""
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        value = _json(folder / name).get("eos_token_id")
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    if (text := _content(config.get("eos_token"))) is not None:
        token_id = fast.token_to_id(text)
        found.update([] if token_id is None else [token_id])
    return frozenset(found)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the rest from U+0100 upwards."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    return alphabet | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
