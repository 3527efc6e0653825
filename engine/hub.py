"""Checkpoints that are named by a hub id: their files, from the download cache or the hub."""

from __future__ import annotations

from pathlib import Path

from engine.errors import EngineStartError

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
