"""Two models that say what they are told: the demo's own files, and one whose markers are special
tokens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tokenizers import AddedToken
from tokenizers import Tokenizer as FastTokenizer

from tests.stack import ROOT, Stack

DEMO = ROOT / "demo" / "pagoda-demo"
ADD_MODEL = """
from apps.models.models import ServedModel
ServedModel.objects.create(
    name=sys.argv[1], source=sys.argv[2], path=sys.argv[2], max_model_len=2048, vocab_size=0,
    kv_tokens=1 << 20,
)
"""
SPECIALS = ("[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]")
MISTRAL = (
    "{% for m in messages %}[INST]{{ m.content }}[/INST]{% for c in m.tool_calls or [] %}"
    "[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments | tojson }}{% endfor %}"
    "{% endfor %}{{ tools | tojson if tools }}{% if false %}[THINK]{% endif %}"
)


def start_parrots(stack: Stack) -> None:
    """Models `parrot` and `special`, each with its engine."""
    folder = stack.folder / "special"
    write_special(folder)
    for name, path in (("parrot", DEMO), ("special", folder)):
        stack.manage(ADD_MODEL, name, str(path))
        command = [sys.executable, "-m", "tests.integration.api.parrot", "--engine-id", name]
        command += ["--model-name", name, "--redis", stack.redis_url, "--model", str(path)]
        with (stack.folder / f"{name}.log").open("ab") as log:
            stack.processes[name] = subprocess.Popen(
                command, env=stack.environ, cwd=ROOT, stdout=log, stderr=log
            )


def write_special(folder: Path) -> None:
    folder.mkdir()
    fast = FastTokenizer.from_file(str(DEMO / "tokenizer.json"))
    fast.add_special_tokens([AddedToken(text, special=True) for text in SPECIALS])
    fast.save(str(folder / "tokenizer.json"))
    config = json.loads((DEMO / "tokenizer_config.json").read_text()) | {"chat_template": MISTRAL}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text('{"model_type": "mistral"}')
    shutil.copy(DEMO / "generation_config.json", folder)
