"""Imports run one way; a test walks the syntax trees so that the picture stays true."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "triton", "transformers", "xgrammar"}
APPS_MAY_USE = {  # the engine's torch-free face
    "engine.client",
    "engine.errors",
    "engine.hub",
    "engine.messages",
    "engine.sampling_params",
    "engine.sampling_defaults",
    "engine.foreign_options",
    "engine.settings",
    "engine.config",
    "engine.logs",
    "engine.machine",
    "engine.models.registry",
    "engine.pooling.card",
    "engine.pooling.params",
    "engine.runner.memory",
    "engine.scripts",
    "engine.step_figures",
    "engine.redis_keys",
    "engine.redis_link",
    "engine.streams",
    "engine.view",
    "engine.judgement",
    "engine.tokenizer",
    "engine.detokenizer",
    "engine.chat_template",
    "engine.template_process",
    "engine.structured.outputs",
}
PURE = ("engine/scheduler", "engine/cache")


def modules(*folders: str) -> list[Path]:
    return [p for f in folders for p in sorted((ROOT / f).rglob("*.py"))]


def imports(file: Path) -> Iterator[str]:
    """Every imported module of a file, also those inside functions; `a.b` for `from a import b`
    when `a/b.py` exists."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / (inner.replace(".", "/") + ".py")).exists()
                yield inner if is_module else node.module


def top(name: str) -> str:
    return name.split(".")[0]


def offenders(files: list[Path], bad: object) -> list[str]:
    assert files, "nothing was checked"
    return [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports(file)
        if bad(name)  # type: ignore[operator]
    ]


def test_engine_knows_no_django():
    banned = {"django", "rest_framework", "channels", "celery", "apps", "inference_site"}
    assert offenders(modules("engine"), lambda n: top(n) in banned) == []


def test_apps_and_site_load_no_tensor_library():
    assert offenders(modules("apps", "inference_site"), lambda n: top(n) in HEAVY) == []


def test_apps_use_only_the_engines_torch_free_face():
    def inside(name: str) -> bool:
        return top(name) == "engine" and name not in APPS_MAY_USE

    assert offenders(modules("apps", "inference_site"), inside) == []


def test_scheduler_and_cache_are_pure_python():
    banned = HEAVY | {"redis"}
    assert offenders(modules(*PURE), lambda n: top(n) in banned) == []


def test_kernels_know_nothing_of_the_engine_above_them():
    def above(name: str) -> bool:
        return name.startswith("engine.") and not name.startswith(
            ("engine.kernels", "engine.errors", "engine.dims")
        )

    assert offenders(modules("engine/kernels"), above) == []


@pytest.mark.parametrize("name", sorted(APPS_MAY_USE))
def test_the_torch_free_face_stays_torch_free(name):
    code = f"import sys, {name}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
