from __future__ import annotations

import dataclasses
import gzip
import json

import pytest

from engine.config import EngineConfig
from engine.core import EngineCore
from engine.errors import EngineStartError, InvalidRequest, Overloaded
from engine.foreign_options import FOREIGN
from engine.llm import LLM
from engine.offline_options import config_from
from engine.sampling_params import SamplingParams
from tests.unit.engine.fakes import FakeRunner, expected
from tests.unit.engine.texts import EOS, byte_tokenizer

VOCAB = 257


def make_llm(*, text: bool = True, template: bool = True, **options: object) -> LLM:
    runner = FakeRunner(vocab_size=VOCAB, max_model_len=120, num_blocks=60)
    config = EngineConfig(max_num_seqs=8, max_num_batched_tokens=16, **options)
    tokenizer = None
    if text:
        tokenizer = byte_tokenizer() if template else byte_tokenizer(None)
    return LLM.from_core(EngineCore(config, runner, tokenizer, frozenset({EOS})))


def params(**fields: object) -> SamplingParams:
    return SamplingParams(**{"max_tokens": 6, "seed": 1, "ignore_eos": True, **fields})


def says(prompt: list[int], count: int = 6) -> list[int]:
    return expected(prompt, count, vocab_size=VOCAB)


def ask(llm: LLM, prompts: object, sampling_params: object = None):
    return llm.generate(prompts, sampling_params or params(), use_tqdm=False)


def test_text_ids_and_dicts_are_prompts():
    llm = make_llm()
    ids = llm.get_tokenizer().encode("hi")
    outputs = ask(llm, ["hi", {"prompt": "hi"}, {"prompt_token_ids": ids}, ids])
    assert [output.outputs[0].token_ids for output in outputs] == [says(ids)] * 4
    assert [output.prompt for output in outputs] == ["hi", "hi", None, None]


def test_one_prompt_may_stand_alone():
    llm = make_llm()
    assert [len(ask(llm, prompt)) for prompt in ("hi", [1, 2], {"prompt": "hi"})] == [1, 1, 1]


def test_a_profile_is_a_file_of_the_calls_between(tmp_path, monkeypatch):
    llm = make_llm()
    monkeypatch.delenv("PAGODA_PROFILE_DIR", raising=False)
    with pytest.raises(InvalidRequest, match="PAGODA_PROFILE_DIR"):
        llm.start_profile()
    monkeypatch.setenv("PAGODA_PROFILE_DIR", str(tmp_path / "traces"))
    with pytest.raises(InvalidRequest, match="start one first"):
        llm.stop_profile()
    llm.start_profile()
    with pytest.raises(InvalidRequest, match="runs already"):
        llm.start_profile()
    ask(llm, "hi")
    path = llm.stop_profile()
    assert path.parent == tmp_path / "traces"
    with gzip.open(path) as file:
        events = json.load(file)["traceEvents"]
    assert any(str(event.get("name")).endswith("submit") for event in events)


def test_an_option_of_several_values_says_what_it_takes():
    with pytest.raises(EngineStartError, match="Give a mapping, or the text of a JSON object"):
        config_from("tiny", {"hf_overrides": 5})


def test_results_keep_the_order_of_prompts_whatever_ends_first():
    llm = make_llm()
    each = [params(max_tokens=count) for count in (9, 1, 5)]
    outputs = ask(llm, [[1], [2], [3]], each)
    assert [len(output.outputs[0].token_ids) for output in outputs] == [9, 1, 5]
    assert [output.prompt_token_ids for output in outputs] == [[1], [2], [3]]
    assert all(output.finished for output in outputs)


def test_text_is_the_decode_of_the_tokens():
    llm = make_llm()
    (output,) = ask(llm, "hello", params(n=3, max_tokens=20))
    for choice in output.outputs:
        assert choice.text == llm.get_tokenizer().decode(choice.token_ids)


def test_a_stop_string_ends_the_text_before_it():
    llm = make_llm()
    whole = ask(llm, "hello", params(max_tokens=12))[0].outputs[0]
    stop = llm.get_tokenizer().decode(whole.token_ids[6:8])
    (output,) = ask(llm, "hello", params(max_tokens=12, stop=[stop]))
    choice = output.outputs[0]
    assert choice.text + stop == whole.text[: len(choice.text) + len(stop)]
    assert (choice.finish_reason, choice.stop_reason) == ("stop", stop)
    kept = ask(llm, "hello", params(max_tokens=12, stop=[stop], include_stop_str_in_output=True))
    assert kept[0].outputs[0].text == choice.text + stop


