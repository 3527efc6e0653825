"""Verbs of `pagoda` against a running server."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from inference_site import cli
from tests.served import LIMIT_S, ROOT, wait_for


@pytest.fixture
def run(served, monkeypatch, capsys):
    """Run a verb in this process, beside the home of `served`. Returns status and output."""
    monkeypatch.setenv("PAGODA_HOME", str(served.home))
    for name in ("PAGODA_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def running(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        status = cli.main(words)
        return status, capsys.readouterr().out

    return running


def manage(served, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PAGODA_HOME": str(served.home), "PAGODA_PORT": str(served.port)}
    command = [sys.executable, str(ROOT / "manage.py"), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT_S)


def test_chat_keeps_the_conversation(run, monkeypatch, client, model):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\n\nWhat is 2 plus 2?\n"))
    status, said = run("chat", "--temperature", "0", "--max-tokens", "40")
    talk = []
    for question, heard in zip(("Hello", "What is 2 plus 2?"), said.splitlines(), strict=True):
        talk.append({"role": "user", "content": question})
        reply = client.chat.completions.create(
            model=model, messages=talk, temperature=0, max_tokens=40
        )
        assert reply.choices[0].message.content == heard
        talk.append({"role": "assistant", "content": heard})
    assert status == 0


def test_complete_continues_a_text(run, client, model):
    fields = {"temperature": 0, "max_tokens": 12}
    status, said = run("complete", "-q", "Once", "--temperature", "0", "--max-tokens", "12")
    whole = client.completions.create(model=model, prompt="Once", **fields).choices[0].text
    assert (status, said) == (0, whole + "\n")


def test_bench_serve_measures_streams(run):
    status, said = run("bench", "serve", "--num-prompts", "3", "--output-len", "5", "--api", "chat")
    figures = json.loads(said)
    assert (status, figures["failed"], figures["output_tokens"]) == (0, 0, 15)
    assert figures["ttft_ms"]["p50"] > 0


def test_a_batch_goes_on_where_it_stopped(run, served, model, tmp_path):
    requests, answers = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    bodies = [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/completions", {"prompt": "Once", "ignore_eos": True}),
        ("/v1/completions", {"prompt": "Once", "temperature": 9}),
        ("/v1/nothing", {}),
    ]
    lines = [
        {"custom_id": f"r{i}", "url": url, "body": {"model": model, "max_tokens": 4} | body}
        for i, (url, body) in enumerate(bodies)
    ]
    requests.write_text("\n".join(map(json.dumps, lines)))
    words = ["run-batch", "-i", str(requests), "-o", str(answers), "--url", served.url]
    assert run(*words)[0] == 0
    first = [json.loads(text) for text in answers.read_text().splitlines()]
    found = {entry["custom_id"]: entry for entry in first}
    assert found["r0"]["response"]["body"]["object"] == "chat.completion"
    assert found["r1"]["response"]["body"]["usage"]["completion_tokens"] == 4
    assert found["r2"]["response"]["status_code"] == 400
    assert found["r3"]["response"] is None
    assert "/v1/nothing" in found["r3"]["error"]["message"]
    kept = answers.read_text().splitlines(keepends=True)[:2]
    answers.write_text("".join(kept) + '{"id": "batch_req')
    assert run(*words)[0] == 0
    again = answers.read_text().splitlines(keepends=True)
    assert again[:2] == kept
    assert {json.loads(text)["custom_id"] for text in again} == set(found)
    assert len(again) == 4


def test_usage_sums_what_was_asked(served, client, model):
    client.completions.create(
        model=model, prompt="Once", max_tokens=3, extra_body={"ignore_eos": True}
    )

    def rows():
        said = json.loads(manage(served, "usage", "--json", "--by", "model,key").stdout)
        return [r for r in said["groups"] if r["model"] == model and r["key_id"] in client.api_key]

    (row,) = wait_for(rows, what="usage")
    assert row["completion_tokens"] >= 3
    refused = manage(served, "usage", "--since", "5 moons")
    told = "--since '5 moons' must be like 24h, 7d or 4w.\n"
    assert (refused.returncode, refused.stderr) == (1, told)


def test_doctor_finds_this_installation_sound(served):
    done = manage(served, "doctor", "--json")
    findings = json.loads(done.stdout)
    assert (done.returncode, [f for f in findings if f["level"] == "fail"]) == (0, [])
    assert {"disk", "database", "redis", "clock of Redis", "model"} <= {f["what"] for f in findings}
