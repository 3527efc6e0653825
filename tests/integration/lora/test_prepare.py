"""What `serve` registers before its processes start."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.lora.models import Adapter, VersionState
from apps.lora.services import adapter_delete, adapter_unload
from apps.models.models import Desired
from inference_site.paths import DEMO_ADAPTERS, DEMO_MODEL
from tests.integration.lora import files

DEMO = ["json-only", "pirate", "terse"]


@pytest.fixture
def prepare(db: None, settings: Any, tmp_path: Path) -> Any:
    settings.PAGODA = replace(settings.PAGODA, home=tmp_path / "home", database_url="")
    (tmp_path / "home").mkdir()

    def run(model: Path, *modules: dict[str, str]) -> None:
        words = [f"--model={model}", f"--lora-modules={json.dumps(modules)}"]
        call_command("prepare", *words, stdout=StringIO())

    return run


def other(tmp_path: Path) -> None:
    """A folder that `serve` takes for a model; no engine looks at it here."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")


def names() -> list[str]:
    return list(Adapter.objects.wanted().values_list("name", flat=True))


def test_demo_brings_its_adapters_once(prepare: Any) -> None:
    prepare(DEMO_MODEL)
    assert names() == DEMO
    adapter = Adapter.objects.get(name="pirate")
    assert (adapter.base.name, adapter.desired) == ("pagoda-demo", Desired.LOADED)
    assert adapter.versions.get().state == VersionState.REGISTERED
    adapter_unload(name="pirate")
    adapter_delete(name="pirate")
    prepare(DEMO_MODEL)
    assert names() == ["json-only", "terse"]  # who removed one does not get it back


def test_other_models_get_none(prepare: Any, tmp_path: Path) -> None:
    other(tmp_path)
    prepare(tmp_path / "other")
    assert names() == []


def test_modules_of_the_command_line_may_lie_anywhere(prepare: Any, tmp_path: Path) -> None:
    other(tmp_path)
    mine = files.adapter(tmp_path / "far" / "mine")
    prepare(tmp_path / "other", {"name": "mine", "path": str(mine)})
    version = Adapter.objects.get(name="mine").versions.get()
    assert (version.source, version.adapter.base.name) == (str(mine.resolve()), "other")


def test_missing_folder_and_unknown_base_stop_the_start(prepare: Any) -> None:
    with pytest.raises(CommandError, match="no folder"):
        prepare(DEMO_MODEL, {"name": "x", "path": "/nowhere"})
    folder = str(DEMO_ADAPTERS / "terse")
    with pytest.raises(CommandError, match="'nope' does not exist"):
        prepare(DEMO_MODEL, {"name": "x", "path": folder, "base_model_name": "nope"})


def test_every_scheduled_job_exists(settings: Any) -> None:
    settings.PAGODA = replace(settings.PAGODA, redis_url="redis://127.0.0.1:1/0")
    from inference_site.celery import app

    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert scheduled <= set(app.tasks)
    assert "lora.sweep" in scheduled
    assert app.conf.accept_content == ["json"]