def test_the_token_that_stopped_is_counted_but_not_shown():
    llm = make_llm()
    ids = llm.get_tokenizer().encode("hello")
    stop = says(ids)[3]
    choice = ask(llm, "hello", params(stop_token_ids=[stop]))[0].outputs[0]
    assert choice.token_ids == says(ids)[: says(ids).index(stop) + 1]
    assert choice.text == llm.get_tokenizer().decode(choice.token_ids[:-1])
    assert choice.stop_reason == stop


def test_detokenize_false_gives_ids_only():
    (output,) = ask(make_llm(), "hello", params(detokenize=False))
    assert output.outputs[0].text == ""
    assert len(output.outputs[0].token_ids) == 6


def test_logprobs_come_by_token_id_with_their_sum():
    (output,) = ask(make_llm(), [1, 2, 3], params(logprobs=0, prompt_logprobs=0))
    choice = output.outputs[0]
    assert [next(iter(position)) for position in choice.logprobs] == choice.token_ids
    assert choice.cumulative_logprob == pytest.approx(-6.0)
    assert output.prompt_logprobs[0] is None
    assert [next(iter(position)) for position in output.prompt_logprobs[1:]] == [2, 3]


def test_logprobs_tell_the_text_of_their_tokens_unless_nothing_is_decoded():
    for fields, decoded in (({}, True), ({"detokenize": False}, False)):
        llm = make_llm()
        (output,) = ask(llm, "hello", params(logprobs=1, prompt_logprobs=1, **fields))
        positions = [*output.prompt_logprobs[1:], *output.outputs[0].logprobs]
        for position in positions:
            for token, found in position.items():
                text = llm.get_tokenizer().token_text(token)
                assert found.decoded_token == (text if decoded else None)


def test_a_cached_prefix_shows_in_the_output():
    llm = make_llm()
    ask(llm, [[1] * 20])
    assert ask(llm, [[1] * 20])[0].num_cached_tokens == 16
    llm.reset_prefix_cache()
    assert ask(llm, [[1] * 20])[0].num_cached_tokens == 0


def test_a_refused_prompt_raises_and_leaves_a_clean_engine():
    llm = make_llm()
    with pytest.raises(InvalidRequest, match="token id 999"):
        ask(llm, [[1, 2], [999]])
    assert not llm.core.has_work()
    assert ask(llm, [[1, 2]])[0].outputs[0].token_ids == says([1, 2])


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ([{"text": "x"}], "prompt_token_ids"),
        ([{}], "prompt_token_ids"),
        ([3.5], "float"),
        ([["a", "b"]], "list"),
        (5, "int"),
    ],
)
def test_other_forms_of_prompt_are_refused_by_name(prompts, words):
    with pytest.raises(InvalidRequest, match=words):
        ask(make_llm(), prompts)


def test_a_list_of_params_of_another_length_is_refused():
    with pytest.raises(InvalidRequest, match="2 entries for 1 prompts"):
        ask(make_llm(), ["a"], [params(), params()])


def test_chat_goes_through_the_models_template():
    llm = make_llm()
    messages = [{"role": "user", "content": "hi"}]
    one = llm.chat(messages, params(), use_tqdm=False)
    two = llm.chat([messages, messages], params(), use_tqdm=False)
    assert one[0].prompt == "[user]hi[assistant]"
    assert [output.prompt for output in two] == [one[0].prompt] * 2
    assert one[0].outputs[0].token_ids == says(llm.get_tokenizer().encode(one[0].prompt))


def test_chat_takes_a_template_as_text_or_file(tmp_path):
    llm = make_llm(template=False)
    source = "{{ messages[0].content }}!"
    file = tmp_path / "template.jinja"
    file.write_text(source)
    messages = [{"role": "user", "content": "hi"}]
    for given in (source, str(file)):
        (output,) = llm.chat(messages, params(), chat_template=given, use_tqdm=False)
        assert output.prompt == "hi!"
    with pytest.raises(InvalidRequest, match="no chat template"):
        llm.chat(messages, params())
    with pytest.raises(InvalidRequest, match="neither Jinja nor a file"):
        llm.chat(messages, params(), chat_template="missing.jinja")


def test_without_a_tokenizer_text_is_refused_and_ids_work():
    llm = make_llm(text=False)
    assert ask(llm, [[1, 2]])[0].outputs[0].token_ids == says([1, 2])
    with pytest.raises(InvalidRequest, match="without a tokenizer"):
        ask(llm, ["hi"])
    with pytest.raises(InvalidRequest, match="without a tokenizer"):
        llm.get_tokenizer()


def test_defaults_come_from_the_checkpoint(tmp_path):
    (tmp_path / "generation_config.json").write_text(
        '{"temperature": 0.5, "top_p": 0.9, "max_new_tokens": 3, "do_sample": true}'
    )
    found = make_llm(model=str(tmp_path)).get_default_sampling_params()
    assert (found.temperature, found.top_p, found.max_tokens) == (0.5, 0.9, 3)
    plain = make_llm(model=str(tmp_path), generation_config="none").get_default_sampling_params()
    assert plain == SamplingParams()


