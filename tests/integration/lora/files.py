"""Adapters for tests: the demo's, with small changes that make them others or make them bad."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps.lora.config import CONFIG_FILE, WEIGHTS_FILE
from inference_site.paths import DEMO_ADAPTERS

Change = Callable[[Path], object]


def adapter(folder: Path, like: str = "terse", **config: Any) -> Path:
    """A copy of a demo adapter with other values in its config: other content, other digest."""
    shutil.copytree(DEMO_ADAPTERS / like, folder)
    written = json.loads((folder / CONFIG_FILE).read_text()) | config
    (folder / CONFIG_FILE).write_text(json.dumps(written))
    return folder


def _archive(folder: Path) -> None:
    (folder / WEIGHTS_FILE).write_bytes(b"PK\x03\x04" + bytes(4096))


def _pickle(folder: Path) -> None:
    (folder / WEIGHTS_FILE).rename(folder / "adapter_model.bin")


def _link(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    (folder / WEIGHTS_FILE).symlink_to("/etc/passwd")


def _cut(folder: Path) -> None:
    data = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(data[: len(data) // 2])


def _no_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()


def _no_json(folder: Path) -> None:
    (folder / CONFIG_FILE).write_text("{'r': 8}")


def _huge_config(folder: Path) -> None:
    (folder / CONFIG_FILE).write_text("{" + " " * 70_000 + "}")


# What is wrong → how it is made, and a word the report must hold.
BAD: dict[str, tuple[Change, str]] = {
    "archive": (_archive, "header"),
    "pickle": (_pickle, "safe_serialization"),
    "link": (_link, "not a link"),
    "cut": (_cut, "bytes"),
    "no weights": (_no_weights, "adapter_model.safetensors"),
    "no JSON": (_no_json, "JSON"),
    "huge config": (_huge_config, "65536"),
}
