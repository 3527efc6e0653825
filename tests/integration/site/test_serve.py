"""`serve` as a process: one command answers requests, survives kills and leaves nothing behind."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from inference_site.launcher import random_model
from tests.served import LIMIT_S, free_port, wait_for

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Serve:
    """A running `serve` with the fake engine."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int

    def restart(self) -> None:
        self.process = start(self.home, self.port, str(self.home / "tiny"))
        wait_for(lambda: healthy(self.url), what="health")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def boot(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.home / "bootstrap.json").read_text())
        return found

    def complete(self) -> httpx.Response:
        body: dict[str, Any] = {"model": "tiny", "prompt": "Once", "max_tokens": 4}
        key = {"Authorization": f"Bearer {self.boot['api_key']}"}
        return httpx.post(f"{self.url}/v1/completions", json=body, headers=key, timeout=LIMIT_S)

    def pids(self, words: str = "") -> list[int]:
        """Living processes of this home whose command line holds `words`."""
        mark = f"PAGODA_HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                ours = mark in (folder / "environ").read_bytes().split(b"\0")
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if ours and line and words in line:
                found.append(int(folder.name))
        return found


def environment(home: Path, port: int) -> dict[str, str]:
    """Of the embedded installation, whatever the test run itself uses."""
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith("PAGODA_")},
        "PAGODA_HOME": str(home),
        "PAGODA_PORT": str(port),
        "PAGODA_ENGINE_COMMAND": "engine.testing",
        "OMP_NUM_THREADS": "1",
    }


def start(home: Path, port: int, *flags: str, **more: str) -> subprocess.Popen[bytes]:
    """Its stderr goes to a file beside the home."""
    argv = [sys.executable, "manage.py", "serve", *flags]
    with words_of(home).open("wb") as stderr:
        return subprocess.Popen(argv, cwd=ROOT, env=environment(home, port) | more, stderr=stderr)


def words_of(home: Path) -> Path:
    return home.with_name(f"{home.name}.stderr")


def refused(home: Path, port: int, *flags: str) -> str:
    """Start a serve that must give up; returns what it said."""
    process = start(home, port, *flags)
    assert process.wait(timeout=LIMIT_S) == 2
    return words_of(home).read_text()


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=LIMIT_S).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    home = tmp_path_factory.mktemp("home")
    random_model.write(home / "tiny")
    port = free_port()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # as on a machine that keeps core dumps
    running = Serve(start(home, port, str(home / "tiny")), home, port)
    try:
        wait_for(lambda: healthy(running.url), what="health")
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_first_request_works_with_what_bootstrap_says(serve: Serve) -> None:
    reply = serve.complete()
    assert reply.status_code == 200
    assert reply.json()["usage"]["completion_tokens"] == 4


def test_bootstrap_is_private_and_names_host_and_port(serve: Serve) -> None:
    assert stat.S_IMODE((serve.home / "bootstrap.json").stat().st_mode) == 0o600
    assert serve.boot["base_url"] == serve.url
    page = httpx.get(serve.boot["admin_url"], follow_redirects=True, timeout=LIMIT_S)
    assert page.status_code == 200


def test_bootstrap_login_opens_the_admin(serve: Serve) -> None:
    with httpx.Client(base_url=serve.url, follow_redirects=True, timeout=LIMIT_S) as browser:
        browser.get("/admin/login/")
        form = {
            "username": serve.boot["admin_user"],
            "password": serve.boot["admin_password"],
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            "next": "/admin/",
        }
        page = browser.post("/admin/login/", data=form, headers={"Referer": serve.url})
    assert "Everything is running." in page.text


def test_probes_and_metrics_need_no_key(serve: Serve) -> None:
    for path in ("/livez", "/readyz", "/health", "/ping"):
        reply = httpx.get(serve.url + path, timeout=LIMIT_S)
        assert (reply.status_code, reply.content) == (200, b"")
    assert "vllm:num_requests_running" in httpx.get(f"{serve.url}/metrics", timeout=LIMIT_S).text


def test_no_process_leaves_its_memory_in_a_core_dump(serve: Serve) -> None:
    processes = psutil.Process(serve.process.pid).children(recursive=True)
    assert len(processes) >= 5  # Redis, web, agent, engine, settler
    for process in processes:
        assert process.rlimit(psutil.RLIMIT_CORE)[0] == 0, process.cmdline()


def test_metrics_through_a_proxy_need_a_key(serve: Serve) -> None:
    for header in ("X-Forwarded-For", "Forwarded"):
        reply = httpx.get(f"{serve.url}/metrics", headers={header: "for=x"}, timeout=LIMIT_S)
        assert reply.status_code == 401


def test_metrics_count_every_answer_by_its_route(serve: Serve) -> None:
    assert serve.complete().status_code == 200
    with httpx.Client(base_url=serve.url, timeout=LIMIT_S) as stranger:
        assert stranger.post("/v1/chat/completions", json={}).status_code == 401
        assert stranger.get("/admin/login/").status_code == 200
        page = stranger.get("/metrics").text
    assert 'pagoda_http_requests_total{route="/v1/completions",status="200"}' in page
    assert 'pagoda_http_requests_total{route="/v1/chat/completions",status="401"}' in page
    assert 'view="admin:login"' in page  # Django's own pages, by view
    assert 'route="other",status="503"' not in page  # probes before it was ready: no errors


