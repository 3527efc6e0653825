"""The documentation's library examples, run as they are."""

from __future__ import annotations

import functools
import runpy
from pathlib import Path

import pytest

import engine.llm
from tests.e2e.seed.rewrite import example, rewritten

DEMO = str(Path(__file__).parents[3] / "demo" / "pagoda-demo")
NAMES = {"LLM": engine.LLM, "SamplingParams": engine.SamplingParams}  # imported further up there
TALK = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module", autouse=True)
def shared_cores():
    """The examples make the same model again and again: build each configuration once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.llm, "_build", functools.cache(engine.llm._build))
        yield


@pytest.fixture
def run(tmp_path, capsys):
    """Run an example; returns its names and what it printed."""

    def running(name: str, model: str = DEMO, text: str | None = None, **names: object):
        file = tmp_path / name
        file.write_text(rewritten(text or example(name), model), encoding="utf-8")
        found = runpy.run_path(str(file), init_globals=NAMES | names)
        return found, capsys.readouterr().out

    return running


@pytest.mark.parametrize(
    ("name", "count"),
    [("offline_batch.py", 4), ("design_llm_class.py", 3), ("generate.py", 1), ("chat.py", 1)],
)
def test_prompts_come_back_with_their_text(run, name, count):
    found, said = run(name)
    assert len(found["outputs"]) == count
    for output in found["outputs"]:
        (choice,) = output.outputs
        assert choice.token_ids
        assert f"Prompt: {output.prompt!r}, Generated text: {choice.text!r}" in said


def test_greedy_sampling_says_the_same_each_time(run):
    assert run("greedy.py")[1] == run("greedy.py")[1] != ""


def test_a_model_that_returns_text_is_supported(run):
    found, said = run("loading_generate.py")
    assert f"RequestOutput(request_id='{found['output'][0].request_id}'" in said
    assert run("modelscope.py")[0]["output"][0].outputs[0].text


def test_another_chat_template_is_passed_explicitly(run, tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    text = example("chat_template.py").replace("<path_to_template>", str(template))
    llm = engine.LLM(DEMO)
    found, said = run("chat_template.py", text=text, llm=llm, conversation=TALK)
    assert found["outputs"][0].prompt == "user: Hello\n"
    assert f"Loaded chat template: {template.read_text()}" in said


def test_an_adapter_answers_for_its_base_model(run, monkeypatch):
    """`snapshot_download` stands for a download: here it finds the demo's adapter."""
    adapter = str(Path(DEMO).parent / "adapters" / "pirate")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo_id: adapter)
    found, _ = run("lora.py")
    plain = found["llm"].generate(found["prompts"], found["sampling_params"], use_tqdm=False)
    assert [o.finished for o in found["outputs"]] == [True, True]
    assert [o.outputs[0].text for o in found["outputs"]] != [o.outputs[0].text for o in plain]
