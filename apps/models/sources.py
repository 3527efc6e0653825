"""Where a model's files lie on this host: a folder, or a hub id that was downloaded before."""

from __future__ import annotations

from pathlib import Path

# huggingface_hub is imported where a hub id is met: it costs 0.3 s of every start otherwise.
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]  # no pickled weights, no code


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
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return snapshot_download(
            source, revision=revision or None, allow_patterns=PATTERNS, local_files_only=True
        )
    except LocalEntryNotFoundError:
        raise SourceMissing(
            f"{source} is not in the download cache.", f"Run: pagoda models download {source}"
        ) from None


def download(source: str, revision: str = "") -> str:
    """Fetch a hub checkpoint into the cache and return its folder. Raises `SourceMissing`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return snapshot_download(source, revision=revision or None, allow_patterns=PATTERNS)
    except (HfHubHTTPError, OSError, ValueError) as error:  # ValueError: not the form of an id
        raise SourceMissing(
            f"{source} could not be downloaded ({type(error).__name__}).",
            "Check the id, the network and HF_TOKEN, or give the folder of a checkpoint.",
        ) from None
