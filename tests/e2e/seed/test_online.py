"""The documentation's server: its command lines, and its clients against one real server."""

from __future__ import annotations

import json
import os
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_site.launcher.options import ServeOptions, parse_serve
from tests.e2e.seed.rewrite import EXAMPLES, example, rewritten
from tests.served import Served, serving, wait_for

DEMO = Path(__file__).parents[3] / "demo" / "pagoda-demo"
PIRATE = DEMO.parent / "adapters" / "pirate"
COMMANDS = example("serve_commands.txt").splitlines()
# The key of the documentation's clients. It has no open server: curl reads it from its settings.
KEY = "EMPTY"


def options_of(command: str) -> ServeOptions:
    words = shlex.split(rewritten(command, "MODEL"))
    return parse_serve(words[words.index("serve") + 1 :])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_serve_command_is_taken(command, monkeypatch):
    monkeypatch.chdir(EXAMPLES)  # one of them names config.yaml
    assert options_of(command).model == "MODEL"


def test_flags_of_the_commands_do_what_they_say(monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    found = {command.split()[2]: options_of(command) for command in COMMANDS}
    file = found["SOME_MODEL"].environment
    assert (file["PAGODA_PORT"], file["PAGODA_HOST"]) == ("6379", "127.0.0.1")
    assert file["PAGODA_LOG_LEVEL"] == "INFO"
    chunked = found["mistralai/Mistral-7B-Instruct-v0.3"]
    assert chunked.engine_options == {"max_num_batched_tokens": "1024"}
    key = found["NousResearch/Meta-Llama-3-8B-Instruct"]
    assert key.environment["PAGODA_API_KEY"] == "token-abc123"
    tools = found["meta-llama/Llama-3.1-8B-Instruct"].engine_options
    assert tools["tool_call_parser"] == "llama3_json"
    assert tools["chat_template"] == "examples/tool_chat_template_llama3_json.jinja"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`vllm serve MODEL --dtype auto --api-key KEY --enable-lora --lora-modules sql-lora=…`"""
    flags = ["--dtype", "auto", "--api-key", KEY, "--enable-lora"]
    flags += ["--lora-modules", f"sql-lora={PIRATE}"]
    home = tmp_path_factory.mktemp("seed") / "home"
    env = {"PAGODA_ADAPTER_ROOTS": str(PIRATE.parent)}
    with serving(home, str(DEMO), *flags, env=env) as running:
        wait_for(lambda: "sql-lora" in listed(running), what="the adapter")
        yield running


def listed(served: Served) -> set[str]:
    return {card["id"] for card in served.get("/v1/models")["data"]}


@pytest.fixture
def curl(served, tmp_path):
    """Run a shell example; returns what it printed, as JSON if it is."""
    (tmp_path / ".curlrc").write_text(f'header = "Authorization: Bearer {KEY}"\nsilent\n')

    def running(name: str, **places: str):
        text = rewritten(example(name), "pagoda-demo", port=served.port, **places)
        env = os.environ | {"HOME": str(tmp_path)}
        done = subprocess.run(["bash", "-c", text], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        try:
            return json.loads(done.stdout)
        except ValueError:
            return done.stdout

    return running


@pytest.fixture
def run(served, tmp_path, capsys):
    """Run a Python client of the documentation; returns its names and what it printed."""

    def running(name: str, **places: str):
        file = tmp_path / name
        text = rewritten(example(name), "pagoda-demo", port=served.port, **places)
        file.write_text(text, encoding="utf-8")
        return runpy.run_path(str(file)), capsys.readouterr().out

    return running


def test_models_are_listed_with_their_adapters(curl):
    cards = {card["id"]: card for card in curl("curl_models.sh")["data"]}
    assert cards["pagoda-demo"]["parent"] is None
    assert cards["sql-lora"]["parent"] == "pagoda-demo"
    assert cards["sql-lora"]["object"] == "model"
    assert cards["sql-lora"]["root"]


def test_curl_completes_and_chats(curl):
    completion = curl("curl_completions.sh")
    assert completion["object"] == "text_completion"
    assert completion["usage"]["completion_tokens"] <= 7
    assert curl("curl_chat.sh")["choices"][0]["message"]["role"] == "assistant"


def test_the_openai_client_completes_and_chats(run):
    found, said = run("client_completions.py")
    assert found["completion"].choices[0].text
    assert "Completion result: Completion(id='cmpl-" in said
    found, said = run("client_chat.py")
    assert found["chat_response"].choices[0].message.content
    assert "Chat response: ChatCompletion(id='chatcmpl-" in said


def test_an_adapter_is_asked_by_its_name(curl):
    assert curl("curl_lora.sh")["model"] == "sql-lora"


def test_adapters_load_and_unload_while_the_server_runs(served, curl):
    said = curl("curl_load_lora.sh", **{"/path/to/sql-lora-adapter": str(PIRATE)})
    assert "sql_adapter" in said
    assert "sql_adapter" in listed(served)
    assert "sql_adapter" in curl("curl_unload_lora.sh")
    assert "sql_adapter" not in listed(served)


def test_metrics_have_the_names_that_dashboards_know(curl, run):
    run("client_completions.py")
    text = curl("curl_metrics.sh")
    assert "vllm:iteration_tokens_total_sum{" in text
    assert "vllm:iteration_tokens_total_bucket{" in text
    assert 'model_name="pagoda-demo"' in text


@pytest.mark.parametrize(
    "content", ["Hello!", [{"type": "text", "text": "Classify this sentiment: vLLM is wonderful!"}]]
)
def test_content_is_a_text_or_a_list_of_parts(served, content):
    message = {"role": "user", "content": content}
    body = {"model": "pagoda-demo", "messages": [message], "max_tokens": 4}
    assert served.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]


def test_the_server_can_be_started_as_a_module():
    words = shlex.split(rewritten(COMMANDS[-1], "MODEL"))
    command = [sys.executable, *words[1:4], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=DEMO.parents[1])
    assert (done.returncode, words[4:]) == (0, ["--model", "MODEL"])
    assert "--max-model-len" in done.stdout
