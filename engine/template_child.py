"""The process that renders chat templates: `python -m engine.template_child`.

It dies when a render takes too long, even inside one expression: the kernel counts its CPU time. So
a busy machine refuses nothing. Frames on stdin and stdout hold a `RenderJob` and its `Rendered`.
"""

from __future__ import annotations

import resource
import signal
import sys
from functools import lru_cache
from typing import Any

import msgspec

from engine.chat_template import RENDER_S, TOO_MUCH, ChatTemplate
from engine.errors import EngineStartError, InvalidRequest
from engine.frames import read_frame, write_frame

MEMORY_BYTES = 1024**3  # of address space
GRACE_S = 0.1  # the template's own loops stop first, and tell


class RenderJob(msgspec.Struct):
    source: str
    special_tokens: dict[str, str]
    options: dict[str, Any]  # of `ChatTemplate.render`


class Rendered(msgspec.Struct, omit_defaults=True):
    """The text; or why there is none: the template's fault (`broken`) or the request's."""

    text: str = ""
    refusal: str = ""
    param: str | None = None
    broken: str = ""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while data := read_frame(source):
        job = msgspec.msgpack.decode(data, type=RenderJob)
        signal.setitimer(signal.ITIMER_PROF, RENDER_S + GRACE_S)  # SIGPROF's default is to end us
        rendered = _rendered(job)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_frame(sink, rendered)


def _rendered(job: RenderJob) -> Rendered:
    try:
        template = _template(job.source, tuple(sorted(job.special_tokens.items())))
        return Rendered(template.render(**job.options))
    except EngineStartError as error:
        return Rendered(broken=error.cause)
    except InvalidRequest as error:
        return Rendered(refusal=error.message, param=error.param)
    except MemoryError:
        return Rendered(refusal=TOO_MUCH, param="messages")


@lru_cache(maxsize=8)
def _template(source: str, special_tokens: tuple[tuple[str, str], ...]) -> ChatTemplate:
    return ChatTemplate(source, dict(special_tokens))


if __name__ == "__main__":
    main()
