"""Files reach the store only through the check; what is refused names its problems."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.api.services import owner_get_or_create
from apps.lora import checking, store
from apps.lora.config import CONFIG_FILE, FILES, lora_settings
from apps.lora.models import AdapterVersion, SourceKind, VersionState
from apps.lora.services import SYSTEM, adapter_delete, version_add
from apps.lora.sources import Source, source_from
from apps.lora.tasks import sweep
from apps.lora.tickets import upload_file_done, upload_open
from apps.models.models import ServedModel
from engine.errors import InvalidRequest
from inference_site.paths import DEMO_ADAPTERS
from tests.integration.lora import files
from tests.integration.lora.conftest import checked


def test_good_adapter_enters_the_store_read_only(base: ServedModel) -> None:
    version = checked(DEMO_ADAPTERS / "pirate")
    assert (version.state, version.rank, version.alpha) == (VersionState.LOADING, 8, 16.0)
    folder = store.stored_folder(version.digest)
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert all(path.stat().st_mode & 0o222 == 0 for path in folder.iterdir())
    assert version.adapter.target == version
    assert version.adapter.current is None  # no engine has it yet


@pytest.mark.parametrize("kind", files.BAD)
def test_bad_adapter_is_refused_with_its_problem(
    kind: str, base: ServedModel, tmp_path: Path, home: Path
) -> None:
    change, word = files.BAD[kind]
    folder = files.adapter(tmp_path / "bad")
    change(folder)
    version = checked(folder)
    assert version.state == VersionState.FAILED
    assert word in " ".join(version.problems)
    assert version.fix
    assert [path for path in (home / "lora").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("quick_check")
def test_file_that_arrives_during_the_check_changes_nothing(base: ServedModel, home: Path) -> None:
    version, _ = upload_open(name="mine", base=None, load=True, owner=None, actor=SYSTEM)
    folder = store.incoming_folder(version.pk)
    for name in FILES:
        (folder / name).write_bytes((DEMO_ADAPTERS / "terse" / name).read_bytes())
    assert store.seal(version.pk) is not None
    draft = home / "draft"
    draft.write_text("{}")
    with pytest.raises(FileNotFoundError):
        os.replace(draft, folder / CONFIG_FILE)
    AdapterVersion.objects.filter(pk=version.pk).update(ticket_digest="")
    checking.version_check(version.pk)
    version.refresh_from_db()
    assert version.state == VersionState.LOADING


def test_every_problem_is_named_at_once(base: ServedModel, tmp_path: Path) -> None:
    bad = {"r": 0, "use_dora": True, "bias": "all"}
    version = checked(files.adapter(tmp_path / "bad", **bad))
    text = " ".join(version.problems)
    assert version.cause == "The adapter has 3 problems."
    for word in ("use_dora", "bias", "r is 0"):
        assert word in text, text


def test_rank_above_the_models_is_refused(base: ServedModel) -> None:
    base.engine_options = {"max_lora_rank": 4}
    base.save()
    version = checked(DEMO_ADAPTERS / "pirate")
    assert version.state == VersionState.FAILED
    assert version.problems == ["Rank 8 is over the limit of 4."]


def test_check_that_hits_its_limit_ends_with_a_cause(
    base: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["-c", "import time; time.sleep(60)"]
    real = checking.subprocess.run
    short = type(lora_settings())(adapter_check_s=1)
    monkeypatch.setattr(checking, "lora_settings", lambda: short)
    monkeypatch.setattr(checking.subprocess, "run", lambda a, **more: real([a[0], *argv], **more))
    version = checked(DEMO_ADAPTERS / "pirate")
    assert version.state == VersionState.FAILED
    assert "longer than 1 s" in version.cause
    assert "PAGODA_ADAPTER_CHECK_S" in version.fix


def test_child_of_the_check_is_limited(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import json, resource as r, sys\n"
        "kinds = (r.RLIMIT_AS, r.RLIMIT_CPU, r.RLIMIT_FSIZE, r.RLIMIT_CORE)\n"
        "print(json.dumps([r.getrlimit(k)[0] for k in kinds] + sys.argv[1:]))\n"
    )
    command = [checking.sys.executable, "-m", "apps.lora.limited", str(2**31), "7", "probe", "x"]
    done = checking.subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == [2**31, 7, 0, 0, "x"]


@pytest.mark.usefixtures("quick_check")
def test_same_content_is_one_version(base: ServedModel, tmp_path: Path) -> None:
    first = checked(DEMO_ADAPTERS / "terse")
    again = checked(DEMO_ADAPTERS / "terse")
    assert again.pk == first.pk
    assert AdapterVersion.objects.count() == 1


@pytest.mark.usefixtures("quick_check")
def test_version_left_by_a_dead_worker_is_checked_again(base: ServedModel) -> None:
    version = version_add(name="mine", source=source_from("terse"))
    AdapterVersion.objects.filter(pk=version.pk).update(state=VersionState.VALIDATING)
    checking.version_check(version.pk)
    version.refresh_from_db()
    assert version.state == VersionState.VALIDATING  # another worker has it
    long_ago = timezone.now() - timedelta(hours=1)
    AdapterVersion.objects.filter(pk=version.pk).update(since=long_ago)
    checking.version_check(version.pk)
    version.refresh_from_db()
    assert version.state == VersionState.LOADING


def test_upload_is_complete_when_both_files_are_noted_and_not_when_they_lie_there(
    base: ServedModel, home: Path
) -> None:
    version, _ = upload_open(name="mine", base=None, load=True, owner=None, actor=SYSTEM)
    for name in FILES:
        (store.incoming_folder(version.pk) / name).write_text("{}")
    noted = [upload_file_done(version=version, file=name, sha256=f"of {name}") for name in FILES]
    assert noted == [False, True]
    version.refresh_from_db()
    assert version.hashes == {name: f"of {name}" for name in FILES}


def test_file_for_an_adapter_that_was_deleted_is_refused(base: ServedModel, home: Path) -> None:
    version, _ = upload_open(name="mine", base=None, load=True, owner=None, actor=SYSTEM)
    adapter_delete(name="mine")
    with pytest.raises(InvalidRequest, match="deleted"):
        upload_file_done(version=version, file=FILES[0], sha256="")


def test_sweep_ends_forgotten_uploads_and_removes_their_files(
    base: ServedModel, home: Path
) -> None:
    version, _ = upload_open(name="mine", base=None, load=True, owner=None, actor=SYSTEM)
    draft = store.incoming_folder(version.pk) / CONFIG_FILE
    draft.write_text("{}")
    stray = store.incoming_folder(999_999)
    hour_ago = timezone.now() - timedelta(hours=2)
    os.utime(stray, (hour_ago.timestamp(), hour_ago.timestamp()))
    sweep()
    assert draft.exists()
    assert not stray.exists()
    AdapterVersion.objects.filter(pk=version.pk).update(since=hour_ago)
    sweep()
    version.refresh_from_db()
    assert (version.state, draft.exists()) == (VersionState.FAILED, False)
    assert "within an hour" in version.cause


@pytest.mark.usefixtures("quick_check")
def test_quota_of_an_owner_is_kept(base: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owner_get_or_create(name="small")
    size = sum(path.stat().st_size for path in (DEMO_ADAPTERS / "pirate").iterdir())
    tight = type(lora_settings())(adapter_quota_bytes=size + 1000)
    monkeypatch.setattr(checking, "lora_settings", lambda: tight)

    def add(name: str, folder: str) -> AdapterVersion:
        source = Source(kind=SourceKind.FOLDER, text=str(DEMO_ADAPTERS / folder), owner=owner)
        version = version_add(name=name, source=source)
        checking.version_check(version.pk)
        version.refresh_from_db()
        return version

    assert add("one", "pirate").state == VersionState.LOADING
    second = add("two", "terse")
    assert second.state == VersionState.FAILED
    assert "'small'" in second.problems[0]


@pytest.mark.parametrize(
    "path",
    ["/etc", "../../etc", "~root", "/nowhere", "a/../../b", "", ".", "./x", "x\0y", "a" * 999],
)
def test_path_outside_the_roots_is_refused_without_naming_folders(path: str, base: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        source_from(path)
    assert str(DEMO_ADAPTERS) not in caught.value.message


def test_link_below_a_root_leads_nowhere_else(base: Any, home: Path, tmp_path: Path) -> None:
    files.adapter(tmp_path / "outside")
    (home / "adapters").mkdir(parents=True)
    (home / "adapters" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidRequest):
        source_from("link")
    assert source_from(str(tmp_path / "outside"), anywhere=True).kind == SourceKind.FOLDER


def test_hub_id_is_told_from_a_folder(base: ServedModel) -> None:
    assert source_from("someone/adapter-7b").kind == SourceKind.HUB
    assert source_from("terse").text == str((DEMO_ADAPTERS / "terse").resolve())
    with pytest.raises(InvalidRequest, match="neither a folder nor a hub id"):
        source_from("a/b/c")