def test_an_unknown_option_names_its_nearest():
    with pytest.raises(TypeError, match="Did you mean max_model_len"):
        LLM("model", max_modellen=100)


def test_options_of_other_engines_warn_once_and_do_nothing():
    with pytest.warns(UserWarning, match="swap_space"):
        config_from("model", {"swap_space": 4, "trust_remote_code": True})
    assert config_from("model", {"swap_space": 4}) == EngineConfig(model="model")


def test_the_task_of_generating_text_is_the_one_there_is():
    assert config_from("model", {"task": "generate", "runner": "auto"}).model == "model"
    with pytest.raises(EngineStartError, match="runner='pooling' is not supported: task"):
        config_from("model", {"runner": "pooling"})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"max_model_len": "4096"}, "a whole number"),
        ({"max_num_seqs": True}, "a whole number"),
        ({"max_num_seqs": 2.5}, "a whole number"),
        ({"max_num_seqs": None}, "a whole number"),
        ({"gpu_memory_utilization": float("nan")}, "out of range"),
        ({"enable_prefix_caching": "no"}, "True or False"),
        ({"dtype": "int3"}, "Use one of auto"),
        ({"tokenizer": 5}, "Give text"),
    ],
)
def test_options_of_a_wrong_type_or_range_are_refused_in_words(option, words):
    with pytest.raises(EngineStartError, match=words):
        LLM("model", **option)


def test_sampling_lists_may_be_none():
    llm = make_llm()
    (output,) = ask(llm, "hi", params(stop=None, stop_token_ids=None, bad_words=None))
    assert len(output.outputs[0].token_ids) == 6


@pytest.mark.parametrize(
    "field", [{"stop": 5}, {"stop_token_ids": 5}, {"allowed_token_ids": 5}, {"logit_bias": [1]}]
)
def test_sampling_fields_of_another_form_are_refused_by_name(field):
    (name,) = field
    with pytest.raises(InvalidRequest, match=f"'{name}' must"):
        ask(make_llm(), "hi", params(**field))


@pytest.mark.parametrize("text", ["{", "[]", '{"temperature": true}', '{"top_k": "all"}'])
def test_recommended_values_that_cannot_be_used_stop_the_start(tmp_path, text):
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(EngineStartError, match=r"generation_config\.json"):
        make_llm(model=str(tmp_path))


@pytest.mark.parametrize("option", [{"tensor_parallel_size": 2}, {"quantization": "awq"}])
def test_options_with_one_possible_value_refuse_others(option):
    with pytest.raises(EngineStartError, match="not supported"):
        LLM("model", **option)


def test_shutdown_closes_once_and_refuses_later_calls():
    with make_llm() as llm:
        assert not llm.core.runner.closed
    assert llm.core.runner.closed
    llm.shutdown()
    with pytest.raises(EngineStartError, match="shut down"):
        ask(llm, "hi")


def test_sleep_gives_the_cache_back_and_waking_goes_on():
    llm = make_llm()
    before = ask(llm, [[1, 2, 3]])[0].outputs[0].token_ids
    llm.sleep()
    llm.sleep()
    assert llm.is_sleeping()
    assert [plan.kv_memory for plan in llm.core.runner.plans][-1] is False
    with pytest.raises(Overloaded, match="wake it up"):
        ask(llm, [[1, 2, 3]])
    llm.wake_up()
    assert not llm.is_sleeping()
    (again,) = ask(llm, [[1, 2, 3]])
    assert (again.outputs[0].token_ids, again.num_cached_tokens) == (before, 0)
    with pytest.raises(InvalidRequest, match="knows 1 and 2"):
        llm.sleep(3)


def test_overrides_of_the_deployment_win_over_the_checkpoint(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.5, "top_k": 9}')
    override = '{"temperature": 0.25}'
    llm = make_llm(model=str(tmp_path), override_generation_config=override)
    found = llm.get_default_sampling_params()
    assert (found.temperature, found.top_k) == (0.25, 9)


@pytest.mark.parametrize("text", ["{", "[]", '{"temperature": 9}', '{"max_new_tokens": 5}', "5"])
def test_overrides_that_cannot_be_used_stop_the_start(text):
    with pytest.raises(EngineStartError, match="override_generation_config"):
        make_llm(override_generation_config=text)


def test_mappings_and_other_names_of_values_become_options():
    config = config_from("m", {"hf_overrides": {"rope_theta": 5.0}, "dtype": "half"})
    assert (config.hf_overrides, config.dtype) == ('{"rope_theta": 5.0}', "float16")


def test_a_table_entry_is_no_field_of_ours():
    fields = {field.name for field in dataclasses.fields(EngineConfig)}
    assert not fields & FOREIGN.keys()
