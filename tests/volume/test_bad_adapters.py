"""The whole corpus of bad adapters through the service: refused with words, nothing stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.lora.models import VersionState
from apps.models.models import ServedModel
from tests.integration.lora.conftest import checked, home
from tests.unit.engine.lora.adapter_drafts import BASE_CONFIG, draft
from tests.unit.engine.lora.bad_adapters import Bad, corpus

__all__ = ["home"]  # a fixture
# What lies beside the two files is never copied, so it is no problem of the service.
CORPUS = [bad for bad in corpus() if not bad[1].beside]


@pytest.fixture
def toy(db: None, home: Path, tmp_path: Path) -> ServedModel:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(BASE_CONFIG))
    return ServedModel.objects.create(
        name="toy", source=str(tmp_path / "base"), engine_options={"max_lora_rank": 256}
    )


def test_corpus_is_large() -> None:
    assert len(CORPUS) >= 150


@pytest.mark.parametrize("bad", CORPUS, ids=[name for name, _, _ in CORPUS])
def test_bad_adapter_ends_failed_with_its_problems(
    bad: Bad, toy: ServedModel, home: Path, tmp_path: Path
) -> None:
    version = checked(bad[1].write(tmp_path / "adapter"))
    assert version.state == VersionState.FAILED
    assert version.problems or "check ended" in version.cause
    assert version.fix
    assert [path for path in (home / "lora").rglob("*") if path.is_file()] == []


def test_good_one_beside_them_passes(toy: ServedModel, tmp_path: Path) -> None:
    version = checked(draft().write(tmp_path / "adapter"))
    assert (version.state, version.rank) == (VersionState.LOADING, 4)
