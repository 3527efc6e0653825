"""Token ids → text, piece by piece, never ending inside a character.

The joined pieces equal the decode of the whole: `"".join(pushes) + finish() == decode(ids)`.
Byte-level vocabularies are decoded as bytes, which is exact and costs about a microsecond a
token. All others decode a short window with and without the newest tokens and emit the
difference; a run of byte-fallback tokens is held until it ends, because one bad byte in it
changes how the whole run is shown.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable, Sequence
from io import StringIO

from engine.tokenizer import Tokenizer

CONTEXT_TOKENS = 4  # shown tokens kept in the window: spacing rules look back at one


class IncrementalDetokenizer:
    """State of one choice."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        prompt_ids: Sequence[int] = (),
        skip_special_tokens: bool = True,
        keep_ids: frozenset[int] = frozenset(),
    ) -> None:
        """`keep_ids` are special tokens that are written out although the others are skipped."""
        self._tokenizer = tokenizer
        self._hidden = tokenizer.special_ids if skip_special_tokens else frozenset()
        self._kept = keep_ids & self._hidden
        kind = _ByteStream if tokenizer.byte_level else _Window
        self._decoder = kind(tokenizer, self._visible(prompt_ids[-4 * CONTEXT_TOKENS :]))
        self._all = StringIO()  # grows without copying what is there
        self._plain_chars = 0  # emitted, kept tokens not counted
        self._marks: deque[tuple[int, int]] = deque()  # kept: plain characters before, its length
        self._passed_chars = 0  # of kept tokens that `chars_until` has gone by

    @property
    def text(self) -> str:
        """All that was emitted (a copy)."""
        return self._all.getvalue()

    def push(self, ids: Sequence[int]) -> str:
        """Take new tokens; return the text that is now certain."""
        if self._kept.isdisjoint(ids):
            return self._emit(self._decoder.push(self._visible(ids)))
        return "".join(map(self._push_one, ids))

    def finish(self) -> str:
        """Return what was held back; unfinished bytes become U+FFFD as in a whole decode."""
        return self._emit(self._decoder.finish())

    def chars_until(self, plain_chars: int) -> int:
        """Where the first `plain_chars` characters end in a text that holds kept tokens too.

        For whoever counts without them, as the engine does. Never call it with a smaller number
        than before.
        """
        while self._marks and self._marks[0][0] <= plain_chars:
            self._passed_chars += self._marks.popleft()[1]
        return plain_chars + self._passed_chars

    def _push_one(self, token_id: int) -> str:
        if token_id not in self._kept:
            return self._emit(self._decoder.push(self._visible([token_id])))
        before = self._emit(self._decoder.finish())
        mark = self._tokenizer.token_text(token_id)
        self._marks.append((self._plain_chars, len(mark)))
        self._all.write(mark)
        return before + mark

    def _emit(self, piece: str) -> str:
        self._plain_chars += len(piece)
        self._all.write(piece)
        return piece

    def _visible(self, ids: Iterable[int]) -> list[int]:
        return [i for i in ids if i not in self._hidden]


class _ByteStream:
    """Byte-level BPE: concatenated bytes through an incremental UTF-8 decoder.

    The prompt needs no context here: it ends at a character of its own.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int]) -> None:
        self._bytes_of = tokenizer.token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, ids: list[int]) -> str:
        return self._utf8.decode(b"".join(map(self._bytes_of, ids)))

    def finish(self) -> str:
        return self._utf8.decode(b"", final=True)


class _Window:
    """Any other decoder: SentencePiece with or without byte fallback, WordPiece, …"""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = prompt_ids[-CONTEXT_TOKENS:]
        self._shown = len(self._ids)

    def push(self, ids: list[int]) -> str:
        self._ids.extend(ids)
        if self._tokenizer.is_byte_fallback(self._ids[-1:]):
            return ""
        return self.finish()

    def finish(self) -> str:
        before = self._decode(self._ids[: self._shown])
        piece = self._decode(self._ids)[len(before) :]
        self._forget()
        return piece

    def _forget(self) -> None:
        """Keep a little context; it must not begin inside a run of byte tokens."""
        keep = CONTEXT_TOKENS
        while keep < len(self._ids) and self._tokenizer.is_byte_fallback(
            self._ids[-keep : len(self._ids) - keep + 1]
        ):
            keep += 1
        self._ids = self._ids[-keep:]
        self._shown = len(self._ids)

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)
