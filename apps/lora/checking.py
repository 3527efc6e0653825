"""Checks the files of one version: fetch, run the check in a limited child, store.

Runs in the background worker. Whatever happens, the version ends valid or failed with a cause.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from apps.lora import services, store
from apps.lora.config import FILES, LoraSettings, lora_settings
from apps.lora.hub import download
from apps.lora.models import AdapterVersion, SourceKind
from apps.models.sources import SourceMissing, local_folder
from engine.config import EngineConfig
from engine.errors import InvalidRequest
from inference_site.process import bare_environment

log = logging.getLogger(__name__)
MAX_REPORT_BYTES = 1 << 20
GRACE_S = 60
FIX = "Mend what is named and add the adapter again."
KEPT_NAMES = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class CheckFailed(Exception):
    """The check could not be made; says nothing about the files. `cause` and `fix` are words."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(cause)
        self.cause, self.fix = cause, fix


def version_check(version_id: int) -> None:
    """Idempotent: a version that another worker checks, or has checked, is left alone."""
    settings = lora_settings()
    stale = timezone.now() - timedelta(seconds=settings.adapter_check_s + GRACE_S)
    version = services.version_claim(version_id, stale_before=stale)
    if version is None:
        return
    try:
        problems = _check(version, settings)
    except InvalidRequest as error:
        problems = [error.message]
    except CheckFailed as error:
        _refuse(version, [], error.cause, error.fix)
        return
    except Exception as error:
        log.exception("adapter_check_broken", extra={"version": version_id})
        cause = f"The check itself failed ({type(error).__name__})."
        _refuse(version, [], cause, "See the worker's log, then add the adapter again.")
        return
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        _refuse(version, problems, f"The adapter has {count}.", FIX)


def _check(version: AdapterVersion, settings: LoraSettings) -> list[str]:
    """Problems of the files; with none the version is accepted."""
    hashes = _fetch(version)
    folder = store.seal(version.pk)
    if folder is None:
        raise InvalidRequest(f"The upload lacks a file; send {' and '.join(FILES)}.")
    report = _report(folder, version, settings)
    if not report["ok"]:
        return [str(problem) for problem in report["problems"]]
    _check_quota(version, int(report["bytes"]), settings)
    store.publish(version.pk, report["digest"])
    facts = services.Facts(
        digest=report["digest"],
        rank=report["rank"],
        alpha=report["alpha"],
        modules=list(report["modules"]),
        size_bytes=report["bytes"],
        hashes=hashes,
    )
    services.version_accept(version=version, facts=facts)
    log.info("adapter_accepted", extra={"adapter": version.adapter.name, "rank": facts.rank})
    return []


def _fetch(version: AdapterVersion) -> dict[str, str]:
    """Bring the files to `incoming`; an upload is there. Returns their SHA-256."""
    if version.kind == SourceKind.UPLOAD:
        return dict(version.hashes)
    store.discard(version.pk)  # of a checker that died
    if version.kind == SourceKind.FOLDER:
        return store.stage_folder(Path(version.source), version.pk)
    fetched = store.incoming_folder(version.pk) / "hub"
    try:
        download(version.source, fetched)
        return store.stage_folder(fetched, version.pk)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)


def _report(folder: Path, version: AdapterVersion, settings: LoraSettings) -> dict[str, Any]:
    """The check's own report, from a child with limits. Raises `CheckFailed`."""
    base = version.adapter.base
    try:
        base_folder = local_folder(base.source, base.revision)
    except SourceMissing as error:
        raise CheckFailed(error.cause, error.fix) from None
    argv = [sys.executable, "-m", "apps.lora.limited"]
    argv += [str(settings.adapter_check_memory_bytes), str(settings.adapter_check_s)]
    argv += ["engine.lora.validate", str(folder), "--base", base_folder, "--json"]
    argv += [f"--max-rank={max_rank(base.engine_options)}"]
    env = bare_environment(KEPT_NAMES, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    try:
        done = subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=settings.adapter_check_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CheckFailed(
            f"The check took longer than {settings.adapter_check_s} s.",
            "Raise PAGODA_ADAPTER_CHECK_S if the adapter is this large.",
        ) from None
    if done.returncode not in (0, 1) or len(done.stdout) > MAX_REPORT_BYTES:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise CheckFailed(
            f"The check ended without a report (exit {done.returncode}). "
            f"{words[-1][:300] if words else ''}".strip(),
            "The adapter may need more memory to check than PAGODA_ADAPTER_CHECK_MEMORY_BYTES.",
        )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise CheckFailed("The check's report is unreadable.", "See the worker's log.") from None
    return report


def _check_quota(version: AdapterVersion, size: int, settings: LoraSettings) -> None:
    """Raises `InvalidRequest` when the owner's adapters would grow over the quota."""
    if version.owner is None:
        return
    if quota_used(version.owner.pk) + size > settings.adapter_quota_bytes:
        raise InvalidRequest(
            f"The owner {version.owner.name!r} may keep {settings.adapter_quota_bytes} bytes of "
            "adapters and this one would pass that. Delete one that is not needed."
        )


def quota_used(owner_id: int) -> int:
    """Bytes of all valid versions an owner has added."""
    rows = AdapterVersion.objects.filter(owner_id=owner_id).exclude(digest="")
    return int(rows.aggregate(total=Sum("size_bytes"))["total"] or 0)


def max_rank(engine_options: dict[str, Any]) -> int:
    """Largest rank the engines of a model take."""
    return int(engine_options.get("max_lora_rank") or EngineConfig().max_lora_rank)


def _refuse(version: AdapterVersion, problems: list[str], cause: str, fix: str) -> None:
    store.discard(version.pk)
    services.version_refuse(version=version, problems=problems, cause=cause, fix=fix)
    log.warning("adapter_refused", extra={"adapter": version.adapter.name, "cause": cause})
