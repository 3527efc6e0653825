"""Adapters that are named by a hub id: their two files, and nothing else, from the hub."""

from __future__ import annotations

from pathlib import Path

from apps.lora.config import FILES, lora_settings
from engine.errors import InvalidRequest
from engine.machine import machine_settings


def download(source: str, folder: Path) -> None:
    """Fetch both files into `folder`. Raises `InvalidRequest` with what to do."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if machine_settings().use_modelscope:
        _from_modelscope(source, folder)
    else:
        _from_hub(source, folder)


def _from_hub(source: str, folder: Path) -> None:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        files = HfApi().model_info(source, files_metadata=True).siblings or []
        for file in files:
            cap = lora_settings().cap_of(file.rfilename)
            if file.rfilename in FILES and (file.size or 0) > cap:
                raise InvalidRequest(f"{file.rfilename} is larger than {cap} bytes.")
        snapshot_download(source, allow_patterns=list(FILES), local_dir=folder)
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise _away(source, error, "HF_TOKEN") from None


def _from_modelscope(source: str, folder: Path) -> None:
    try:
        from modelscope import snapshot_download  # type: ignore[import-not-found]
    except ImportError:
        raise InvalidRequest(
            "PAGODA_USE_MODELSCOPE is on and the package modelscope is not installed. "
            "Install it, or switch the setting off."
        ) from None
    try:
        snapshot_download(source, allow_file_pattern=list(FILES), local_dir=str(folder))
    except Exception as error:  # its errors share no base class
        raise _away(source, error, "MODELSCOPE_API_TOKEN") from None


def _away(source: str, error: Exception, token: str) -> InvalidRequest:
    return InvalidRequest(
        f"The hub id {source!r} could not be downloaded ({type(error).__name__}). Check the id, "
        f"the network and {token}, or upload the adapter's two files."
    )
