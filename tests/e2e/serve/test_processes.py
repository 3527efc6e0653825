"""What runs, what it holds, and what it costs when nobody asks anything."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.served import LIMIT_S, ROOT, serving, wait_for


def mapped(process: psutil.Process, word: str) -> bool:
    return word in Path(f"/proc/{process.pid}/maps").read_text()


def test_only_the_engine_holds_torch_after_a_chat(served, client, model):
    client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hi"}], max_tokens=2
    )
    holders = {" ".join(p.cmdline()) for p in served.children() if mapped(p, "libtorch")}
    assert len(holders) == 1
    assert "-m engine" in holders.pop()


def test_the_printed_call_chats_with_the_model(served):
    """What a new user pastes first, word for word."""
    wait_for(lambda: "  curl " in served.log.read_text(), what="the welcome")
    log = served.log.read_text()
    command = log[log.index("  curl ") :].split("\n\n")[0]
    reply = subprocess.run(["bash", "-c", command], capture_output=True, timeout=LIMIT_S)
    answer = json.loads(reply.stdout)
    assert answer["object"] == "chat.completion"
    assert len(answer["choices"][0]["message"]["content"].split()) > 15  # a story, not a sigh


def test_a_closed_socket_frees_the_kv_blocks(served, client, model):
    """A bare socket, closed at the third chunk."""
    body = json.dumps(
        {
            "model": model,
            "prompt": "x " * 50,
            "max_tokens": 1500,
            "stream": True,
            "ignore_eos": True,
        }
    )
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {served.boot['api_key']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    with socket.create_connection(("127.0.0.1", served.port)) as raw:
        raw.sendall(head.encode())
        seen = b""
        while seen.count(b"data: ") < 3:
            seen += raw.recv(4096)
        wait_for(lambda: engine_beat(served).running == 1, what="a busy heartbeat")
    with served.redis() as store:  # the ledger entry goes when the engine has let go of its blocks
        wait_for(lambda: not store.hlen("pgd:open"), what="the end of the request")
    wait_for(lambda: engine_beat(served).running == 0, what="an idle heartbeat")
    beat = engine_beat(served)
    assert beat.blocks_free == beat.blocks_total
    assert beat.counters["aborted"] == 1


def engine_beat(served):
    from engine.messages import EngineBeat, unpack

    with served.redis() as client:
        (key,) = client.keys("pgd:engine:*")
        return unpack(EngineBeat, client.get(key))


def test_a_second_serve_on_the_same_home_names_the_first(served):
    done = serve_again(served, PAGODA_HOME=str(served.home), PAGODA_PORT="1")
    assert done.returncode != 0
    assert str(served.process.pid) in done.stderr


def test_a_taken_port_is_named_before_anything_starts(served, tmp_path):
    done = serve_again(served, PAGODA_HOME=str(tmp_path / "h"), PAGODA_PORT=str(served.port))
    assert done.returncode != 0
    assert str(served.port) in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PAGODA_PROT", "1", "PAGODA_PORT"),
        ("PAGODA_PORT", "99999", "65535"),
        ("PAGODA_PORT", "tcp://10.0.0.1:80", "enableServiceLinks"),
        ("PAGODA_DATABASE_URL", "mysql://x", "postgres"),
    ],
)
def test_a_wrong_setting_stops_the_start_by_name(served, tmp_path, name, value, said):
    done = serve_again(served, PAGODA_HOME=str(tmp_path / "h"), **{name: value})
    assert done.returncode != 0
    assert name in done.stderr
    assert said in done.stderr


def serve_again(served, **env):
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "serve"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(served.home), **env},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def test_bootstrap_is_private_and_complete(served):
    file = served.home / "bootstrap.json"
    assert file.stat().st_mode & 0o777 == 0o600
    boot = json.loads(file.read_text())
    assert set(boot) == {"base_url", "admin_url", "admin_user", "admin_password", "api_key"}
    assert boot["base_url"] == served.url
    assert boot["api_key"].startswith("pgd_")


def test_all_processes_are_gone_after_one_interrupt(tmp_path):
    with serving(tmp_path / "home") as own:
        family = own.children()
        assert len(family) >= 4
        assert own.stop() == 0
        _, alive = psutil.wait_procs(family, timeout=LIMIT_S)
        assert alive == []


def test_nothing_outlives_a_killed_launcher(tmp_path):
    with serving(tmp_path / "home") as own:
        family = own.children()
        own.process.kill()
        own.process.wait()
        _, alive = psutil.wait_procs(family, timeout=LIMIT_S)
        assert alive == []
