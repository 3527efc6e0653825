"""Hub ids: what is a folder, what is fetched, what is said when neither works."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from engine.errors import EngineStartError
from engine.hub import PATTERNS, cached_folder, checkpoint_folder
from engine.llm import LLM


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert checkpoint_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("source", ["/no/such/folder", "./checkpoint", "../x", "~/model", ""])
def test_a_path_that_is_not_there_is_no_hub_id(source: str) -> None:
    with pytest.raises(EngineStartError, match="There is no folder"):
        checkpoint_folder(source)


def test_a_hub_id_is_fetched_without_code_or_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fetch(source: str, **options: Any) -> str:
        asked.update(options, source=source)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert checkpoint_folder("org/model", "v2") == tmp_path
    assert asked == {"source": "org/model", "revision": "v2", "allow_patterns": PATTERNS}


@pytest.mark.parametrize("source", ["nobody/nothing", "not/a/hub/id"])
def test_a_hub_id_that_cannot_be_had_is_refused_in_words(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EngineStartError, match="Check the id, the network and HF_TOKEN"):
        LLM(source)


def test_modelscope_is_asked_when_the_setting_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGODA_USE_MODELSCOPE", "True")
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(EngineStartError, match="pip install modelscope"):
        checkpoint_folder("org/model")
    assert cached_folder("org/model") is None
    asked: dict[str, Any] = {}

    def fetch(source: str, **options: Any) -> str:
        asked.update(options, source=source)
        return str(tmp_path)

    scope = types.ModuleType("modelscope")
    monkeypatch.setattr(scope, "snapshot_download", fetch, raising=False)
    monkeypatch.setitem(sys.modules, "modelscope", scope)
    assert checkpoint_folder("org/model", "v2") == tmp_path
    assert (asked["source"], asked["revision"], asked["local_files_only"]) == (
        "org/model",
        "v2",
        False,
    )
