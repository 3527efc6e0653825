"""Backup and restore: one tar file with the rows of every table of ours and the adapter store.

Rows are Django's JSON lines, so a backup moves between SQLite and PostgreSQL. Secrets stay out; a
mark of the key pepper goes in, because keys are worthless under another one.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import serializers
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

from apps.api.models import ApiKey
from apps.api.services import epochs_publish
from apps.lora.store import store_root
from apps.models.models import CatalogEpoch
from apps.models.services import catalog_publish
from engine.errors import InvalidRequest
from inference_site.secrets import load_secrets

FORMAT = 1
APPS = ("auth", "catalog", "api", "lora", "usage")
LEFT_OUT = {"auth.permission"}  # migrations make them
BATCH = 1000


def tables() -> list[type[Model]]:
    """Our models, those that others point at first."""
    ours = [(apps.get_app_config(label), None) for label in APPS]
    ordered = serializers.sort_dependencies(ours)
    return [model for model in ordered if model._meta.label_lower not in LEFT_OUT]


def backup(target: Path) -> dict[str, int]:
    """Write `target` (0600, whole or not at all); returns rows per table.

    One transaction reads all tables, so that rows and sums agree."""
    counts: dict[str, int] = {}
    draft = target.with_name(f".{target.name}.part")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive, transaction.atomic():
            _same_moment()
            for model in tables():
                label = model._meta.label_lower
                counts[label] = _add_rows(archive, label, model, draft.parent)
            root = store_root()
            if root.is_dir():
                archive.add(root, "store")
            _add(archive, "manifest.json", json.dumps(_manifest(counts)).encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, target)
    return counts


def restore(source: Path) -> dict[str, int]:
    """Replace all rows by those of the backup, and add its adapters to the store.

    Raises `InvalidRequest` for a file that is no backup, comes from other tables than these, or
    belongs to another key pepper; then nothing has changed."""
    try:
        with tarfile.open(source, "r:gz") as archive:
            _read_to_the_end(archive)
            manifest = _read_manifest(archive)
            for name, path in _store_files(archive).items():
                _unpack(archive, name, path)
            with transaction.atomic():
                for model in reversed(tables()):
                    model._base_manager.all().delete()
                counts = {m._meta.label_lower: _load_rows(archive, m) for m in tables()}
                _restart_sequences()
                _outdate_snapshots()
                if counts != manifest["rows"]:
                    raise InvalidRequest(f"{source} is damaged: rows are missing.")
    except (tarfile.TarError, zlib.error, OSError, KeyError, EOFError, ValueError) as error:
        raise InvalidRequest(f"{source} cannot be read as a backup: {error}.") from None
    return counts


def _read_to_the_end(archive: tarfile.TarFile) -> None:
    """Raises for any byte that differs: the sum over all of them stands behind the last entry."""
    archive.getmembers()
    while archive.fileobj and archive.fileobj.read(1 << 20):
        pass


def _manifest(counts: dict[str, int]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "pagoda": version("pagoda"),
        "migrations": _migrations(),
        "pepper": _pepper_mark(),
        "rows": counts,
    }


def _read_manifest(archive: tarfile.TarFile) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_member(archive, "manifest.json").read())
    if found["format"] != FORMAT:
        raise InvalidRequest(f"The backup has format {found['format']}; this reads {FORMAT}.")
    if found["migrations"] != _migrations():
        raise InvalidRequest(
            f"The backup was made by Pagoda {found['pagoda']} with other tables. Install that "
            "version, restore, then upgrade and migrate."
        )
    if not hmac.compare_digest(found["pepper"], _pepper_mark()):
        raise InvalidRequest(
            "The backup's API keys belong to another key pepper. Put the pepper of that "
            "installation in place (PAGODA_KEY_PEPPER_FILE) first."
        )
    return found


def _migrations() -> list[str]:
    done = MigrationRecorder(connection).applied_migrations()
    return sorted(f"{app}.{name}" for app, name in done if app in APPS)


def _pepper_mark() -> str:
    pepper = load_secrets(settings.PAGODA).pepper
    return hmac.new(pepper, b"pagoda backup", hashlib.sha256).hexdigest()


def _same_moment() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _add_rows(archive: tarfile.TarFile, label: str, model: type[Model], folder: Path) -> int:
    """Lies in `folder` while it is written: a container's /tmp is memory."""
    rows = model._base_manager.order_by("pk")
    count = 0

    def counted() -> Iterator[Model]:
        nonlocal count
        for row in rows.iterator(chunk_size=BATCH):
            count += 1
            yield row

    with tempfile.TemporaryFile(dir=folder) as file:
        lines = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
        serializers.serialize("jsonl", counted(), stream=lines, use_natural_foreign_keys=True)
        entry = tarfile.TarInfo(f"rows/{label}.jsonl")
        entry.size, entry.mode = file.tell(), 0o600
        file.seek(0)
        archive.addfile(entry, file)
        lines.detach()
    return count


def _load_rows(archive: tarfile.TarFile, model: type[Model]) -> int:
    count = 0
    lines = io.TextIOWrapper(_member(archive, f"rows/{model._meta.label_lower}.jsonl"), "utf-8")
    for row in serializers.deserialize("jsonl", lines):
        row.save()
        count += 1
    return count


def _restart_sequences() -> None:
    statements = connection.ops.sequence_reset_sql(no_style(), tables())
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _outdate_snapshots() -> None:
    """Epochs count changes from 1, so the time of day is above any that Redis has seen: every
    process reads keys and catalog again, and none refuses a restored key as out of date."""
    now = int(time.time())
    ApiKey.objects.update(epoch=now)
    CatalogEpoch.objects.update(epoch=now)
    transaction.on_commit(epochs_publish)
    transaction.on_commit(catalog_publish)


def _store_files(archive: tarfile.TarFile) -> dict[str, Path]:
    """Adapter files and where they go; a path that leads elsewhere is refused before any change."""
    root = store_root().resolve()
    found = {}
    for entry in archive.getmembers():
        if entry.isfile() and entry.name.startswith("store/"):
            target = (root / Path(entry.name).relative_to("store")).resolve()
            if not target.is_relative_to(root):
                raise InvalidRequest(f"The backup holds a path outside the store: {entry.name}.")
            found[entry.name] = target
    return found


def _unpack(archive: tarfile.TarFile, name: str, target: Path) -> None:
    """Adapters are named by their digest: what is there already is the same, so that half a file
    must never have the name. They are gigabytes: none is held in memory."""
    if not target.exists():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.part")
        with draft.open("wb") as file:
            shutil.copyfileobj(_member(archive, name), file, 1 << 20)
        draft.chmod(0o400)
        os.replace(draft, target)


def _member(archive: tarfile.TarFile, name: str) -> Any:
    found = archive.extractfile(name)
    if found is None:
        raise KeyError(name)
    return found


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    archive.addfile(entry, io.BytesIO(data))
