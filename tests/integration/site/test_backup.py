"""Backup and restore: every row and adapter comes back, or nothing changes."""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from apps.api.models import ApiKey
from apps.api.services import key_create, owner_get_or_create
from apps.lora.store import stored_folder
from apps.models.backup import APPS, backup, restore, tables
from apps.models.models import ServedModel
from apps.usage.models import UsageRecord
from engine.errors import InvalidRequest

pytestmark = pytest.mark.django_db(transaction=True)
DIGEST = "ab" * 32


@pytest.fixture
def filled(settings: Any, tmp_path: Path) -> str:
    """A key, a model and a stored adapter; the key's public id."""
    settings.PAGODA = replace(settings.PAGODA, home=tmp_path)
    owner = owner_get_or_create(name="Zoë's team")
    key, _ = key_create(owner=owner, name="ci", scopes=["inference"])
    ServedModel.objects.create(name="m", source="/m", path="/m")
    folder = stored_folder(DIGEST)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    return str(key.public_id)


def test_rows_and_adapters_come_back(filled: str, tmp_path: Path) -> None:
    before = ApiKey.objects.get(public_id=filled)
    written = backup(tmp_path / "b.tar.gz")
    ApiKey.objects.all().delete()
    ServedModel.objects.update(name="changed")
    file = stored_folder(DIGEST) / "adapter_config.json"
    file.unlink()
    assert restore(tmp_path / "b.tar.gz") == written
    after = ApiKey.objects.get(public_id=filled)
    assert (after.digest, after.owner.name) == (before.digest, "Zoë's team")
    assert after.epoch > before.epoch  # or admission would call it out of date for ever
    assert ServedModel.objects.get().name == "m"
    assert file.read_text() == "{}"


def test_new_rows_get_new_numbers_after_a_restore(filled: str, tmp_path: Path) -> None:
    backup(tmp_path / "b.tar.gz")
    restore(tmp_path / "b.tar.gz")
    key_create(owner=owner_get_or_create(name="other"), name="new", scopes=["inference"])
    assert ApiKey.objects.count() == 2


def test_every_table_of_ours_is_in_it() -> None:
    ours = {m for label in APPS for m in apps.get_app_config(label).get_models()}
    left = {m._meta.label_lower for m in ours - set(tables())}
    assert left == {"auth.permission"}
    assert UsageRecord in tables()


def test_the_file_is_private_and_never_overwritten(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    call_command("backup", str(file))
    assert os.stat(file).st_mode & 0o777 == 0o600
    with pytest.raises(CommandError, match="never overwritten"):
        call_command("backup", str(file))


def test_restoring_needs_a_yes(filled: str, tmp_path: Path) -> None:
    backup(tmp_path / "b.tar.gz")
    with pytest.raises(CommandError, match="--yes"):
        call_command("restore", str(tmp_path / "b.tar.gz"))


@pytest.mark.parametrize("damage", ["cut", "a bit", "text", "no manifest"])
def test_a_damaged_file_changes_nothing(filled: str, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "b.tar.gz"
    backup(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "a bit":
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "text":
        file.write_text("no archive")
    else:
        with tarfile.open(file, "w:gz"):
            pass
    with pytest.raises(InvalidRequest, match="cannot be read as a backup"):
        restore(file)
    assert ApiKey.objects.get().public_id == filled


def test_another_pepper_is_refused(filled: str, settings: Any, tmp_path: Path) -> None:
    backup(tmp_path / "b.tar.gz")
    other = "another pepper of at least 32 characters!"
    settings.PAGODA = replace(settings.PAGODA, key_pepper=other)
    with pytest.raises(InvalidRequest, match="another key pepper"):
        restore(tmp_path / "b.tar.gz")
    assert ApiKey.objects.get().public_id == filled


def test_a_file_that_cannot_be_stored_changes_no_row(filled: str, tmp_path: Path) -> None:
    backup(tmp_path / "b.tar.gz")
    shutil.rmtree(stored_folder(DIGEST))
    stored_folder(DIGEST).write_text("in the way")
    ServedModel.objects.update(name="changed")
    with pytest.raises(InvalidRequest, match="cannot be read as a backup"):
        restore(tmp_path / "b.tar.gz")
    assert ServedModel.objects.get().name == "changed"


def test_a_path_that_leaves_the_store_changes_nothing(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    backup(file)
    with tarfile.open(file, "r:gz") as made, tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as evil:
        for entry in made.getmembers():
            evil.addfile(entry, made.extractfile(entry) if entry.isfile() else None)
        evil.addfile(tarfile.TarInfo("store/../../evil"))
    ApiKey.objects.all().delete()
    with pytest.raises(InvalidRequest, match="outside the store"):
        restore(tmp_path / "evil.tar.gz")
    assert not ApiKey.objects.exists()
