"""Compiles grammars beside the step loop, in processes that are killed when they take too long.

`find` and `begin` belong to the step loop and never wait. A job runs in a thread that talks to a
child of its own: when the child has compiled the grammar in time, the thread does so too, else the
child is killed and the request refused. A child that died of anything else is replaced and the job
tried once more. Compiled grammars are kept by the digest of their source; the least recently used
go first.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import InvalidRequest, PagodaError
from engine.frames import ChildDied, TooLate, answer_of, write_frame
from engine.logs import event_log
from engine.structured.child import Job, Outcome, Vocabulary
from engine.structured.outputs import StructuredOutputs
from engine.structured.words import Words
from engine.tokenizer import Tokenizer

WORKERS = 2  # a bomb holds one of them for its whole time
REGEX_S = 2.0
GRAMMAR_S = 5.0
START_S = 120.0  # of a child on a very busy machine
TRIES = 2
CLOSE_S = 5.0
REFUSED_S = 60.0  # a refusal is remembered so long, by 1,000 forms
MAX_REFUSED = 1000
SOURCES = Path(__file__).parents[2]
CACHE_BYTES = 512 * 1024**2

log = event_log(__name__)


@dataclass(frozen=True, slots=True)
class Grammar:
    """A compiled grammar: shared by all rows that follow it."""

    handle: Any  # core.CompiledGrammar
    words: Words
    size_bytes: int
    barred: bytes  # characters that no token may hold


@dataclass(frozen=True, slots=True)
class Compiled:
    """The end of a job."""

    digest: bytes
    result: Grammar | PagodaError


class GrammarCompiler:
    """Cache, queue and threads. Nothing is started before the first grammar comes."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        vocab_size: int,
        eos_ids: frozenset[int],
        cache_bytes: int = CACHE_BYTES,
        regex_s: float = REGEX_S,
        grammar_s: float = GRAMMAR_S,
    ) -> None:
        self._tokenizer, self._vocab_size, self._eos_ids = tokenizer, vocab_size, eos_ids
        self._cache_bytes, self._limits = cache_bytes, (regex_s, grammar_s)
        self._cache: OrderedDict[bytes, Grammar] = OrderedDict()
        self._held_bytes = 0
        self._refused: OrderedDict[bytes, tuple[PagodaError, float]] = OrderedDict()
        self._jobs: queue.SimpleQueue[tuple[bytes, StructuredOutputs] | None] = queue.SimpleQueue()
        self._wanted: set[bytes] = set()  # of jobs that nobody works at yet
        self._done: deque[Compiled] = deque()
        self._news = threading.Event()
        self._workers: list[_Worker] = []
        self._open = 0  # jobs begun and not fetched
        self._lock = threading.Lock()
        self._compiler: Any = None
        self._words: Words | None = None

    @property
    def pids(self) -> list[int]:
        """Of the children that live now."""
        return [pid for worker in self._workers if (pid := worker.pid)]

    @property
    def cached_bytes(self) -> int:
        return self._held_bytes

    def find(self, digest: bytes) -> Grammar | None:
        """A grammar that is compiled already."""
        if (found := self._cache.get(digest)) is not None:
            self._cache.move_to_end(digest)
        return found

    def begin(self, digest: bytes, form: StructuredOutputs) -> None:
        """Have it compiled; `finished` tells. One job per digest at a time is the caller's care."""
        self._open += 1
        if self._open > len(self._workers) < WORKERS:
            self._workers.append(_Worker(self))
        self._wanted.add(digest)
        self._jobs.put((digest, form))

    def drop(self, digest: bytes) -> None:
        """Nobody waits for this job any more. One that is under way goes on, for the cache."""
        with contextlib.suppress(KeyError):
            self._wanted.remove(digest)
            self._open -= 1

    def finished(self) -> list[Compiled]:
        """Jobs that ended since the last call; their grammars are in the cache now."""
        self._news.clear()
        found = [self._done.popleft() for _ in range(len(self._done))]
        self._open -= len(found)
        for done in found:
            if isinstance(done.result, Grammar):
                self._keep(done.digest, done.result)
            else:
                self._refused[done.digest] = done.result, time.monotonic() + REFUSED_S
                while len(self._refused) > MAX_REFUSED:
                    self._refused.popitem(last=False)
        return found

    def wait(self, timeout_s: float) -> None:
        """Until a job ends, or for `timeout_s`."""
        self._news.wait(timeout_s)

    def refusal(self, digest: bytes) -> PagodaError | None:
        """Why a form was refused a moment ago: a bomb must not hold a worker again and again."""
        error, until = self._refused.get(digest, (None, 0.0))
        return error if time.monotonic() < until else None

    def close(self) -> None:
        """Kill the children. Open jobs are never heard of again."""
        for worker in self._workers:
            worker.stop()
            self._jobs.put(None)
        for worker in self._workers:
            worker.thread.join(CLOSE_S)

    def limit_s(self, form: StructuredOutputs) -> float:
        return self._limits[form.kind != "regex"]

    def words(self) -> Words:
        """The vocabulary as bytes; made once, in the thread that first needs it."""
        with self._lock:
            if self._words is None:
                self._words = Words(self._tokenizer, self._vocab_size, self._eos_ids)
            return self._words

    def compile_here(self, form: StructuredOutputs) -> Grammar:
        """Compile in this process what a child has compiled in time."""
        from engine.structured.bindings import compiled, compiler_for, tokenizer_info

        words = self.words()
        with self._lock:
            if self._compiler is None:
                info = tokenizer_info(words.tokens, sorted(words.eos_ids))
                self._compiler = compiler_for(info)
        handle = compiled(self._compiler, form)
        return Grammar(handle, words, int(handle.memory_size_bytes()), form.bars)

    def next_job(self) -> tuple[bytes, StructuredOutputs] | None:
        while (job := self._jobs.get()) is not None:
            with contextlib.suppress(KeyError):  # whoever removes it, here or in `drop`, has it
                self._wanted.remove(job[0])
                return job
        return None

    def tell(self, done: Compiled) -> None:
        self._done.append(done)
        self._news.set()

    def _keep(self, digest: bytes, grammar: Grammar) -> None:
        if (before := self._cache.pop(digest, None)) is not None:  # all who waited had left
            self._held_bytes -= before.size_bytes
        self._cache[digest] = grammar
        self._held_bytes += grammar.size_bytes
        while self._held_bytes > self._cache_bytes and self._cache:
            _, dropped = self._cache.popitem(last=False)
            self._held_bytes -= dropped.size_bytes


