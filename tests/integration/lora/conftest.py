"""An installation whose worker and agent are called by hand, and one that really runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.lora import checking
from apps.lora.checking import version_check
from apps.lora.models import Adapter, AdapterVersion
from apps.lora.services import Facts, version_accept, version_add, version_claim
from apps.lora.sources import source_from
from apps.models.models import ServedModel
from inference_site.paths import DEMO_MODEL
from tests.served import Served, serving


@pytest.fixture
def home(settings: Any, tmp_path: Path) -> Path:
    settings.PAGODA = replace(settings.PAGODA, home=tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def base(db: None, home: Path) -> ServedModel:
    """The demo model, as if an engine had been ready with it."""
    return ServedModel.objects.create(
        name="demo",
        source=str(DEMO_MODEL),
        path=str(DEMO_MODEL),
        max_model_len=1024,
        kv_tokens=9999,
    )


@pytest.fixture
def quick_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is good: for tests of what happens around the check."""

    def report(folder: Path, *_: object) -> dict[str, Any]:
        data = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
        facts = {"digest": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        return {"ok": True, "rank": 4, "alpha": 8.0, "modules": ["q_proj"], **facts}

    monkeypatch.setattr(checking, "_report", report)


def added(name: str, digest: str = "a" * 64, **more: Any) -> AdapterVersion:
    """A version that was checked and found good; no files are looked at."""
    version = version_add(name=name, source=source_from("terse"), **more)
    claimed = version_claim(version.pk, stale_before=version.since)
    assert claimed is not None
    return version_accept(version=claimed, facts=Facts(digest=digest, rank=4, alpha=8.0))


def checked(folder: Path, name: str = "mine", **more: Any) -> AdapterVersion:
    """A version after the real check of a folder."""
    version = version_add(name=name, source=source_from(str(folder), anywhere=True), **more)
    version_check(version.pk)
    return AdapterVersion.objects.filter(pk=version.pk).first() or last_of(name)


def last_of(name: str) -> AdapterVersion:
    version = Adapter.objects.get(name=name).versions.first()
    assert version is not None
    return version


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real `serve` of the demo model with two web processes, on an engine that makes up tokens:
    the same ones for the same adapter content and prompt, others for any other."""
    env = {"PAGODA_ENGINE_COMMAND": "engine.testing", "PAGODA_API_SERVER_COUNT": "2"}
    home = tmp_path_factory.mktemp("lora") / "home"
    with serving(home, env=env) as running:
        yield running
