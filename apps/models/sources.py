"""Where a model's files lie on this host: a folder, or a hub id that was downloaded before."""

from __future__ import annotations

from pathlib import Path

from engine.errors import EngineStartError
from engine.hub import cached_folder, checkpoint_folder


class SourceMissing(Exception):
    """The files are not there; `cause` and `fix` say why and what to do."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(f"{cause} {fix}")
        self.cause = cause
        self.fix = fix


def local_folder(source: str, revision: str = "") -> str:
    """The folder of a checkpoint. Downloads nothing. Raises `SourceMissing`."""
    if Path(source).is_absolute():
        if (Path(source) / "config.json").is_file():
            return source
        raise SourceMissing(
            f"{source} holds no config.json.",
            "Put the checkpoint there, or register another folder.",
        )
    try:
        folder = cached_folder(source, revision or None)
    except ValueError:  # the hub's client checks the form of ids
        raise SourceMissing(
            f"{source!r} cannot be a hub id.", "Give a folder, or owner/name as the hub shows it."
        ) from None
    if folder is None:
        raise SourceMissing(
            f"{source} is not in the download cache.", f"Run: pagoda models download {source}"
        )
    return str(folder)


def download(source: str, revision: str = "") -> str:
    """Fetch a hub checkpoint into the cache and return its folder. Raises `SourceMissing`."""
    try:
        return str(checkpoint_folder(source, revision or None))
    except EngineStartError as error:
        raise SourceMissing(error.cause, error.fix) from None
