"""What `pagoda doctor` finds when something is wrong."""

from __future__ import annotations

import http.server
import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from django.core.management import CommandError, call_command

from apps.models.doctor import (
    Level,
    check_home,
    check_models,
    check_proxy,
    check_redis,
    file_system,
    skew,
)
from apps.models.models import Host
from apps.models.services import model_register
from inference_site.config import ServerSettings


def found(check, settings):
    return {(finding.level, finding.what): finding for finding in check(settings)}


def test_redis_that_evicts_and_forgets_is_told(redis_url):
    settings = ServerSettings(redis_url=redis_url)
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            findings = found(check_redis, settings)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert "allkeys-lru" in findings[Level.FAIL, "redis"].words
    assert "appendonly yes" in findings[Level.WARN, "redis"].fix
    assert (Level.OK, "clock of Redis") in findings


@pytest.mark.parametrize(
    ("version", "mended"),
    [
        ("6.2.14", False), ("6.2.20", True), ("7.0.15", False), ("7.2.10", False), ("7.4.6", True),
        ("8.0.3", False), ("8.2.2", True), ("8.4.0", True), ("5.0.14", False), ("9.0.0", True),
    ],
)  # fmt: skip
def test_a_redis_that_scripts_can_take_over_is_told(version, mended, redis_url, monkeypatch):
    info = redis.Redis.info
    monkeypatch.setattr(redis.Redis, "info", lambda own: info(own) | {"redis_version": version})
    findings = found(check_redis, ServerSettings(redis_url=redis_url))
    assert ((Level.WARN, "version of Redis") not in findings) is mended


def test_redis_that_is_away_is_one_finding(tmp_path):
    (finding,) = check_redis(ServerSettings(redis_url=f"unix://{tmp_path}/none.sock"))
    assert (finding.level, finding.what) == (Level.FAIL, "redis")


def test_secrets_that_others_may_read_are_told(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "pepper").touch(mode=0o644)
    findings = found(check_home, ServerSettings(home=tmp_path))
    assert findings[Level.FAIL, "secrets"].fix == f"chmod 600 {tmp_path}/secrets/pepper"


def test_clocks_may_differ_by_a_second():
    assert skew("clock", 0.9).level is Level.OK
    assert skew("clock", -30).level is Level.FAIL


def test_the_longest_mount_point_tells_the_file_system(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/a / ext4 rw 0 0\nhost:/x /data nfs4 rw 0 0\n")
    assert file_system(tmp_path / "x", mounts) == "ext4"
    assert file_system(mounts.__class__("/data/home"), mounts) == "nfs4"
    assert file_system(tmp_path, tmp_path / "none") == ""


@pytest.mark.django_db
def test_a_model_without_an_engine_and_a_silent_agent_are_told(tmp_path):
    from datetime import timedelta

    from django.utils import timezone

    Host.objects.create(name="h1", last_seen=timezone.now() - timedelta(minutes=5))
    (tmp_path / "config.json").write_text("{}")
    model_register(name="m", source=str(tmp_path))
    findings = found(check_models, ServerSettings())
    assert "h1 was last seen 300 s ago" in findings[Level.WARN, "agent"].words
    assert "m is" in findings[Level.WARN, "model"].words


@contextmanager
def streaming(*, held_back: bool, hosts: list[str] | None = None):
    """A server whose stream takes 0.3 s, sent as it comes or all at its end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            self._answer(json.dumps({"data": [{"id": "m"}]}).encode())

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            if held_back:
                time.sleep(0.3)
                self._answer(b"data: 1\n" * 4)
                return
            self._answer(b"data: 1\n")
            for _ in range(3):
                time.sleep(0.1)
                self.wfile.write(b"data: 1\n")

        def _answer(self, body):
            if hosts is not None:
                hosts.append(self.headers["host"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("held_back", "level"), [(True, Level.WARN), (False, Level.OK)])
def test_a_proxy_that_holds_streams_back_is_told(held_back, level):
    with streaming(held_back=False) as own, streaming(held_back=held_back) as proxy:
        settings = ServerSettings(
            port=own, public_url=f"http://127.0.0.1:{proxy}", api_key="k", home="/nowhere"
        )
        (finding,) = check_proxy(settings)
    assert (finding.level, finding.what) == (level, "proxy")


def test_a_server_on_all_addresses_is_asked_by_one_of_its_names():
    asked = []
    with streaming(held_back=False, hosts=asked) as own, streaming(held_back=False) as proxy:
        settings = ServerSettings(
            host="0.0.0.0", port=own, public_url=f"http://127.0.0.1:{proxy}", api_key="k"
        )
        (finding,) = check_proxy(settings)
    assert finding.level == Level.OK
    assert set(asked) == {f"127.0.0.1:{own}"}


def test_a_proxy_that_was_not_asked_is_told():
    (finding,) = check_proxy(ServerSettings(public_url="http://127.0.0.1:1", home=Path("/nowhere")))
    assert "not looked at" in finding.words
    assert "--api-key" in finding.fix


def test_a_proxy_url_that_is_none_is_refused():
    with pytest.raises(CommandError, match="PAGODA_PUBLIC_URL must start with http"):
        call_command("doctor", "--url", "proxy")
