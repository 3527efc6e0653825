"""The engine for asyncio programs: a step loop in a thread, one async iterator per request."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Self
from uuid import uuid4

import msgspec

from engine.core import EngineCore
from engine.errors import EngineStartError, InternalError, InvalidRequest
from engine.logs import event_log
from engine.lora.request import LoRARequest
from engine.messages import AdapterSource, AdapterState, Delta, EventKind, Finish, QueueBody
from engine.offline_options import config_from
from engine.output_builder import OutputBuilder
from engine.outputs import RequestOutput
from engine.prompts import Prompt, tokenise
from engine.sampling_defaults import sampling_defaults
from engine.sampling_params import SamplingParams

log = event_log(__name__)

LORA_POLL_S = 0.01
_Inbox = asyncio.Queue[Delta | None]  # None: the step loop is gone


class AsyncLLMEngine:
    """Call from one event loop. The step loop sleeps on an event while there is no work."""

    core: EngineCore
    _defaults: SamplingParams
    _loop: asyncio.AbstractEventLoop | None

    def __init__(self, model: str, **options: Any) -> None:
        config = config_from(model, options)
        from engine.runner.build import build_core  # the first import of torch

        self._open(build_core(config))

    @classmethod
    def from_core(cls, core: EngineCore) -> Self:
        """Use an engine that exists already; it belongs to this object from now on."""
        engine = cls.__new__(cls)
        engine._open(core)
        return engine

    async def generate(
        self,
        prompt: Prompt,
        sampling_params: SamplingParams | None = None,
        request_id: str | None = None,
        *,
        lora_request: LoRARequest | None = None,
        priority: int = 0,
    ) -> AsyncIterator[RequestOutput]:
        """Yield the growing output (the same object) after each step; the last one is finished.

        Leaving the iteration early aborts the request. Raises the refusal of a bad request.
        """
        self.check_health()
        rid = uuid4().hex if request_id is None else request_id
        params = sampling_params or self._defaults
        found = await asyncio.to_thread(tokenise, prompt, self.core.tokenizer)
        adapter = None
        if lora_request is not None:
            adapter = (await self._announce(lora_request)).digest
        if rid in self._inboxes:
            raise InvalidRequest(f"Request id {rid!r} is in use.", param="request_id")
        output = RequestOutput(rid, found.text, found.token_ids)
        builder = OutputBuilder(output, params, self.core.tokenizer)
        inbox = self._inboxes[rid] = _Inbox()
        self._loop = asyncio.get_running_loop()
        body = QueueBody(
            rid=rid,
            attempt=1,
            web="",
            model=self.core.config.model,
            prompts=[found.token_ids],
            params=msgspec.structs.replace(params),
            priority=priority,
            adapter=adapter,
            deadline_ms=0,
        )
        self._post(partial(self.core.submit, body))
        try:
            while not output.finished:
                delta = await inbox.get()
                if delta is None:
                    raise InternalError(f"The engine stopped during request {rid}.")
                builder.add(delta)
                if delta.kind is not EventKind.STARTED:
                    yield output
        finally:
            self._inboxes.pop(rid, None)
            if not output.finished:
                self.abort_nowait(rid)

    async def abort(self, request_id: str) -> None:
        """End a request; its iterator yields once more, with finish reason `abort`."""
        self.abort_nowait(request_id)

    def abort_nowait(self, request_id: str) -> None:
        self._post(partial(self.core.cancel, request_id, Finish.CANCELLED))

    async def add_lora(self, lora_request: LoRARequest) -> bool:
        """Load an adapter now; True when it was new. Raises `InvalidRequest` with the cause."""
        self.check_health()
        known = lora_request.lora_int_id in self._loras
        source = await self._announce(lora_request)
        while True:
            beats = {beat.digest: beat for beat in self.core.adapters()}
            beat = beats.get(source.digest)
            if beat is not None and beat.state is AdapterState.READY:
                return not known
            if beat is not None and beat.state is AdapterState.FAILED:
                del self._loras[lora_request.lora_int_id]
                self._drop_unnamed(source.digest)
                raise InvalidRequest(
                    f"The adapter {source.name!r} could not be loaded: {beat.cause}",
                    param="lora_path",
                )
            self.check_health()
            await asyncio.sleep(LORA_POLL_S)

    async def remove_lora(self, lora_int_id: int) -> bool:
        """Forget an adapter once its requests have ended; False when the number is unknown."""
        source = self._loras.pop(lora_int_id, None)
        if source is None:
            return False
        self._drop_unnamed(source.digest)
        return True

    async def list_loras(self) -> set[int]:
        """The numbers of the adapters that were added or used and not removed."""
        return set(self._loras)

    async def _announce(self, request: LoRARequest) -> AdapterSource:
        """Let the core know the adapter. Reads its files once to name their content."""
        if self.core.config.enable_lora is False:
            raise InvalidRequest("This engine was made with enable_lora=False.")
        source = await asyncio.to_thread(request.source)
        before = self._loras.get(request.lora_int_id)
        self._loras[request.lora_int_id] = source
        self._post(partial(self.core.load_adapter, source))
        if before is not None:
            self._drop_unnamed(before.digest)
        return source

    def _drop_unnamed(self, digest: str) -> None:
        """Unload content that no number names any more; two may name the same."""
        if digest not in {source.digest for source in self._loras.values()}:
            self._post(partial(self.core.unload_adapter, digest))

    def check_health(self) -> None:
        """Raises `EngineStartError` once the step loop has stopped."""
        if not self._thread.is_alive():
            raise EngineStartError("The engine has stopped.", "Make a new AsyncLLMEngine.")

    def shutdown(self) -> None:
        """Stop the loop, end open iterators with an error, free the model. Safe to call twice."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _open(self, core: EngineCore) -> None:
        self.core = core
        self._inboxes: dict[str, _Inbox] = {}
        self._loras: dict[int, AdapterSource] = {}  # by the caller's number
        self._loop = None
        self._defaults = sampling_defaults(core.config)
        self._orders: deque[Callable[[], None]] = deque()  # appended here, taken by the thread
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine-steps", daemon=True)
        self._thread.start()

    def _post(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._wake.set()

    def _run(self) -> None:
        """The thread: orders, then a step, until told to stop or the runner gives up."""
        try:
            while not self._stopping:
                while self._orders:
                    self._orders.popleft()()
                if self.core.has_work():
                    self._tell(self._deliver, self.core.step())
                else:
                    self._wake.wait()
                    self._wake.clear()
        except Exception:
            log.exception("engine_stopped")
        finally:
            self.core.close()
            self._tell(self._deliver_end)

    def _tell(self, report: Callable[..., None], *args: Any) -> None:
        """One hand-over to the event loop per step."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(report, *args)

    def _deliver(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            if (inbox := self._inboxes.get(delta.rid)) is not None:
                inbox.put_nowait(delta)

    def _deliver_end(self) -> None:
        for inbox in self._inboxes.values():
            inbox.put_nowait(None)
