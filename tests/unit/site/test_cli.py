"""The `pagoda` command: its verbs, its words for wrong ones, and the small parts of some verbs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import httpx
import pytest

from inference_site import cli
from inference_site.commands import CommandFailed, run_batch
from inference_site.commands.batch_file import BatchOutput, requests_of
from inference_site.commands.bench import bench
from inference_site.commands.bench_serve import Stream, summary
from inference_site.commands.collect_env import facts
from inference_site.commands.endpoint import Endpoint, endpoint_of
from tests.stack import ROOT


def line(custom_id="a", url="/v1/completions", **more):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": {}} | more)


def test_help_names_every_verb(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in [*cli.COMMANDS, *cli.DJANGO])
    assert cli.main([]) == 2


@pytest.mark.parametrize("verb", [v for v in cli.COMMANDS if v != "bench"])
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    assert f"pagoda {verb}" in capsys.readouterr().out


def test_a_verb_with_a_typing_error_names_its_nearest(capsys):
    assert cli.main(["sevre"]) == 2
    assert "Did you mean serve?" in capsys.readouterr().err


def test_a_failed_command_is_one_line(capsys):
    assert cli.main(["chat", "--url", "http://127.0.0.1:1", "-q", "x"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Try: pagoda serve" in told


def test_an_unknown_bench_names_the_known():
    with pytest.raises(CommandFailed, match="serve, latency, throughput, startup"):
        bench(["speed"])


def test_the_server_comes_from_flags_then_environment_then_home(tmp_path):
    class Given:
        url = api_key = None

    boot = {"base_url": "http://127.0.0.1:9", "api_key": "boot"}
    (tmp_path / "bootstrap.json").write_text(json.dumps(boot))
    env = {"PAGODA_HOME": str(tmp_path)}
    assert endpoint_of(Given(), env) == Endpoint("http://127.0.0.1:9", "boot")
    assert endpoint_of(Given(), env | {"OPENAI_API_KEY": "o"}).key == "o"
    Given.url, Given.api_key = "https://a.example/v1/", "k"
    assert endpoint_of(Given(), env) == Endpoint("https://a.example", "k")


def test_facts_of_the_environment_hide_secrets():
    secret = {"PAGODA_API_KEY": "s1", "HF_TOKEN": "s2", "PAGODA_DATABASE_URL": "s3"}
    found = dict(facts(secret | {"PAGODA_PORT": "9000", "HOME": "/root"}))
    assert found["PAGODA_PORT"] == "9000"
    assert not {"s1", "s2", "s3"} & set(found.values())
    assert "HOME" not in found


def test_wrong_lines_of_a_batch_are_told_one_by_one(tmp_path):
    file = tmp_path / "in.jsonl"
    lines = [line(), line(), "{", "[]", line("b", "/v1/x"), line("c", method="GET")]
    lines += [line("d", body=5), line("e", body={"stream": True}), line(None), "", line("f")]
    file.write_text("\n".join(lines))
    found = list(requests_of(file))
    words = {request.number: request.wrong for request in found if request.wrong}
    assert [request.number for request in found if not request.wrong] == [1, 11]
    told = {2: "repeats", 3: "no JSON", 4: "no JSON object", 5: "/v1/completions"}
    told |= {6: "POST", 7: "no body", 8: "stream", 9: "no custom_id"}
    assert [number for number, part in told.items() if part not in words[number]] == []
    with pytest.raises(CommandFailed, match="cannot be read"):
        list(requests_of(tmp_path / "none"))


@pytest.mark.parametrize(
    "text",
    [
        r'{"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "\ud800"}}',
        r'{"custom_id": "\ud800", "url": "/v1/completions", "body": {}}',
        '{"custom_id": "a", "url": "/v1/completions", "body": {"n": NaN}}',
        '{"custom_id": "a", "url": "/v1/completions", "body": {"n": ' + "9" * 5000 + "}}",
        '{"custom_id": "a", "url": ["/v1/completions"], "body": {}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:60],
)
def test_a_line_that_could_not_be_sent_costs_no_other(tmp_path, text):
    file = tmp_path / "in.jsonl"
    file.write_text(f"{text}\n{line('b')}\n")
    assert [bool(request.wrong) for request in requests_of(file)] == [True, False]


def test_a_line_cut_off_by_a_kill_is_answered_again(tmp_path):
    file = tmp_path / "out.jsonl"
    whole = json.dumps({"id": "batch_req_1", "custom_id": "a"}) + "\n"
    file.write_text(whole + '{"id": "batch_req_2", "cus')
    output = BatchOutput(file)
    assert output.done == {("batch_req_1", "a")}
    output.write({"id": "batch_req_2", "custom_id": "b"})
    output.close()
    assert [json.loads(text)["id"] for text in file.read_text().splitlines()] == [
        "batch_req_1",
        "batch_req_2",
    ]


def test_a_file_that_is_no_batch_output_is_left_alone(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("dear diary\n")
    with pytest.raises(CommandFailed, match="no output of run-batch"):
        BatchOutput(file)
    assert file.read_text() == "dear diary\n"


def test_a_batch_sends_again_what_found_the_server_busy_or_unreadable(tmp_path, monkeypatch):
    class Server:
        """Serves one request after another of its script, by custom_id."""

        asked: list[str] = []
        script: dict[str, list[httpx.Response]] = {}

        def answer(self, request: httpx.Request) -> httpx.Response:
            name = json.loads(request.content)["name"]
            self.asked.append(name)
            replies = self.script[name]
            return replies.pop(0) if len(replies) > 1 else replies[0]

    server, busy = Server(), {"retry-after": "0"}
    server.script = {
        "good": [httpx.Response(200, json={"ok": 1})],
        "soon": [httpx.Response(503, headers=busy, json={}), httpx.Response(200, json={})],
        "busy": [httpx.Response(429, headers=busy, json={"error": {"code": "x"}})],
        "spent": [httpx.Response(429, json={"error": {"code": "insufficient_quota"}})],
        "proxy": [httpx.Response(502, text="<html>")],
        "wrong": [httpx.Response(400, json={"error": {}})],
    }
    monkeypatch.setattr(run_batch, "MOST_TRIES", 3)
    monkeypatch.setattr(
        Endpoint,
        "async_client",
        lambda self, most: httpx.AsyncClient(
            base_url="http://x", transport=httpx.MockTransport(server.answer)
        ),
    )
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(line(n, body={"name": n}) + "\n" for n in server.script))
    words = ["-i", str(source), "-o", str(out), "--url", "http://x", "--concurrency", "1"]

    def statuses() -> dict[str, object]:
        lines = [json.loads(text) for text in out.read_text().splitlines()]
        return {
            found["custom_id"]: found["response"]["status_code"]
            if found["response"]
            else found["error"]["message"]
            for found in lines
        } | {"lines": len(lines)}

    with pytest.raises(CommandFailed, match="3 requests found the server too busy"):
        run_batch.run_batch(words)
    found = statuses()
    assert "502 with something that is no JSON" in found.pop("proxy")
    assert found == {"good": 200, "soon": 200, "busy": 429, "spent": 429, "wrong": 400, "lines": 6}
    assert server.asked.count("busy") == 3
    server.asked.clear()
    for name in ("busy", "spent", "proxy"):
        server.script[name] = [httpx.Response(200, json={})]
    assert run_batch.run_batch(words) == 0
    assert sorted(server.asked) == ["busy", "proxy", "spent"]
    assert set(statuses().values()) == {200, 400, 6}
    assert [path.name for path in tmp_path.iterdir() if path not in (source, out)] == []


def test_figures_of_a_run_are_those_of_its_streams():
    streams = [Stream([0.1, 0.2, 0.4], 0.5, 10, 3), Stream(error="503")]
    found = summary(streams, 2.0)
    assert (found["requests"], found["failed"], found["output_tokens_per_s"]) == (1, 1, 1.5)
    assert found["ttft_ms"]["p50"] == 100.0
    assert found["time_per_output_token_ms"]["p50"] == 150.0
    with pytest.raises(CommandFailed, match="503"):
        summary(streams[1:], 1.0)


def test_a_database_of_an_older_version_is_one_line(tmp_path):
    """Nothing has made the tables of this home."""
    env = os.environ | {"PAGODA_HOME": str(tmp_path)}
    env.pop("PAGODA_DATABASE_URL", None)
    command = [sys.executable, "-m", "inference_site", "keys", "list"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no such table" in done.stderr
    assert "pagoda migrate" in done.stderr
