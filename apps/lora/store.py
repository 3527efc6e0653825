"""Where adapter files lie: `incoming` until both are here, `sealed` while they are checked, then
the content-addressed store.

Folder names are our own version ids and digests; no name of a client ever becomes part of a path.
Hosts with engines must see this folder under the same path: share `$PAGODA_HOME/lora` between them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from django.conf import settings

from apps.lora.config import FILES, WEIGHTS_FILE, lora_settings
from engine.errors import InvalidRequest

CHUNK = 1 << 20
KEPT_S = 3600.0
PARTS = ("incoming", "sealed", "store")
CODE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def incoming_folder(version_id: int) -> Path:
    """Made on first use, for our eyes only."""
    folder = _root() / "incoming" / str(int(version_id))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def stored_folder(digest: str) -> Path:
    """Raises `ValueError` for what is no digest of ours: it would become a path."""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("not a digest")
    return store_root() / digest


def store_root() -> Path:
    """The folder of all digests."""
    return _root() / "store"


def stage_folder(source: Path, version_id: int) -> dict[str, str]:
    """Copy the two files of a folder to `incoming`. Returns their SHA-256.

    Only regular files are read, so that no link leads out of the folder. Raises `InvalidRequest`.
    """
    target = incoming_folder(version_id)
    hashes = {}
    for name in FILES:
        with _regular(source, name) as reading, (target / name).open("wb") as writing:
            hashes[name] = _copy(reading, writing, name)
    return hashes


def seal(version_id: int) -> Path | None:
    """Take the two files out of reach of whoever still sends them. None if one is missing.

    A second call, after a checker that died, gives the same folder.
    """
    sealed = _sealed(version_id)
    if not _complete(sealed):
        if not _complete(incoming_folder(version_id)):
            return None
        shutil.rmtree(sealed, ignore_errors=True)
        incoming_folder(version_id).rename(sealed)
    return sealed


def publish(version_id: int, digest: str) -> None:
    """Move checked files into the store, read-only. A digest that is there already stays."""
    source, target = _sealed(version_id), stored_folder(digest)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in FILES:
        (source / name).chmod(0o400)
        _sync(source / name)
    try:
        source.rename(target)
    except OSError:
        if not _complete(target):
            raise
        discard(version_id)
    else:
        _sync(target.parent)
        target.chmod(0o500)


def discard(version_id: int) -> None:
    """Forget files that were not accepted, or that nobody finished."""
    shutil.rmtree(_root() / "incoming" / str(int(version_id)), ignore_errors=True)
    shutil.rmtree(_sealed(version_id), ignore_errors=True)


def discard_unknown(*, versions: set[int], digests: set[str]) -> int:
    """Remove old folders that no row names. Returns how many went.

    A young one may belong to a row that is just being written.
    """
    named = {str(version) for version in versions} | digests
    old = time.time() - KEPT_S
    gone = 0
    for folder in (path for part in PARTS for path in _children(_root() / part)):
        if folder.name not in named and folder.stat().st_mtime < old:
            _remove(folder)
            gone += 1
    return gone


def folder_allowed(text: str, *, anywhere: bool = False) -> str:
    """The resolved folder of a path. Raises `InvalidRequest` if there is none, or if it does not
    lie below the roots; `anywhere` is for operators with a shell on this host.

    The message names no folder of this server.
    """
    roots = lora_settings().roots(settings.PAGODA.home)
    candidates = [Path(text)] if "/" in text or anywhere else []
    candidates += [root / text for root in roots if "/" not in text]
    for candidate in candidates:
        folder = _resolved(candidate)
        if folder and (anywhere or any(folder.parent.is_relative_to(root) for root in roots)):
            return str(folder)
    raise InvalidRequest(
        "This path is no folder below the adapter roots of the server. Put the adapter into "
        "one of the folders of PAGODA_ADAPTER_ROOTS, or upload its two files.",
        param="source",
    )


def _sealed(version_id: int) -> Path:
    parent = _root() / "sealed"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return parent / str(int(version_id))


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def _remove(path: Path) -> None:
    if path.is_dir():
        path.chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _resolved(path: Path) -> Path | None:
    try:
        folder = path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    return folder if folder.is_dir() else None


def _root() -> Path:
    home: Path = settings.PAGODA.home
    return home / "lora"


@contextlib.contextmanager
def _regular(folder: Path, name: str) -> Iterator[IO[bytes]]:
    try:
        # O_NONBLOCK: opening a pipe must not wait for a writer.
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise InvalidRequest(_missing(folder, name), param="source") from None
    except OSError as error:
        raise InvalidRequest(
            f"{name} cannot be read ({error.strerror}). It must be a regular file, not a link.",
            param="source",
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidRequest(f"{name} must be a regular file.", param="source")
        yield file


def _missing(folder: Path, name: str) -> str:
    found = sorted(p.name for p in _children(folder) if p.suffix in CODE_SUFFIXES)
    if name == WEIGHTS_FILE and found:
        return (
            f"There is no {name}, only {found[0]}: weights in that form can carry code and are "
            "never read. Save the adapter with safe_serialization=True."
        )
    return f"There is no {name}. An adapter is the two files {' and '.join(FILES)}."


def _copy(reading: IO[bytes], writing: IO[bytes], name: str) -> str:
    cap, size, digest = lora_settings().cap_of(name), 0, hashlib.sha256()
    while chunk := reading.read(CHUNK):
        size += len(chunk)
        if size > cap:
            raise InvalidRequest(f"{name} is larger than {cap} bytes.", param=name)
        digest.update(chunk)
        writing.write(chunk)
    return digest.hexdigest()


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
