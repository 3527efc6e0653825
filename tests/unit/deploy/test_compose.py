"""docker-compose.yml keeps to what both compose v2 and 1.29 read, and opens one door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_site.config import ServerSettings
from inference_site.launcher.stop import GRACE_S, LAST_ACCEPTED_S

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return found


def test_no_word_that_one_of_the_two_does_not_know(compose: dict[str, Any]) -> None:
    assert not {"name", "version", "include"} & compose.keys()
    for service in compose["services"].values():
        assert not {"develop", "gpus", "models", "provider"} & service.keys()


def test_only_proxy_and_grafana_publish_ports(compose: dict[str, Any]) -> None:
    opened = {name for name, service in compose["services"].items() if "ports" in service}
    assert opened == {"proxy", "grafana"}  # Grafana's is on the loopback, and a profile of its own
    assert compose["networks"]["inner"] == {"internal": True}


def test_every_image_can_be_replaced_and_every_process_is_bounded(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["image"].startswith("${"), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert name == "migrate" or "mem_limit" in service, name


def test_secrets_come_from_files(compose: dict[str, Any]) -> None:
    made = (ROOT / "deploy" / "secrets" / "make").read_text("utf-8")
    for name, secret in compose["secrets"].items():
        assert secret["file"] == f"./deploy/secrets/{name}"
        assert name in made
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            secret = any(word in name for word in ("PASSWORD", "SECRET", "PEPPER"))
            assert not secret or str(value).startswith("/run/secrets/"), name


@pytest.mark.parametrize("service", ["web", "engine-cpu", "engine-gpu", "proxy"])
def test_a_stop_waits_longer_than_draining(compose: dict[str, Any], service: str) -> None:
    grace_s = int(compose["services"][service]["stop_grace_period"].removesuffix("s"))
    lame_duck_s = compose["x-environment"]["PAGODA_LAME_DUCK"]
    drain_s = ServerSettings().shutdown_timeout + GRACE_S
    assert grace_s > lame_duck_s + LAST_ACCEPTED_S + drain_s


@pytest.mark.parametrize("service", ["migrate", "web", "worker", "engine-cpu", "engine-gpu"])
def test_who_needs_a_models_files_sees_them_in_one_place(
    compose: dict[str, Any], service: str
) -> None:
    mounts = [text.split(":")[:2] for text in compose["services"][service]["volumes"]]
    assert ["models", "/var/lib/pagoda/models"] in mounts
    assert "HF_HOME=/var/lib/pagoda/models" in (ROOT / "Dockerfile").read_text("utf-8")


@pytest.mark.parametrize("service", ["migrate", "worker"])
def test_who_fetches_from_a_hub_reaches_it(compose: dict[str, Any], service: str) -> None:
    assert compose["services"][service]["networks"] == ["inner", "outer"]
    assert "hub_token" in compose["services"][service]["secrets"]


def test_redis_keeps_what_it_was_told(compose: dict[str, Any]) -> None:
    words = compose["services"]["redis"]["command"]
    assert words[words.index("--appendonly") + 1] == "yes"
    assert words[words.index("--maxmemory-policy") + 1] == "noeviction"


def test_the_proxy_has_a_way_with_and_without_tls(compose: dict[str, Any]) -> None:
    folder = ROOT / "deploy" / "nginx"
    mounted = "./deploy/nginx/${PAGODA_PROXY:-http}.conf:/etc/pagoda/listen.conf:ro"
    assert mounted in compose["services"]["proxy"]["volumes"]
    for name, words in (("http", "listen 8000;"), ("tls", "listen 8000 ssl;")):
        assert words in (folder / f"{name}.conf").read_text("utf-8")
