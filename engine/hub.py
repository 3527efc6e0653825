"""Checkpoints that are named by a hub id: their files, from the download cache or the hub."""

from __future__ import annotations

from pathlib import Path

from engine.errors import EngineStartError
from engine.machine import machine_settings

# huggingface_hub is imported where a hub id is met: it costs 0.3 s of every start otherwise.
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]  # no pickled weights, no code


def checkpoint_folder(source: str, revision: str | None = None) -> Path:
    """The folder itself, or where the hub's files lie; downloads them if they are not here yet.

    Raises `EngineStartError` for what is neither.
    """
    if source and Path(source).is_dir():
        return Path(source)
    if not source or Path(source).is_absolute() or source.startswith((".", "~")):
        raise EngineStartError(
            f"There is no folder {source!r}.", "Give the folder of a checkpoint, or a hub id."
        )
    if machine_settings().use_modelscope:
        return _from_modelscope(source, revision)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=PATTERNS))
    except (HfHubHTTPError, OSError, ValueError) as error:  # ValueError: not the form of an id
        raise EngineStartError(
            f"{source!r} is no folder, and as a hub id it could not be downloaded "
            f"({type(error).__name__}).",
            "Check the id, the network and HF_TOKEN, or give the folder of a checkpoint.",
        ) from None


def _from_modelscope(source: str, revision: str | None, *, local_only: bool = False) -> Path:
    """The same from ModelScope, whose package is not part of the installation."""
    try:
        from modelscope import snapshot_download  # type: ignore[import-not-found]
    except ImportError:
        raise EngineStartError(
            "PAGODA_USE_MODELSCOPE is on and the package modelscope is not installed.",
            "Run: pip install modelscope. Or switch the setting off.",
        ) from None
    try:
        folder = snapshot_download(
            source,
            revision=revision,
            allow_file_pattern=PATTERNS,
            local_files_only=local_only,
        )
    except Exception as error:  # its errors share no base class
        raise EngineStartError(
            f"{source!r} is no folder, and ModelScope did not give it ({type(error).__name__}).",
            "Check the id, the network and MODELSCOPE_API_TOKEN, or give a folder.",
        ) from None
    return Path(folder)


def cached_folder(source: str, revision: str | None = None) -> Path | None:
    """Where an earlier download of a hub id lies; None if there was none. Downloads nothing."""
    if machine_settings().use_modelscope:
        try:
            return _from_modelscope(source, revision, local_only=True)
        except EngineStartError:
            return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                source, revision=revision, allow_patterns=PATTERNS, local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        return None
