"""Bounds of one request: the only table of them. Over a cap means 400 with `param` (413: body).

An operator raises them with `PAGODA_<FIELD>` up to the hard limit given here.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.sampling_params import SamplingCaps
from engine.settings import setting
from engine.structured.outputs import StructuredCaps

MIB = 1024 * 1024
MAX_INT = 10**15
MAX_DEPTH = 64
MAX_STRING_CHARS = 2 * MIB
MAX_HEADERS = 100
MAX_HEADER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCaps:
    """Upper bounds on what a request may hold."""

    max_body: int = setting(4 * MIB, "bytes of a JSON body", low=1024, high=64 * MIB)
    max_prompts: int = setting(128, "prompts in one completions call", low=1, high=1024)
    max_inputs: int = setting(2048, "inputs in one embeddings call", low=1, high=16384)
    max_documents: int = setting(1000, "documents in one rerank call", low=1, high=10000)
    max_messages: int = setting(2048, "messages in one chat call", low=1, high=16384)
    max_tools: int = setting(128, "tools in one chat call", low=1, high=1024)
    max_schema_bytes: int = setting(
        64 * 1024, "bytes of one tool's JSON or of a JSON schema", low=1024, high=256 * 1024
    )
    max_regex_chars: int = setting(4096, "characters of a regex", low=16, high=16 * 1024)
    max_grammar_bytes: int = setting(64 * 1024, "bytes of a grammar", low=1024, high=256 * 1024)
    max_choices: int = setting(1000, "texts in guided_choice", low=1, high=1000)
    max_n: int = setting(8, "choices per prompt", low=1, high=128)
    max_stop: int = setting(4, "stop strings", low=0, high=16)
    max_stop_chars: int = setting(256, "characters of one stop string", low=1, high=1024)
    max_stop_token_ids: int = setting(128, "stop token ids", low=0, high=1024)
    max_bad_words: int = setting(128, "bad words", low=0, high=128)
    max_bad_word_chars: int = setting(256, "characters of one bad word", low=1, high=256)
    max_logit_bias: int = setting(300, "entries of logit_bias", low=0, high=1024)

    def sampling(self) -> SamplingCaps:
        """The part that the engine's own check enforces."""
        return SamplingCaps(
            n=self.max_n,
            stop=self.max_stop,
            stop_chars=self.max_stop_chars,
            stop_token_ids=self.max_stop_token_ids,
            bad_words=self.max_bad_words,
            bad_word_chars=self.max_bad_word_chars,
            logit_bias=self.max_logit_bias,
            structured=StructuredCaps(
                schema_bytes=self.max_schema_bytes,
                regex_chars=self.max_regex_chars,
                grammar_bytes=self.max_grammar_bytes,
                choices=self.max_choices,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Time limits and sizes of the web process."""

    keep_alive_s: float = setting(
        15.0, "an SSE comment is sent after this silence", low=1, high=300
    )
    force_include_usage: bool = setting(
        False, "every stream tells its usage, with each chunk and at its end"
    )
    per_request_metrics: bool = setting(
        False,
        "the usage chunk of a stream tells its times in ms, as Server-Timing of whole answers",
    )
    write_stall_s: float = setting(30.0, "a client that reads nothing is cut off", low=1, high=600)
    request_timeout_s: float = setting(600.0, "longest life of one request", low=1, high=86400)
    prompt_threads: int = setting(2, "threads that render and tokenise prompts", low=1, high=64)
    max_waiting_prompts: int = setting(512, "requests waiting for such a thread", low=1, high=65536)
    key_snapshot_s: float = setting(30.0, "a cached key is read again after this", low=1, high=300)
    ban_after: int = setting(
        100,
        "401s a minute that ban an address from trying more keys; 0: never",
        low=0,
        high=10**6,
    )
    ban_s: float = setting(300.0, "seconds such a ban lasts", low=1, high=86400)
