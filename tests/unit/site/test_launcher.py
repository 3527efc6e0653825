"""The small parts of the launcher: lock, listener, restarts, words for the terminal."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from engine import redis_keys
from engine.messages import EngineBeat, EngineState, pack
from engine.settings import SettingError
from engine.tokenizer import Tokenizer
from inference_site.config import ServerSettings
from inference_site.launcher import random_model
from inference_site.launcher.children import Children, ChildSpec
from inference_site.launcher.listener import listen, listen_unix, stop_accepting, waiting
from inference_site.launcher.lock import HomeLock
from inference_site.launcher.startup import Startup, welcome
from inference_site.process import how_it_ended, spawn

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


def test_second_lock_names_the_holder(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path)
    with pytest.raises(SettingError, match=f"pid {os.getpid()}"):
        HomeLock(tmp_path)
    lock.release()
    HomeLock(tmp_path).release()


def test_taken_port_is_refused_with_the_remedy() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(SettingError, match=f"Port {port} on 127.0.0.1 is taken"):
            listen("127.0.0.1", port)


def test_who_waits_is_still_accepted_and_who_comes_later_is_not() -> None:
    with (
        listen("127.0.0.1", 0) as server,
        socket.create_connection(server.getsockname()) as early,
        socket.socket() as late,
    ):
        stop_accepting(server)
        late.setblocking(False)
        late.connect_ex(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            early.sendall(b"!")
            accepted.settimeout(10)
            assert accepted.recv(1) == b"!"
        with pytest.raises(BlockingIOError):
            server.accept()


def test_who_is_half_connected_is_still_accepted() -> None:
    """The caller's side of a handshake is done before ours: it sends, and will not ask another."""
    with (
        listen("127.0.0.1", 0) as server,
        socket.socket() as halfway,
    ):
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)  # ends it with the data
        halfway.connect(server.getsockname())
        stop_accepting(server)
        assert waiting(server) == 0
        halfway.sendall(b"!")
        server.settimeout(10)
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(1) == b"!"


def test_who_waits_to_be_accepted_is_counted() -> None:
    with listen("127.0.0.1", 0) as server:
        callers = [socket.create_connection(server.getsockname()) for _ in range(3)]
        assert waiting(server) == 3
        server.accept()[0].close()
        assert waiting(server) == 2
        for caller in callers:
            caller.close()


def test_unknown_host_is_refused() -> None:
    with pytest.raises(SettingError, match="PAGODA_HOST"):
        listen("no such host", 0)


def test_ended_child_starts_again_later_each_time() -> None:
    said: list[str] = []
    children = Children(os.environ, said.append)
    child = children.add(
        ChildSpec(name="web 0", argv=(sys.executable, "-c", "raise SystemExit(3)"))
    )
    waits = []
    for _ in range(2):
        assert child.process is not None
        child.process.wait()
        waits.append(children.restart_ended())
        time.sleep((waits[-1] or 0) + 0.01)
        children.restart_ended()
    assert said[0] == "web 0 ended (exit code 3); starting it again."
    assert waits[0] is not None
    assert waits[1] is not None
    assert waits[1] > waits[0]
    children.stop("web", within_s=5, hurry=lambda: False)


def test_stop_kills_what_ignores_the_signal() -> None:
    deaf = "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    children = Children(os.environ, lambda line: None)
    child = children.add(ChildSpec(name="web 0", argv=(sys.executable, "-c", deaf)))
    time.sleep(0.3)
    children.stop("web", within_s=0.2, hurry=lambda: False)
    assert not child.running


def test_child_dies_with_its_parent() -> None:
    code = (
        "import os, signal, sys; from inference_site.process import spawn; "
        f"child = spawn({SLEEP!r}, env=os.environ); print(child.pid, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    limit = time.monotonic() + 60
    while _alive(pid):
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_child_has_its_own_session() -> None:
    child = spawn(SLEEP, env=os.environ)
    assert os.getsid(child.pid) == child.pid
    child.kill()
    child.wait()


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")]
)
def test_words_for_an_end(code: int, words: str) -> None:
    assert how_it_ended(code) == words


def test_production_shows_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "bootstrap.json").write_text("{}")
    settings = ServerSettings(home=tmp_path, database_url="postgresql://db/pagoda")
    assert "API key" not in welcome(settings, "m")


@pytest.mark.parametrize(
    ("task", "route", "field"),
    [
        ("", "/v1/completions", "prompt"),
        ("chat", "/v1/chat/completions", "messages"),
        ("embed", "/v1/embeddings", "input"),
        ("classify", "/classify", "input"),
        ("token_classify", "/pooling", "input"),
    ],
)
def test_the_first_call_is_one_that_the_model_can_answer(
    redis_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, route: str,
    field: str,
) -> None:  # fmt: skip
    boot = {"admin_user": "admin", "admin_password": "p", "api_key": "k"}
    (tmp_path / "bootstrap.json").write_text(json.dumps(boot))
    settings = ServerSettings(home=tmp_path)
    other = EngineBeat(engine="f", model="other", state=EngineState.READY, task="classify")
    beat = EngineBeat(engine="e", model="m", state=EngineState.READY, task=task)
    with redis.Redis.from_url(redis_server) as client:
        for one in (other, beat):
            client.set(redis_keys.engine_beat(one.engine), pack(one), ex=60)
    said: list[str] = []
    startup = Startup(settings, redis_server, "m", False, said.append, 0.0)
    monkeypatch.setattr(startup, "_healthy", lambda: True)
    startup.look()
    assert not startup.running
    assert f"curl {settings.base_url}{route} " in said[-1]
    body = json.loads(said[-1].split("-d '")[1].split("'")[0])
    assert body.keys() - {"max_tokens"} == {"model", field}


def test_random_model_speaks_printable_ascii(tmp_path: Path) -> None:
    random_model.write(tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    for token in range(tokenizer.vocab_size):
        text = tokenizer.token_text(token)
        assert text
        assert all(" " <= character <= "~" for character in text)
    assert tokenizer.decode(tokenizer.encode("Hello, World!")) == "Hello, World!"


@pytest.mark.parametrize("module", ["inference_site.launcher.serve", "inference_site.cli"])
def test_launcher_imports_neither_django_nor_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('django', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_unix_socket_is_ours_alone_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pagoda.sock"
    with listen_unix(path):
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(SettingError, match="another server listens there"):
            listen_unix(path)
    listen_unix(path).close()
    plain = tmp_path / "file"
    plain.touch()
    with pytest.raises(SettingError, match="a file of this name"):
        listen_unix(plain)
