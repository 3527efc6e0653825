"""The whole engine on a GPU: equal to transformers, to a CPU, to itself without graphs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from engine import LLM, SamplingParams
from engine.runner.cuda_runner import CudaRunner

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SIZES = {
    "vocab_size": 1003, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
    "num_attention_heads": 8, "max_position_embeddings": 2048, "eos_token_id": 1002,
    "bos_token_id": 1, "tie_word_embeddings": False, "initializer_range": 0.2,
}  # fmt: skip
FAMILIES: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, num_key_value_heads=4, head_dim=64)),
}
PROMPTS = [
    [(7 * i + j * j) % 1000 for j in range(n)] for i, n in enumerate((1, 2, 63, 64, 65, 200, 31, 7))
]
GREEDY = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True, detokenize=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, make in FAMILIES.items():
        torch.manual_seed(3)
        made[name] = tmp_path_factory.mktemp(name)
        make().save_pretrained(made[name])
    return made


def open_llm(folder: Path, device: str = "cuda", **options: Any) -> LLM:
    given: dict[str, Any] = {
        "dtype": "float32",
        "max_model_len": 512,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 128,
        "gpu_memory_utilization": 0.3,
        "num_gpu_blocks_override": 256,
        "skip_tokenizer_init": True,
    }
    return LLM(str(folder), device=device, **(given | options))


def tokens(llm: LLM, params: Any, prompts: list[list[int]] = PROMPTS) -> list[list[int]]:
    done = llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
    return [list(choice.token_ids) for output in done for choice in output.outputs]


@pytest.fixture(scope="module", params=list(FAMILIES))
def pair(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[tuple[Path, LLM]]:
    llm = open_llm(folders[request.param])
    yield folders[request.param], llm
    llm.core.close()


def test_greedy_text_is_transformers_own(pair: tuple[Path, LLM]) -> None:
    folder, llm = pair
    model = LlamaForCausalLM if "llama" in folder.name else Qwen3ForCausalLM
    theirs = model.from_pretrained(folder, dtype=torch.float32).cuda().eval()
    expected = []
    for ids in PROMPTS:
        made = theirs.generate(
            torch.tensor([ids]).cuda(), max_new_tokens=40, do_sample=False, eos_token_id=None
        )
        expected.append(made[0, len(ids) :].tolist())
    runner = llm.core.runner
    assert isinstance(runner, CudaRunner)
    before = runner.eager_steps
    assert tokens(llm, GREEDY) == expected
    assert runner.eager_steps == before


def test_graphs_and_overlap_change_nothing(pair: tuple[Path, LLM]) -> None:
    folder, llm = pair
    mixed = [SamplingParams(temperature=0.0 if i % 2 else 0.9, seed=i, max_tokens=30 + i,
                            ignore_eos=True, top_p=0.9 if i % 3 else 1.0, detokenize=False)
             for i in range(len(PROMPTS))]  # fmt: skip
    expected = tokens(llm, mixed)
    eager = open_llm(folder, enforce_eager=True)
    assert tokens(eager, mixed) == expected
    eager.core.close()
    alone = open_llm(folder)
    alone.core._depth = 0
    assert tokens(alone, mixed) == expected
    alone.core.close()


CASES = {
    "filters": {"temperature": 0.8, "top_k": 20, "top_p": 0.8, "min_p": 0.02},
    "penalties": {"temperature": 0.7, "repetition_penalty": 1.3, "frequency_penalty": 0.4,
                  "presence_penalty": 0.3},
    "greedy penalties": {"temperature": 0.0, "repetition_penalty": 1.5},
    "bias": {"temperature": 0.5, "logit_bias": {5: 8.0, 6: -100.0, 7: 3.5}},
    "allowed": {"temperature": 1.0, "allowed_token_ids": [3, 5, 8, 13, 900]},
    "min_tokens": {"temperature": 0.0, "min_tokens": 12, "stop_token_ids": list(range(0, 1000, 2)),
                   "ignore_eos": False},
    "logprobs": {"temperature": 0.9, "logprobs": 5},
    "named logprobs": {"temperature": 0.9, "logprob_token_ids": [900, 5, 13]},
    "prompt_logprobs": {"temperature": 0.0, "prompt_logprobs": 3},
    "n": {"temperature": 0.9, "n": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def beside_cpu(folders: dict[str, Path]) -> Iterator[tuple[LLM, LLM]]:
    two = open_llm(folders["llama"]), open_llm(folders["llama"], "cpu")
    yield two
    for llm in two:
        llm.core.close()


@pytest.mark.parametrize("name", CASES)
def test_every_wish_gives_what_a_cpu_gives(beside_cpu: tuple[LLM, LLM], name: str) -> None:
    params = SamplingParams(**({"max_tokens": 24, "ignore_eos": True, "seed": 11,
                                "detokenize": False} | CASES[name]))  # fmt: skip
    prompts = [{"prompt_token_ids": ids} for ids in PROMPTS]
    ours, theirs = (llm.generate(prompts, params, use_tqdm=False) for llm in beside_cpu)
    for mine, other in zip(ours, theirs, strict=True):
        assert [c.token_ids for c in mine.outputs] == [c.token_ids for c in other.outputs]
        for a, b in zip(mine.outputs, other.outputs, strict=True):
            _same_scores(a.logprobs, b.logprobs)
        _same_scores(mine.prompt_logprobs, other.prompt_logprobs)


def _same_scores(mine: Any, other: Any) -> None:
    assert (mine is None) == (other is None)
    for a, b in zip(mine or [], other or [], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.keys() == b.keys()
            for token in a:
                assert a[token].logprob == pytest.approx(b[token].logprob, abs=2e-3)
                mine_at, other_at = a[token].rank or 0, b[token].rank or 0
                assert abs(mine_at - other_at) <= other_at // 100  # near ties


def test_wishes_mixed_in_one_batch_keep_apart(beside_cpu: tuple[LLM, LLM]) -> None:
    kinds = [k for k in CASES if k not in ("n", "prompt_logprobs")]
    params = [SamplingParams(**({"max_tokens": 20 + i, "ignore_eos": True, "seed": i,
                                 "detokenize": False} | CASES[kinds[i % len(kinds)]]))
              for i in range(24)]  # fmt: skip
    prompts = [PROMPTS[i % 8] + [i] for i in range(24)]
    ours, theirs = (tokens(llm, params, prompts) for llm in beside_cpu)
    assert ours == theirs


def test_few_blocks_preempt_and_change_nothing(pair: tuple[Path, LLM]) -> None:
    folder, llm = pair
    small = open_llm(folder, block_size=16, num_gpu_blocks_override=34)
    assert tokens(small, GREEDY) == tokens(llm, GREEDY)
    assert small.core.counters.preemptions > 0
    small.core.close()


def test_sleep_gives_memory_back_and_wakes_the_same(pair: tuple[Path, LLM]) -> None:
    _, llm = pair
    before = tokens(llm, GREEDY)
    held = torch.cuda.memory_allocated()
    llm.core.sleep()
    assert torch.cuda.memory_allocated() < held
    llm.core.wake_up()
    assert tokens(llm, GREEDY) == before


@pytest.mark.parametrize("name", list(FAMILIES))
def test_bfloat16_errs_no_more_than_transformers(folders: dict[str, Path], name: str) -> None:
    """Mean error of next-token log-probabilities against float32."""
    ids = [(j * 37) % 1000 for j in range(300)]
    model = LlamaForCausalLM if name == "llama" else Qwen3ForCausalLM

    def scores(dtype: torch.dtype) -> torch.Tensor:
        theirs = model.from_pretrained(folders[name], dtype=dtype).cuda().eval()
        with torch.inference_mode():
            logits = theirs(torch.tensor([ids]).cuda()).logits[0].float().log_softmax(-1)
        return logits[torch.arange(299), torch.tensor(ids[1:])].cpu()

    exact, theirs = scores(torch.float32), scores(torch.bfloat16)
    llm = open_llm(folders[name], dtype="bfloat16", max_num_batched_tokens=512)
    params = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
    (output,) = llm.generate([{"prompt_token_ids": ids}], params, use_tqdm=False)
    ours = torch.tensor(
        [
            found[token].logprob
            for found, token in zip(output.prompt_logprobs[1:], ids[1:], strict=True)
        ]
    )
    llm.core.close()
    assert (ours - exact).abs().mean() <= 1.5 * (theirs - exact).abs().mean()
