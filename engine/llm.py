"""Offline inference: `LLM(model).generate(prompts)`. No Django, no Redis, no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from tqdm import tqdm

from engine.beam_outputs import BeamSearchOutput, BeamSearchParams
from engine.config import EngineConfig
from engine.core import EngineCore
from engine.errors import EngineStartError, InvalidRequest
from engine.lora.request import LoRARequest
from engine.messages import EventKind, Finish, QueueBody
from engine.offline_options import config_from
from engine.output_builder import OutputBuilder
from engine.outputs import RequestOutput
from engine.pooling import offline
from engine.pooling.card import PoolingCard
from engine.pooling.params import PoolingParams, PoolingTask
from engine.prompts import (
    Message,
    Prompt,
    TokenPrompt,
    as_list,
    load_chat_template,
    render_chat,
    tokenise,
)
from engine.sampling_defaults import sampling_defaults
from engine.sampling_params import SamplingParams
from engine.step_trace import StepTrace
from engine.tokenizer import Tokenizer

Params = SamplingParams | Sequence[SamplingParams] | None
Loras = LoRARequest | Sequence[LoRARequest | None] | None


class LLM:
    """A model in this process. Options are the fields of `EngineConfig`.

    Raises TypeError for unknown options and `EngineStartError` when the model cannot be served.
    """

    _core: EngineCore | None  # None: asleep without weights
    _config: EngineConfig
    _defaults: SamplingParams
    _closed: bool

    def __init__(self, model: str, **options: Any) -> None:
        self._open(_build(config_from(model, options)))

    @classmethod
    def from_core(cls, core: EngineCore) -> Self:
        """Use an engine that exists already."""
        llm = cls.__new__(cls)
        llm._open(core)
        return llm

    @property
    def core(self) -> EngineCore:
        """Raises `EngineStartError` while the weights are given back."""
        if self._core is None:
            raise EngineStartError("This LLM sleeps without its weights.", "Call wake_up() first.")
        return self._core

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: Params | BeamSearchParams = None,
        *,
        use_tqdm: bool = True,
        lora_request: Loras = None,
        priority: int | Sequence[int] = 0,
    ) -> list[RequestOutput]:
        """Complete prompts (text, ids or dicts); results in order. Raises the first refusal."""
        inputs = [tokenise(prompt, self.core.tokenizer) for prompt in as_list(prompts)]
        if isinstance(sampling_params, BeamSearchParams):
            sampling_params = sampling_params.sampling()
        return self._run(inputs, sampling_params, priority, use_tqdm, lora_request)

    def chat(
        self,
        messages: list[Message] | list[list[Message]],
        sampling_params: Params = None,
        *,
        use_tqdm: bool = True,
        chat_template: str | None = None,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        chat_template_kwargs: dict[str, Any] | None = None,
        lora_request: Loras = None,
        priority: int | Sequence[int] = 0,
    ) -> list[RequestOutput]:
        """Answer one conversation or many, through the model's chat template or a given one."""
        many: Any = messages if messages and isinstance(messages[0], list) else [messages]
        source, tokenizer = load_chat_template(chat_template), self.get_tokenizer()
        inputs = [
            render_chat(
                conversation,
                tokenizer,
                source,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                **(chat_template_kwargs or {}),
            )
            for conversation in many
        ]
        return self._run(inputs, sampling_params, priority, use_tqdm, lora_request)

    def beam_search(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: BeamSearchParams,
        *,
        use_tqdm: bool = False,
        lora_request: Loras = None,
    ) -> list[BeamSearchOutput]:
        """The `beam_width` best continuations of each prompt. Raises the first refusal."""
        inputs = [tokenise(prompt, self.core.tokenizer) for prompt in as_list(prompts)]
        found = self._run(inputs, params.sampling(), 0, use_tqdm, lora_request)
        return [BeamSearchOutput.of(output) for output in found]

    def encode(
        self,
        prompts: Prompt | Sequence[Prompt],
        pooling_params: PoolingParams | None = None,
        *,
        pooling_task: str | None = None,
        truncate_prompt_tokens: int | None = None,
        use_tqdm: bool = True,
    ) -> list[offline.PoolingRequestOutput]:
        """Vectors as the model makes them, one for each prompt or, for token tasks, each token."""
        card = offline.card_of(self.core)
        params = pooling_params or PoolingParams(task=card.task)
        if pooling_task is not None:
            params = msgspec.structs.replace(params, task=PoolingTask(pooling_task))
        most = self._most(truncate_prompt_tokens)
        inputs = [self._ids(prompt, most, card) for prompt in as_list(prompts)]
        return offline.pool(self.core, inputs, params, bar=use_tqdm)

    def embed(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        pooling_params: PoolingParams | None = None,
        truncate_prompt_tokens: int | None = None,
        use_tqdm: bool = True,
    ) -> list[offline.EmbeddingRequestOutput]:
        """One embedding per prompt."""
        found = self.encode(
            prompts,
            pooling_params or PoolingParams(),
            truncate_prompt_tokens=truncate_prompt_tokens,
            use_tqdm=use_tqdm,
        )
        return offline.embeddings(found)

    def classify(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        pooling_params: PoolingParams | None = None,
        truncate_prompt_tokens: int | None = None,
        use_tqdm: bool = True,
    ) -> list[offline.ClassificationRequestOutput]:
        """One score per class and prompt."""
        params = pooling_params or PoolingParams(task=PoolingTask.CLASSIFY)
        found = self.encode(
            prompts, params, truncate_prompt_tokens=truncate_prompt_tokens, use_tqdm=use_tqdm
        )
        return offline.classifications(found)

    def reward(
        self,
        prompts: Prompt | Sequence[Prompt],
        *,
        pooling_params: PoolingParams | None = None,
        truncate_prompt_tokens: int | None = None,
        use_tqdm: bool = True,
    ) -> list[offline.PoolingRequestOutput]:
        """What a reward model says of each prompt, without an activation."""
        params = pooling_params or PoolingParams(task=PoolingTask.CLASSIFY, activate=False)
        return self.encode(
            prompts, params, truncate_prompt_tokens=truncate_prompt_tokens, use_tqdm=use_tqdm
        )

    def score(
        self,
        data_1: str | Sequence[str],
        data_2: str | Sequence[str],
        *,
        truncate_prompt_tokens: int | None = None,
        use_tqdm: bool = True,
    ) -> list[offline.ScoringRequestOutput]:
        """How well texts fit each other: one to one, one to many, or pair by pair."""
        sides = tuple([side] if isinstance(side, str) else list(side) for side in (data_1, data_2))
        most = self._most(truncate_prompt_tokens)
        tokenizer = self.get_tokenizer()
        return offline.score(self.core, tokenizer, (sides[0], sides[1]), most, bar=use_tqdm)

    def get_tokenizer(self) -> Tokenizer:
        """Raises `InvalidRequest` when the engine was started without one."""
        if self.core.tokenizer is None:
            raise InvalidRequest("This engine runs without a tokenizer (skip_tokenizer_init).")
        return self.core.tokenizer

    def get_default_sampling_params(self) -> SamplingParams:
        """What the checkpoint recommends; a copy."""
        return msgspec.structs.replace(self._defaults)

    def get_metrics(self) -> dict[str, int]:
        """Counters of this engine since its start."""
        return msgspec.structs.asdict(self.core.counters)

    def start_profile(self) -> None:
        """Trace the calls to come. Raises `InvalidRequest` without PAGODA_PROFILE_DIR."""
        self._trace.start()

    def stop_profile(self) -> Path:
        """Write the trace into PAGODA_PROFILE_DIR: its path, for chrome://tracing or Perfetto."""
        return self._trace.stop()

    def reset_prefix_cache(self) -> None:
        self.core.reset_prefix_cache()

    def sleep(self, level: int = 1) -> None:
        """Give memory back between calls: 1 the KV cache, 2 the weights as well."""
        if level not in (1, 2):
            raise InvalidRequest(f"level is {level!r}; sleep knows 1 and 2.", param="level")
        self.core.sleep()
        if level == 2:
            self._config = self.core.config
            self.core.close()
            self._core = None

    def wake_up(self) -> None:
        """Take back what `sleep` gave; after level 2 the weights are read from disk again."""
        if self._core is None:
            self._core = _build(self._config)
        self._core.wake_up()

    def is_sleeping(self) -> bool:
        return self._core is None or self._core.asleep

    def shutdown(self) -> None:
        """Give the model's memory back. Safe to call twice."""
        if not self._closed:
            self._closed = True
            if self._core is not None:
                self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    def _open(self, core: EngineCore) -> None:
        self._core, self._config = core, core.config
        self._defaults = sampling_defaults(core.config)
        self._rids = count()
        self._trace = StepTrace("llm")
        self._closed = False

    def _run(
        self,
        inputs: list[TokenPrompt],
        params: Params,
        priority: int | Sequence[int],
        bar: bool,
        lora_request: Loras = None,
    ) -> list[RequestOutput]:
        if self._closed:
            raise EngineStartError("This LLM was shut down.", "Make a new one.")
        each = _spread("sampling_params", self._defaults if params is None else params, len(inputs))
        priorities = _spread("priority", priority, len(inputs))
        adapters = self._adapters(_spread("lora_request", lora_request, len(inputs)))
        builders: dict[str, OutputBuilder] = {}
        try:
            for prompt, own, rank, adapter in zip(inputs, each, priorities, adapters, strict=True):
                body = self._body(prompt, own, rank)
                body.adapter = adapter
                output = RequestOutput(body.rid, prompt.text, prompt.token_ids)
                builders[body.rid] = OutputBuilder(output, own, self.core.tokenizer)
                self.core.submit(body)
            self._drive(builders, bar)
        except BaseException:
            self._abandon(builders)
            raise
        return [builder.output for builder in builders.values()]

    def _most(self, asked: int | None) -> int | None:
        return self.core.max_model_len if asked == -1 else asked

    def _ids(self, prompt: Prompt, most: int | None, card: PoolingCard) -> offline.Ids:
        if isinstance(prompt, str):
            return offline.Ids(self.get_tokenizer().encode_cut(card.cased(prompt), most=most)[0])
        return offline.Ids(tokenise(prompt, self.core.tokenizer).token_ids[:most])

    def _adapters(self, requests: list[LoRARequest | None]) -> list[str | None]:
        """Tell the core of every adapter that is named; digests, in order."""
        if any(requests) and self.core.config.enable_lora is False:
            raise InvalidRequest("This engine was made with enable_lora=False.")
        sources = {request: request.source() for request in requests if request is not None}
        for source in sources.values():
            self.core.load_adapter(source)
        return [None if request is None else sources[request].digest for request in requests]

    def _body(self, prompt: TokenPrompt, params: SamplingParams, priority: int) -> QueueBody:
        return QueueBody(
            rid=str(next(self._rids)),
            attempt=1,
            web="",
            model=self.core.config.model,
            prompts=[prompt.token_ids],
            params=params,
            priority=priority,
            deadline_ms=0,
        )

    def _drive(self, builders: dict[str, OutputBuilder], bar: bool) -> None:
        """Step until all have ended."""
        left = len(builders)
        with tqdm(total=left, desc="Prompts", unit="prompt", disable=not bar) as progress:
            while left:
                for delta in self.core.step():
                    builders[delta.rid].add(delta)
                    if delta.kind is EventKind.END:
                        left -= 1
                        progress.update()

    def _abandon(self, builders: dict[str, OutputBuilder]) -> None:
        """Free what an error or Ctrl-C left behind, so that the next call starts clean."""
        for rid in builders:
            self.core.cancel(rid, Finish.CANCELLED)
        while self.core.has_work():
            self.core.step()


def _build(config: EngineConfig) -> EngineCore:
    from engine.runner.build import build_core  # the first import of torch

    return build_core(config)


def _spread(name: str, value: Any, size: int) -> list[Any]:
    """One value for all, or one each."""
    if not isinstance(value, list | tuple):
        return [value] * size
    if len(value) != size:
        raise InvalidRequest(f"{name} has {len(value)} entries for {size} prompts.", param=name)
    return list(value)
