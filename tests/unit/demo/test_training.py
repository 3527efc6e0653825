"""Packing, the decoder, the optimiser and what is written; no training run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer

import demo
import demo.export
from demo.corpus.chat import render
from demo.corpus.conversation import training
from demo.data import Batches, Shard, Source, encode, pack
from demo.export import read_model, write_adapter, write_model
from demo.model import SIZES, Decoder, Linear, ModelSize
from demo.muon import Muon, orthogonalise
from demo.train import ADAPTERS, Plan, Trainer, fade_prompts, pass_over, rate_share

HERE = Path(demo.__file__).parent
TOKENIZER = HERE / "pagoda-demo" / "tokenizer.json"
TINY = ModelSize(width=64, layers=2, heads=2, kv_heads=1, ffn=96)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER))


@pytest.fixture(scope="module")
def shard(tokenizer: Tokenizer) -> Shard:
    return encode(
        tokenizer, [render(e.messages, e.tools, thinking=e.thinking) for e in training(1, 0, 30)]
    )


def test_weights_mark_the_assistants_words(tokenizer: Tokenizer) -> None:
    text = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
    shard = encode(tokenizer, [text, text])
    marked = tokenizer.decode(list(shard.tokens[shard.weights == 1.0]), skip_special_tokens=False)
    assert marked == "Yes.<|im_end|>" * 2


def test_digits_are_single_tokens_and_text_survives(tokenizer: Tokenizer) -> None:
    text = "2048 Größe ¿qué? 🙂 <tool_call>"
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert [tokenizer.id_to_token(i) for i in ids[:4]] == ["2", "0", "4", "8"]


def test_packed_documents_do_not_see_each_other(shard: Shard) -> None:
    torch.manual_seed(0)
    decoder = Decoder(TINY)
    together = decoder(pack(shard, 0, 4, 1024, 32, 0, "cpu"))
    low = int(shard.lengths[0])
    alone = decoder(pack(shard, 1, 2, int(shard.lengths[1]), 32, 0, "cpu"))
    assert torch.allclose(together[low : low + int(shard.lengths[1])], alone, atol=1e-4)


def test_no_token_is_the_target_of_another_document(shard: Shard) -> None:
    batch = pack(shard, 0, 3, 1024, 32, 0, "cpu")
    ends = np.cumsum(shard.lengths[:3])
    assert batch.weights_T[ends - 1].tolist() == [0, 0, 0]
    assert batch.positions_T[ends[:2]].tolist() == [0, 0]


def test_orthogonal_updates_have_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalise(torch.randn(3, 32, 80)).float())
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_muon_lowers_a_loss() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(8, 16))
    goal = torch.randn(8, 16)
    muon = Muon([weight])
    before = float((weight - goal).square().sum().detach())
    for _ in range(50):
        weight.grad = None
        (weight - goal).square().sum().backward()
        muon.step(0.05)
    assert float((weight - goal).square().sum().detach()) < before / 2


def test_learning_rate_warms_up_and_ends_at_zero() -> None:
    shares = [rate_share(step, 1000) for step in range(1000)]
    assert shares[0] < 0.02
    assert max(shares) == 1.0
    assert shares[-1] < 0.01


def test_learning_rate_follows_the_clock_where_it_is_ahead() -> None:
    assert rate_share(500, 1000, 0.3) == rate_share(500, 1000) == 1.0
    assert rate_share(500, 1000, 0.9) == rate_share(900, 1000)
    assert rate_share(500, 1000, 1.2) == 0.0


def test_prompts_fade_beside_replies(shard: Shard) -> None:
    batch = pack(shard, 0, 3, 1024, 32, 0, "cpu")
    faded = fade_prompts(batch, 0.25)
    replies = batch.weights_T == 1
    assert replies.any()
    assert torch.equal(faded.weights_T[replies], batch.weights_T[replies])
    assert torch.equal(faded.weights_T[~replies], batch.weights_T[~replies] * 0.25)
    assert torch.equal(faded.targets_T, batch.targets_T)


def test_a_run_by_the_clock_ends_with_its_time_and_is_not_begun_again(
    shard: Shard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "demo", TINY)
    seconds = iter(range(0, 10_000, 25))
    monkeypatch.setattr("demo.train.time.monotonic", lambda: float(next(seconds)))
    batches = [pack(shard, 20, 21, 512, 32, 0, "cpu")] * 12
    trainer = Trainer("demo", Plan(batch_tokens=512, device="cpu"), tmp_path)
    trainer.limit = 400.0
    trainer.run(1000, iter(batches))
    assert 2 < trainer.step < 12
    resumed = Trainer("demo", Plan(device="cpu"), tmp_path)
    resumed.limit = 400.0
    resumed.resume()
    assert resumed.step == trainer.step
    assert resumed.spent() >= 400.0


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(
    shard: Shard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "demo", TINY)
    plan = Plan(batch_tokens=512, device="cpu")
    batches = [pack(shard, idx, idx + 1, 512, 32, 0, "cpu") for idx in range(20, 24)]
    (tmp_path / "whole").mkdir()
    whole = Trainer("demo", plan, tmp_path / "whole")
    whole.run(4, iter(batches))
    broken = Trainer("demo", plan, tmp_path)
    with pytest.raises(StopIteration):
        broken.run(4, iter(batches[:2]))
    broken.save()
    resumed = Trainer("demo", plan, tmp_path)
    resumed.resume()
    source = iter(batches)
    pass_over(source, resumed.step)
    resumed.run(4, source)
    for name, weight in whole.decoder.state_dict().items():
        assert torch.equal(weight, resumed.decoder.state_dict()[name]), name
    assert not torch.equal(whole.decoder.norm.weight, broken.decoder.norm.weight)


def test_a_run_out_of_time_saves_and_says_how_to_go_on(
    shard: Shard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, "demo", TINY)
    batch = pack(shard, 0, 1, 512, 32, 0, "cpu")
    trainer = Trainer("demo", Plan(batch_tokens=512, device="cpu"), tmp_path)
    trainer.step = 99
    with pytest.raises(SystemExit, match="step 100 of 200; start again"):
        trainer.run(200, iter([batch, batch]), until=0.0)
    resumed = Trainer("demo", Plan(device="cpu"), tmp_path)
    resumed.resume()
    assert resumed.step == 100


def test_shards_are_made_once_and_read_again(tmp_path: Path) -> None:
    source = Source(1, TOKENIZER, tmp_path, 30)
    first = next(Batches(source, 1, 1).shards())
    (kept,) = tmp_path.iterdir()
    stamp = kept.stat().st_mtime_ns
    again = next(Batches(source, 1, 1).shards())
    assert kept.stat().st_mtime_ns == stamp
    assert np.array_equal(first.tokens, again.tokens)
    assert np.array_equal(first.weights, again.weights)
    assert source.path(0) != Source(1, TOKENIZER, tmp_path, 30, "terse").path(0)


def test_an_adapter_learns_replies_only(tmp_path: Path) -> None:
    mix = next(Batches(Source(1, TOKENIZER, tmp_path, 30), 1, 1).shards())
    terse = next(Batches(Source(1, TOKENIZER, tmp_path, 100, "terse"), 1, 1).shards())
    assert set(mix.weights.tolist()) == {1.0, np.float32(0.1)}
    assert set(terse.weights.tolist()) == {1.0, 0.0}


def test_a_batch_that_cannot_hold_every_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="take 2048 or more"):
        next(Batches(Source(1, TOKENIZER, tmp_path), 1, 1).spans(512))


def test_shards_that_fill_no_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="take more examples a shard"):
        next(Batches(Source(1, TOKENIZER, tmp_path, 2), 2, 1).spans(65_536))


def test_a_written_model_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(demo.export.SIZES, "demo", TINY)
    decoder = Decoder(TINY)
    write_model(decoder, "demo", tmp_path, [5, 6], 6)
    again = read_model("demo", tmp_path, "cpu")
    assert torch.equal(again.norm.weight, decoder.norm.weight)
    assert torch.equal(again.embed_tokens.weight, decoder.embed_tokens.weight.bfloat16().float())
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == [5, 6]


def test_an_adapter_starts_without_effect_and_is_written_for_its_modules(tmp_path: Path) -> None:
    layer = Linear(8, 4)
    x = torch.randn(3, 8)
    before = layer(x)
    layer.add_lora(2, 4)
    assert torch.equal(layer(x), before)
    decoder = Decoder(TINY)
    decoder.layers[0].mlp.up_proj.add_lora(2, 4)  # type: ignore[union-attr, operator]
    write_adapter(decoder, tmp_path, rank=2, alpha=4, modules=("up_proj",))
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as file:
        assert sorted(file.keys()) == [
            f"base_model.model.model.layers.0.mlp.up_proj.lora_{x}.weight" for x in "AB"
        ]


def test_the_committed_files_keep_their_limits() -> None:
    assert (HERE / "pagoda-demo" / "model.safetensors").stat().st_size <= 24_000_000
    for name, most in (("pagoda-demo", 12_000_000), ("pagoda-demo-draft", 2_000_000)):
        with safe_open(HERE / name / "model.safetensors", "pt") as file:
            assert sum(file.get_tensor(key).numel() for key in file.keys()) <= most  # noqa: SIM118
    for name, adapter in ADAPTERS.items():
        assert (HERE / "adapters" / name / "adapter_model.safetensors").stat().st_size <= 1_000_000
        config = json.loads((HERE / "adapters" / name / "adapter_config.json").read_text())
        assert (config["r"], config["target_modules"]) == (adapter.rank, sorted(adapter.modules))