class _Worker:
    """One thread and its child process. Only the thread starts and reaps children."""

    def __init__(self, owner: GrammarCompiler) -> None:
        self._owner = owner
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self.thread = threading.Thread(target=self._run, name="grammars", daemon=True)
        self.thread.start()

    @property
    def pid(self) -> int:
        child = self._child
        return child.pid if child is not None else 0

    def stop(self) -> None:
        """End with the job under way, which fails at once. Any thread may call this."""
        self._stopping = True
        if (child := self._child) is not None:
            child.kill()

    def _run(self) -> None:
        while not self._stopping and (job := self._owner.next_job()) is not None:
            digest, form = job
            try:
                result: Grammar | PagodaError = self._compile(form)
            except InvalidRequest as error:
                result = error
            except Exception:
                log.exception("grammar_not_compiled")
                result = form.refused("could not be compiled")
            self._owner.tell(Compiled(digest, result))
        self._reap()

    def _reap(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was written to it has no reader
                        pipe.close()

    def _compile(self, form: StructuredOutputs) -> Grammar:
        """Raises `InvalidRequest` for what is no grammar or takes too long."""
        limit_s = self._owner.limit_s(form)
        for _ in range(TRIES):
            if self._stopping:
                break
            try:
                outcome = self._ask(form, limit_s)
            except TooLate:
                self._reap()
                raise form.refused(
                    f"takes longer than {limit_s:g} s to compile; make it simpler"
                ) from None
            except (ChildDied, OSError):
                self._reap()
                continue
            if outcome.refusal.startswith("'"):  # a whole message, from a check of ours
                raise InvalidRequest(outcome.refusal, param=form.field or "structured_outputs")
            if outcome.refusal:
                raise form.refused(outcome.refusal)
            return self._owner.compile_here(form)
        raise form.refused("cannot be compiled: the compiler ended, perhaps for want of memory")

    def _ask(self, form: StructuredOutputs, limit_s: float) -> Outcome:
        child = self._child or self._start()
        assert child.stdin is not None
        write_frame(child.stdin, Job(form, limit_s))
        return msgspec.msgpack.decode(answer_of(child, limit_s), type=Outcome)

    def _start(self) -> subprocess.Popen[bytes]:
        """A child that has the vocabulary. It ends by itself when our end of its pipe closes."""
        words = self._owner.words()
        child = subprocess.Popen(
            [sys.executable, "-m", "engine.structured.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the library quotes the caller's text there
            cwd=SOURCES,  # where `-m` looks for this package first
        )
        self._child = child
        assert child.stdin is not None
        write_frame(child.stdin, Vocabulary(words.tokens, sorted(words.eos_ids)))
        answer_of(child, START_S)
        return child
