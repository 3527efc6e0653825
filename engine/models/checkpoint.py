"""Reading a checkpoint's safetensors files one tensor at a time, after checking all headers.

Nothing is read into memory before names and shapes are known to be right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.errors import EngineStartError

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_AGAIN = "Download the checkpoint again."
_WIDTHS = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}


class Checkpoint:
    """The tensors of a folder by name. Opening reads headers only; `read` streams one tensor.

    `rename` turns a name in the files into the one that callers use.
    """

    def __init__(self, folder: Path, rename: Callable[[str], str] = str) -> None:
        self._files: dict[str, Any] = {}
        self._place: dict[str, tuple[str, str]] = {}  # name → file, name in the file
        self._rename = rename
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.bytes: dict[str, int] = {}
        for name in _file_names(folder):
            self._open(folder / name)

    def _open(self, path: Path) -> None:
        try:
            file: Any = safe_open(str(path), framework="pt")
            for stored in file.keys():  # noqa: SIM118 — not a mapping
                if stored.endswith("position_ids"):  # 0, 1, 2, …: a buffer of older encoders
                    continue
                part, name = file.get_slice(stored), self._rename(stored)
                self.shapes[name] = tuple(part.get_shape())
                if part.get_dtype() not in _WIDTHS:
                    raise EngineStartError(
                        f"{path} holds {name} as {part.get_dtype()}.",
                        "Use a float32, bfloat16 or float16 checkpoint.",
                    )
                size = _WIDTHS[part.get_dtype()]
                for length in part.get_shape():
                    size *= length
                self.bytes[name] = size
                self._place[name] = str(path), stored
        except FileNotFoundError:
            raise EngineStartError(f"{path} is missing.", _AGAIN) from None
        except (SafetensorError, OSError) as error:
            raise EngineStartError(f"{path} is corrupt: {error}.", _AGAIN) from None
        self._files[str(path)] = file

    def check(self, wanted: dict[str, tuple[int, ...]], ignored: Iterable[str] = ()) -> None:
        """Raise `EngineStartError` naming tensors that are missing, unknown or of a wrong shape."""
        missing = sorted(wanted.keys() - self.shapes.keys())
        unknown = sorted(self.shapes.keys() - wanted.keys() - set(ignored))
        wrong = [
            f"{name} is {list(self.shapes[name])}, expected {list(shape)}"
            for name, shape in wanted.items()
            if name in self.shapes and self.shapes[name] != shape
        ]
        problems = [
            f"{word}: {_some(names)}"
            for word, names in (("missing", missing), ("unknown", unknown), ("wrong shape", wrong))
            if names
        ]
        if problems:
            raise EngineStartError(
                f"The weights do not fit config.json ({'; '.join(problems)}).",
                "Use the config.json and weights of the same checkpoint.",
            )

    def read(self, name: str) -> Tensor:
        """One tensor, copied out of the file."""
        path, stored = self._place[name]
        try:
            tensor: Tensor = self._files[path].get_tensor(stored)
        except SafetensorError as error:
            raise EngineStartError(f"{path} is corrupt: {error}.", _AGAIN) from None
        if tensor.dtype == torch.float64:
            tensor = tensor.float()
        return tensor


def _some(names: list[str]) -> str:
    """The first eight of a list that may be long."""
    rest = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + rest


def _file_names(folder: Path) -> list[str]:
    """Files that hold weights: those the index names, or the single file."""
    index = folder / _INDEX
    if index.is_file():
        try:
            places = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise EngineStartError(f"{index} cannot be read: {error!r}.", _AGAIN) from None
        names = sorted({str(place) for place in places})
        if bad := [name for name in names if Path(name).name != name]:
            raise EngineStartError(f"{index} names a file outside its folder: {bad[0]}.", _AGAIN)
        return names
    if (folder / _SINGLE).is_file():
        return [_SINGLE]
    raise EngineStartError(
        f"{folder} holds no safetensors weights.",
        f"It needs {_SINGLE} or {_INDEX}; other formats can be converted to safetensors.",
    )
