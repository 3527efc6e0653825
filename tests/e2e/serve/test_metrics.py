"""/metrics describes requests under the names vLLM's boards read."""

from __future__ import annotations

import httpx
import openai

from tests.served import LIMIT_S, Served, wait_for

GROWS = {  # by a request with four generated tokens
    "vllm:request_generation_tokens_sum": 4,
    "vllm:request_prompt_tokens_count": 1,
    "vllm:request_prefill_kv_computed_tokens_count": 1,
    "vllm:request_queue_time_seconds_count": 1,
    "vllm:request_params_max_tokens_sum": 4,
    "vllm:request_success_total": 1,
    "vllm:generation_tokens_total": 4,
    "vllm:inter_token_latency_seconds_count": 3,
    "vllm:iteration_tokens_total_sum": 4,  # one of the prompt at least, three of the answer
}


def test_one_request_moves_every_figure(served: Served, client: openai.OpenAI, model: str) -> None:
    def figures() -> dict[str, float]:
        lines = httpx.get(f"{served.url}/metrics", timeout=LIMIT_S).text.splitlines()
        return {
            name: sum(float(line.split()[-1]) for line in lines if line.startswith(name))
            for name in GROWS
        }

    before = figures()
    client.completions.create(
        model=model, prompt="A pagoda", max_tokens=4, extra_body={"ignore_eos": True}
    )

    def grown() -> bool:  # engine figures come with the next heartbeat
        now = figures()
        return all(now[name] >= before[name] + least for name, least in GROWS.items())

    wait_for(grown, what="figures that grew with the request")


def test_the_size_of_the_cache_is_told(served: Served, model: str) -> None:
    text = httpx.get(f"{served.url}/metrics", timeout=LIMIT_S).text
    (line,) = (row for row in text.splitlines() if row.startswith("vllm:cache_config_info{"))
    assert f'model_name="{model}"' in line
    assert 'block_size="32"' in line
