"""Holds requests whose grammar compiles, so that nobody else waits. Driven by the step loop."""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import InvalidRequest, Overloaded, PagodaError
from engine.messages import QueueBody
from engine.request import Request, Status
from engine.structured.compiler import Grammar, GrammarCompiler
from engine.structured.outputs import StructuredOutputs

RETRY_AFTER_S = 5.0
MAX_WAITING = 32  # grammars that wait to be compiled; each may take seconds


class GrammarGate:
    """Requests by the digest of what they wait for."""

    def __init__(self, compiler: GrammarCompiler | None) -> None:
        """`compiler` None: the engine has no tokenizer, or its model no end of text."""
        self.compiler = compiler
        self.num_held = 0  # sequences
        self._held: dict[bytes, list[Request]] = {}

    def check(self, body: QueueBody) -> None:
        """Raises `InvalidRequest` where no grammar can be followed, or this one was refused, and
        `Overloaded` where a request that has a deadline would wait behind too many."""
        if (form := body.params.structured_outputs) is None:
            return
        if self.compiler is None:
            raise form.refused("needs a tokenizer and a token that ends a text")
        digest = form.digest()
        if (error := self.compiler.refusal(digest)) is not None:
            raise _named(error, form)
        if not body.deadline_ms or digest in self._held or self.compiler.find(digest) is not None:
            return
        if len(self._held) >= MAX_WAITING:
            raise Overloaded(
                f"{MAX_WAITING} other schemas, expressions or grammars wait to be compiled. "
                "Try again later.",
                param="grammars",
                retry_after_s=RETRY_AFTER_S,
            )

    def admit(self, request: Request) -> bool:
        """Whether the request may be scheduled now; else `released` will name it."""
        form = request.body.params.structured_outputs
        if form is None or self.compiler is None:
            return True
        digest = form.digest()
        request.grammar = self.compiler.find(digest)
        if request.grammar is not None:
            return True
        for sequence in request.sequences:
            sequence.status = Status.HELD
        self.num_held += len(request.sequences)
        waiting = self._held.setdefault(digest, [])
        waiting.append(request)
        if len(waiting) == 1:
            self.compiler.begin(digest, form)
        return False

    def released(self) -> Iterator[tuple[Request, PagodaError | None]]:
        """Requests whose grammar is there, or why it will never be."""
        if self.compiler is None or not self.num_held:
            return
        for done in self.compiler.finished():
            for request in self._held.pop(done.digest, ()):
                self.num_held -= len(request.sequences)
                if isinstance(done.result, Grammar):
                    request.grammar = done.result
                    for sequence in request.sequences:
                        sequence.status = Status.WAITING
                    yield request, None
                else:
                    yield request, _named(done.result, request.body.params.structured_outputs)

    def forget(self, request: Request) -> None:
        """The request ended from outside. A grammar that nobody else waits for is not begun."""
        form = request.body.params.structured_outputs
        if form is None or not self.num_held:
            return
        digest = form.digest()
        waiting = self._held.get(digest, [])
        if request in waiting:
            waiting.remove(request)
            self.num_held -= len(request.sequences)
            if not waiting and self.compiler is not None:
                del self._held[digest]
                self.compiler.drop(digest)

    def wait(self, timeout_s: float) -> None:
        if self.compiler is not None:
            self.compiler.wait(timeout_s)

    def close(self) -> None:
        if self.compiler is not None:
            self.compiler.close()


def _named(error: PagodaError, form: StructuredOutputs | None) -> PagodaError:
    """The refusal under the field that this request used: equal grammars share one compilation."""
    field = (form.field if form is not None else "") or "structured_outputs"
    if error.param == field:
        return error
    return InvalidRequest(error.message.replace(f"'{error.param}'", f"'{field}'", 1), param=field)
