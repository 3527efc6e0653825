"""The calls of docs/clients.md, made by each client against one live service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import environment
from tests.served import Served, serving
from tests.stack import ROOT

PROGRAMS = Path(__file__).parent / "programs"
CLIENTS = {  # name in docs/clients.md → its program
    "openai (Python)": "openai_python.py",
    "anthropic (Python)": "anthropic_python.py",
    "langchain-openai": "langchain_openai_calls.py",
    "litellm": "litellm_calls.py",
    "openai (Node)": "openai_node.mjs",
}
BESIDE = ("openai_python.py", "anthropic_python.py")  # these live among the server's own pins


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("clients") / "home", within_s=90) as running:
        yield running


@pytest.fixture(scope="module")
def clients() -> Path:
    return environment.made()


def recorded(client: str) -> list[str]:
    """The calls that the document promises."""
    text = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    section = text.partition(f"## {client}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("client", CLIENTS)
def test_every_call_of_the_matrix_works(client: str, served: Served, clients: Path) -> None:
    program = PROGRAMS / CLIENTS[client]
    model = served.get("/v1/models")["data"][0]["id"]
    environ = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    if program.suffix == ".mjs":
        command = [str(environment.node()), "--import", _resolver(clients), str(program)]
    else:
        own = program.name in BESIDE
        command = [sys.executable if own else str(environment.python()), str(program)]
    done = subprocess.run(
        [*command, served.url, served.boot["api_key"], model],
        env=environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"call"')]
    assert {line["call"]: line["cause"] for line in lines} == dict.fromkeys(recorded(client), ""), (
        done.stderr[-3000:]
    )


def _resolver(clients: Path) -> str:
    """A module that lets the program find `openai` outside its own folder."""
    modules = environment.node_modules().as_uri()
    hook = (
        "export async function resolve(name, context, next) {"
        f"  return next(name, name === 'openai' ? {{...context, parentURL: '{modules}/x.mjs'}}"
        "    : context); }"
    )
    (clients / "hook.mjs").write_text(hook)
    register = clients / "register.mjs"
    register.write_text(
        "import { register } from 'node:module';\n"
        f"register('{(clients / 'hook.mjs').as_uri()}');\n"
    )
    return register.as_uri()