def test_no_process_of_the_site_has_loaded_torch(serve: Serve) -> None:
    serve.complete()
    for pid in serve.pids("inference_site"):
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()


def test_second_serve_on_the_home_is_refused_by_pid(serve: Serve) -> None:
    assert f"pid {serve.process.pid}" in refused(serve.home, free_port())


def test_taken_port_is_refused_before_anything_starts(serve: Serve, tmp_path: Path) -> None:
    assert f"Port {serve.port} on 127.0.0.1 is taken" in refused(tmp_path / "home", serve.port)
    assert not (tmp_path / "home" / "pagoda.sqlite3").exists()


def test_daphne_can_join_on_another_port(serve: Serve) -> None:
    port = free_port()
    joined = Serve(start(serve.home, port, "--only", "web", "--server", "daphne"), serve.home, port)
    try:
        wait_for(lambda: healthy(joined.url), what="health")
        assert joined.complete().status_code == 200
    finally:
        joined.process.terminate()
        assert joined.process.wait(timeout=LIMIT_S) == 0


def test_a_stopping_server_answers_on_and_asks_to_be_left(serve: Serve) -> None:
    port = free_port()
    process = start(serve.home, port, "--only", "web", PAGODA_LAME_DUCK="600")
    joined = Serve(process, serve.home, port)
    try:
        wait_for(lambda: healthy(joined.url), what="health")
        assert "connection" not in joined.complete().headers
        joined.process.terminate()
        probe = partial(httpx.get, f"{joined.url}/readyz", timeout=LIMIT_S)
        wait_for(lambda: probe().status_code == 503, what="lame duck")
        last = joined.complete()
        assert (last.status_code, last.headers["connection"]) == (200, "close")
    finally:
        joined.process.terminate()  # the second signal: at once
        assert joined.process.wait(timeout=LIMIT_S) == 0


def test_a_stopping_server_answers_who_is_connected_however_late_it_gets_to_it(
    serve: Serve,
) -> None:
    port, others = free_port(), serve.pids("inference_site.web")
    process = start(serve.home, port, "--only", "web", PAGODA_LAME_DUCK="1")
    joined = Serve(process, serve.home, port)
    wait_for(lambda: healthy(joined.url), what="health")
    (web,) = {*serve.pids("inference_site.web")} - {*others}
    os.kill(web, signal.SIGSTOP)  # as with no processor time
    try:
        callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(16)]
        for caller in callers:
            caller.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        process.terminate()
        wait_for(lambda: not connects(port), what="nobody else can connect")
        time.sleep(1)  # longer than a web process that runs needs to accept
    finally:
        os.kill(web, signal.SIGCONT)
    for caller in callers:
        with caller:
            caller.settimeout(LIMIT_S)
            assert caller.recv(64).startswith(b"HTTP/1.1 200 OK")
    assert process.wait(timeout=LIMIT_S) == 0


def test_a_server_that_cannot_answer_yet_gets_no_callers(serve: Serve) -> None:
    """They ask the server beside it; the old one, in an upgrade."""
    port, others = free_port(), serve.pids("inference_site.web")
    process = start(serve.home, port, "--only", "web", PAGODA_LAME_DUCK="1")
    joined = Serve(process, serve.home, port)
    try:
        wait_for(lambda: {*serve.pids("inference_site.web")} - {*others}, what="its web process")
        (web,) = {*serve.pids("inference_site.web")} - {*others}
        os.kill(web, signal.SIGSTOP)  # long before it has read its modules
        assert not connects(port)
        os.kill(web, signal.SIGCONT)
        wait_for(lambda: healthy(joined.url), what="health")
    finally:
        process.terminate()
        assert process.wait(timeout=LIMIT_S) == 0


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("words", ["inference_site.web", "inference_site settle", "engine.testing"])
def test_killed_child_comes_back(words: str, serve: Serve) -> None:
    (before,) = serve.pids(words)
    assert serve.complete().status_code == 200
    os.kill(before, signal.SIGKILL)
    wait_for(
        lambda: bool(serve.pids(words)) and before not in serve.pids(words), what="a new child"
    )
    wait_for(lambda: healthy(serve.url), what="health")
    assert serve.complete().status_code == 200


def test_killed_launcher_leaves_no_process_and_the_home_starts_again(serve: Serve) -> None:
    before = serve.boot
    serve.process.kill()
    serve.process.wait()
    wait_for(lambda: not serve.pids(), what="the end")
    serve.restart()
    assert serve.boot == before
    assert serve.complete().status_code == 200


def test_signal_stops_everything(serve: Serve) -> None:
    serve.process.terminate()
    assert serve.process.wait(timeout=LIMIT_S) == 0
    assert not serve.pids()
    serve.restart()  # for the tests that come after


def test_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    assert "holds no config.json" in refused(tmp_path / "home", free_port(), str(broken))
