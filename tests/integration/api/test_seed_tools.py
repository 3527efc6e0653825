"""The tool example of vLLM's documentation, unchanged; the model answers as Llama 3 does."""

from __future__ import annotations

import runpy
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.e2e.seed.rewrite import example, rewritten
from tests.integration.api.parrot import say
from tests.integration.api.parrots import DEMO
from tests.stack import ROOT, Stack

CALL = (
    '{"name": "get_weather", "parameters": {"location": "San Francisco, CA", "unit": "fahrenheit"}}'
)
PREPARE = """
from apps.api.models import Owner
from apps.api.services import key_create
from apps.models.models import ServedModel
ServedModel.objects.create(
    name="weather", source=sys.argv[1], path=sys.argv[1], max_model_len=2048, vocab_size=0,
    kv_tokens=1 << 20, engine_options={
        "chat_template": sys.argv[2], "tool_call_parser": "llama3_json",
        "enable_auto_tool_choice": True,
    },
)
owner = Owner.objects.first()
print(key_create(owner=owner, name="weather", allowed_models=["weather"])[1])
"""


@pytest.fixture(scope="module")
def weather_key(stack: Stack) -> str:
    """A model whose template asks for the call of the documentation, and a key that sees it."""
    template = stack.folder / "tool_chat_template_llama3_json.jinja"
    template.write_text("{{ messages[-1].content }}{{ tools | tojson if tools }}" + say(CALL, 3))
    key = stack.manage(PREPARE, str(DEMO), str(template)).split()[-1]
    command = [sys.executable, "-m", "tests.integration.api.parrot", "--engine-id", "weather"]
    command += ["--model-name", "weather", "--redis", stack.redis_url, "--model", str(DEMO)]
    with (stack.folder / "weather.log").open("ab") as log:
        stack.processes["weather"] = subprocess.Popen(
            command, env=stack.environ, cwd=ROOT, stdout=log, stderr=log
        )
    return key


def test_the_function_of_the_example_is_called(stack, weather_key, tmp_path, capsys):
    file = tmp_path / "client_tools.py"
    port = urlsplit(stack.base).port
    text = rewritten(example("client_tools.py"), "weather", port=port, dummy=weather_key)
    file.write_text(text, encoding="utf-8")
    runpy.run_path(str(file))
    assert capsys.readouterr().out.splitlines() == [
        "Function called: get_weather",
        'Arguments: {"location": "San Francisco, CA", "unit": "fahrenheit"}',
        "Result: Getting the weather for San Francisco, CA in fahrenheit...",
    ]
