"""The examples of vLLM 0.6.6's documentation, and the only changes they need to run here.

`examples/` holds their text as it stands there. `rewritten` changes the import, the command name
and the model; beside these only what a test machine needs: the port, and the paths of files that
the documentation leaves to the reader.
"""

from __future__ import annotations

import re
from pathlib import Path

EXAMPLES = Path(__file__).parent / "examples"
IMPORTS = {
    "from vllm.entrypoints.chat_utils import": "from engine import",
    "from vllm.lora.request import": "from engine import",
    "from vllm import": "from engine import",
}
COMMANDS = {
    "python -m vllm.entrypoints.openai.api_server": "python -m inference_site serve",
    "vllm serve": "pagoda serve",
}
MODELS = (
    "facebook/opt-125m",
    "Qwen/Qwen2.5-1.5B-Instruct",
    "Qwen/Qwen2.5-Math-RM-72B",
    "meta-llama/Meta-Llama-3-8B-Instruct",
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-2-7b-hf",
    "NousResearch/Meta-Llama-3-8B-Instruct",
    "mistralai/Mistral-7B-Instruct-v0.3",
    "intfloat/e5-mistral-7b-instruct",
    "jason9693/Qwen2.5-1.5B-apeach",
    "BAAI/bge-reranker-v2-m3",
    "SOME_MODEL",
    "<model>",
)
PORT = re.compile(r"(localhost|0\.0\.0\.0):8000")


def rewritten(text: str, model: str, *, port: int = 8000, **places: str) -> str:
    """`text` with our names. `places` are further words of the example and what stands for them."""
    for theirs, ours in (IMPORTS | COMMANDS).items():
        text = text.replace(theirs, ours)
    for name in MODELS:
        text = text.replace(name, model)
    text = text.replace("model=...", f"model={model!r}")
    text = text.replace("revision=...", "revision='main'").replace("task=...", "task='generate'")
    for theirs, ours in places.items():
        text = text.replace(theirs, ours)
    return PORT.sub(rf"127.0.0.1:{port}", text)


def example(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")
