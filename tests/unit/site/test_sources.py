"""Where a model's files are found, and what is said when they are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.models.sources import SourceMissing, download, local_folder


def test_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert local_folder(str(tmp_path)) == str(tmp_path)


def test_folder_without_a_config_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"holds no config\.json"):
        local_folder(str(tmp_path))


def test_hub_id_that_was_never_downloaded_names_the_command() -> None:
    with pytest.raises(SourceMissing, match="pagoda models download nobody/nothing"):
        local_folder("nobody/nothing")


def test_malformed_hub_id_is_refused_in_words() -> None:
    with pytest.raises(SourceMissing, match="could not be downloaded"):
        download("not/a/hub/id")
