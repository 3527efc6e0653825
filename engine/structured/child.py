"""The process that tries a grammar first: `python -m engine.structured.child`. It may be killed.

What compiles here in time compiles in the engine too. (Handing the compiled form over instead
costs more than compiling once more: a string of 200 characters is 10 MB of it, 0.5 s to read and
1.1 s to write against 0.45 s to compile.)

Frames on stdin and stdout hold MessagePack. The first one in is a `Vocabulary` and is answered with
an empty `Outcome`; each `Job` after it with one more.
"""

from __future__ import annotations

import re
import resource
import signal
import sys
import time
from typing import Any

import msgspec
import numpy as np

from engine.errors import InvalidRequest
from engine.frames import read_frame, write_frame
from engine.structured.bindings import compiled, compiler_for, core, tokenizer_info
from engine.structured.outputs import StructuredOutputs
from engine.structured.refusal import Refusal

MEMORY_BYTES = 2 * 1024**3  # of address space
GRACE_S = 5.0  # after its limit a process that nobody kills ends by itself
SOAK_TOKENS = 64
SOAK_WALKS = 3
SLOW_MASK_S = 0.05
_PLACE = re.compile(r"^\[[^\]]*\] \S+: (?:EBNF parser error at|EBNF lexer error at)?\s*")


class Vocabulary(msgspec.Struct):
    """Token id → bytes (empty: never said in constrained text), and the ids that end a text."""

    tokens: list[bytes]
    eos_ids: list[int]


class Job(msgspec.Struct):
    form: StructuredOutputs
    limit_s: float


class Outcome(msgspec.Struct):
    """Empty: the grammar compiles in time and can be followed. Else why not."""

    refusal: str = ""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    vocabulary = msgspec.msgpack.decode(read_frame(source), type=Vocabulary)
    info = tokenizer_info(vocabulary.tokens, vocabulary.eos_ids)
    compiler = compiler_for(info)
    write_frame(sink, Outcome())
    while data := read_frame(source):
        job = msgspec.msgpack.decode(data, type=Job)
        signal.setitimer(signal.ITIMER_REAL, job.limit_s + GRACE_S)  # its default is to end us
        outcome = _compile(compiler, job.form, len(vocabulary.tokens))
        signal.setitimer(signal.ITIMER_REAL, 0)
        write_frame(sink, outcome)


def _compile(compiler: Any, form: StructuredOutputs, vocab_size: int) -> Outcome:
    try:
        form.check_form()
        if _is_slow(compiled(compiler, form), vocab_size):
            return Outcome("is too ambiguous: following it costs more time than a model")
        return Outcome()
    except InvalidRequest as error:
        return Outcome(error.message)
    except Refusal as refusal:
        return Outcome(str(refusal))
    except MemoryError:
        return Outcome("needs too much memory to compile")
    except Exception as error:  # the library raises RuntimeError and its own kinds
        return Outcome(_said(error))


def _is_slow(grammar: Any, vocab_size: int) -> bool:
    """Walk the grammar and time its masks: an ambiguous one may cost seconds per token.

    Two walks repeat the first or last allowed token (the worst case of nested repetition), the
    others draw. CPU time counts, so that a busy machine refuses nothing.
    """
    words = np.zeros((1, (vocab_size + 31) // 32), np.int32)
    draws = np.random.default_rng(0)
    for walk in range(SOAK_WALKS):
        matcher = core.GrammarMatcher(grammar, None, False, -1, None)
        for _ in range(SOAK_TOKENS):
            began = time.thread_time()
            matcher.fill_next_token_bitmask(words, 0, False)
            bits = np.unpackbits(words.view(np.uint8), bitorder="little")[:vocab_size]
            allowed = np.flatnonzero(bits)
            if not len(allowed):
                raise Refusal("leads to a place where no token of this model may follow")
            picked = allowed[(0, -1, int(draws.integers(len(allowed))))[min(walk, 2)]]
            matcher.accept_token(int(picked), False)
            if time.thread_time() - began > SLOW_MASK_S:
                return True
            if matcher.is_terminated():
                break
    return False


def _said(error: Exception) -> str:
    """The library's words without its place in a source file."""
    text = _PLACE.sub("", str(error).strip().split("\n")[0])
    if not text or "/" in text.split(" ")[0] or "Check failed" in text:
        return "cannot be compiled"
    return f"cannot be compiled: {text[:300].rstrip('.')}"


if __name__ == "__main__":
    main()
