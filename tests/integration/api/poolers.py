"""Engines of tiny pooling models in threads of this process, behind the shared web process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.config import EngineConfig
from engine.daemon import load
from engine.messages import EngineState
from engine.runner.build import build_core
from engine.step_loop import StepLoop
from engine.transport import Transport
from tests.integration.pooling.checkpoints import CASES, make_model
from tests.served import LIMIT_S
from tests.stack import Stack

REGISTER = """
from apps.models.agent.facts import pooling_of
from apps.models.models import ServedModel
from pathlib import Path
for name, folder in json.loads(sys.argv[1]).items():
    ServedModel.objects.create(
        name=name, source=folder, path=folder, max_model_len=96, vocab_size=160,
        kv_tokens=10_000, pooling=pooling_of(Path(folder), {}),
    )
"""
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}!{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}{{ place }}"
)


@dataclass(frozen=True)
class Pooler:
    """A served model: the name of its case, and what its config.json has beside."""

    name: str
    case: str
    config: dict[str, object]
    template: str | None = TEMPLATE


POOLERS = (
    Pooler("embedder", "bert-model", {"is_matryoshka": True}),
    Pooler("reranker", "bert-reranker", {}),
    Pooler("classifier", "bert-forsequenceclassification",
           {"id2label": {"0": "bad", "1": "so-so", "2": "good"}}),
    Pooler("tagger", "bert-fortokenclassification", {}, template=None),
)  # fmt: skip


def register(stack: Stack, folders: dict[str, Path]) -> None:
    stack.manage(REGISTER, json.dumps({name: str(folder) for name, folder in folders.items()}))


@contextmanager
def running(stack: Stack, pooler: Pooler, folder: Path) -> Iterator[Path]:
    """The folder of a model that an engine serves while the block lasts."""
    make_model(next(case for case in CASES if case.name == pooler.case), folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | pooler.config))
    if pooler.template is not None:
        (folder / "chat_template.jinja").write_text(pooler.template)
    transport = Transport(f"pooler-{pooler.name}", pooler.name, stack.redis_url)
    transport.start()
    config = EngineConfig(model=str(folder), num_threads=1, max_num_seqs=16)
    loop = StepLoop(load(transport, partial(build_core, config)))
    transport.attach(loop)
    thread = threading.Thread(target=loop.run, args=(transport.deliver,), daemon=True)
    thread.start()
    assert transport.progress.state is EngineState.READY
    try:
        yield folder
    finally:
        loop.stop()
        thread.join(LIMIT_S)
        transport.stop()
