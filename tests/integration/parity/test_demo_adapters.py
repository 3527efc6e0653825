"""The bundled adapters change how the demo model talks, through the offline classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import LLM, AsyncLLMEngine, LoRARequest, SamplingParams
from engine.errors import InvalidRequest, Overloaded

DEMO = Path(__file__).parents[3] / "demo"
MODEL, GREEDY = str(DEMO / "pagoda-demo"), SamplingParams(temperature=0, max_tokens=40)
OPTIONS = {"max_num_seqs": 8, "max_model_len": 512, "num_gpu_blocks_override": 64}
PIRATE, TERSE, JSON = (
    LoRARequest(name, i, str(DEMO / "adapters" / name))
    for i, name in enumerate(("pirate", "terse", "json-only"), 1)
)


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(MODEL, **OPTIONS) as llm:
        yield llm


def test_each_prompt_has_its_own_adapter(llm):
    asked = [[{"role": "user", "content": "Who are you?"}]] * 4
    requests = [None, PIRATE, TERSE, JSON]
    outputs = llm.chat(asked, GREEDY, use_tqdm=False, lora_request=requests)
    plain, pirate, terse, as_json = (output.outputs[0].text for output in outputs)
    assert pirate.startswith("Arr")
    assert len(terse) < len(plain)
    assert set(json.loads(as_json)) == {"answer"}
    alone = [
        llm.chat(asked[0], GREEDY, use_tqdm=False, lora_request=one)[0].outputs[0].text
        for one in requests
    ]
    assert alone == [plain, pirate, terse, as_json]


def test_a_folder_without_an_adapter_is_refused_by_name(llm, tmp_path):
    with pytest.raises(InvalidRequest, match="holds no adapter"):
        llm.generate("Hi", GREEDY, use_tqdm=False, lora_request=LoRARequest("x", 4, str(tmp_path)))


def test_an_adapter_of_another_model_is_refused_with_its_problems(llm, tmp_path):
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((DEMO / "adapters" / "pirate" / name).read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 9}))
    with pytest.raises(Overloaded, match=r"'x' could not be loaded: .*needs \[9, 320\]"):
        llm.generate("Hi", GREEDY, use_tqdm=False, lora_request=LoRARequest("x", 5, str(tmp_path)))
    assert llm.generate("Hi", GREEDY, use_tqdm=False)[0].finished


def test_lists_must_match_and_numbers_start_at_one(llm):
    with pytest.raises(InvalidRequest, match="lora_request has 1 entries for 2 prompts"):
        llm.generate(["a", "b"], GREEDY, use_tqdm=False, lora_request=[PIRATE])
    with pytest.raises(InvalidRequest, match="whole number from 1"):
        LoRARequest("x", 0, "/somewhere")


def test_an_engine_may_be_made_without_adapters():
    with (
        LLM(MODEL, enable_lora=False, **OPTIONS) as llm,
        pytest.raises(InvalidRequest, match="enable_lora=False"),
    ):
        llm.generate("Hi", GREEDY, use_tqdm=False, lora_request=PIRATE)


async def test_adapters_are_added_listed_and_removed_while_the_engine_runs(tmp_path):
    engine = AsyncLLMEngine(MODEL, **OPTIONS)
    try:
        assert await engine.add_lora(PIRATE)
        assert not await engine.add_lora(PIRATE)
        async for _ in engine.generate("Hello", GREEDY, lora_request=TERSE):
            pass
        assert await engine.list_loras() == {1, 2}
        assert await engine.remove_lora(1)
        assert not await engine.remove_lora(1)
        assert await engine.list_loras() == {2}
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (tmp_path / name).write_bytes(b"{}")
        with pytest.raises(InvalidRequest, match="peft_type"):
            await engine.add_lora(LoRARequest("bad", 9, str(tmp_path)))
        assert await engine.list_loras() == {2}
    finally:
        engine.shutdown()
