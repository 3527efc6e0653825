"""The header of a safetensors file, read as if an enemy had written it.

File: 8 bytes little-endian header length n, n bytes of JSON, then the tensors' bytes. The JSON maps
names to dtype, shape and [begin, end) offsets into those bytes, which must follow each other from
zero to the end of the file, so that nothing overlaps and nothing is hidden.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.lora.json_text import BadJson, parse_object

MAX_HEADER_BYTES, MAX_TENSORS, MAX_SIDE = 1 << 20, 8192, 1 << 24
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One matrix of the file."""

    dtype: str  # of WIDTHS
    shape: tuple[int, int]
    start: int  # byte offset in the file
    size: int  # bytes


def read_header(path: Path, problems: list[str]) -> dict[str, TensorEntry]:
    """The well-formed tensors of a file; whatever is wrong is added to `problems`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            problems.append(f"{path.name} is cut short: {size} bytes cannot hold its header.")
            return {}
        if length > MAX_HEADER_BYTES:
            problems.append(f"{path.name} has a header of {length} bytes, over {MAX_HEADER_BYTES}.")
            return {}
        text = file.read(length)
    try:
        fields = parse_object(text, f"The header of {path.name}")
    except BadJson as error:
        problems.append(str(error))
        return {}
    _check_metadata(fields.pop("__metadata__", {}), problems)
    if len(fields) > MAX_TENSORS:
        problems.append(f"{path.name} holds {len(fields)} tensors, over {MAX_TENSORS}.")
        return {}
    return _entries(fields, 8 + length, size, problems)


def _check_metadata(metadata: Any, problems: list[str]) -> None:
    texts = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    if not texts:
        problems.append("__metadata__ of the weights must map texts to texts.")


def _entries(
    fields: dict[str, Any], first: int, size: int, problems: list[str]
) -> dict[str, TensorEntry]:
    found, spans = {}, []
    for name, value in fields.items():
        try:
            entry = _entry(value, first)
        except ValueError as error:
            problems.append(f"Tensor {name[:200]!r} {error}.")
        else:
            found[name] = entry
            spans.append((entry.start, entry.size, name))
    if len(found) == len(fields):
        _check_cover(sorted(spans), first, size, problems)
    return found


def _entry(value: Any, first: int) -> TensorEntry:
    """Raises ValueError with a sentence's end."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError("needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        raise ValueError(f"has dtype {str(dtype)[:50]!r}; use one of {', '.join(WIDTHS)}")
    if not _whole_numbers(shape, low=1) or len(shape) != 2 or max(shape) > MAX_SIDE:
        raise ValueError(f"has shape {str(shape)[:100]}; two dimensions of 1 to {MAX_SIDE} are due")
    if not _whole_numbers(offsets, low=0) or len(offsets) != 2:
        raise ValueError(f"has data_offsets {str(offsets)[:100]}; two whole numbers are due")
    size = math.prod(shape) * WIDTHS[dtype]
    if offsets[1] - offsets[0] != size:
        raise ValueError(f"takes {offsets[1] - offsets[0]} bytes, but its shape needs {size}")
    return TensorEntry(dtype, (shape[0], shape[1]), first + offsets[0], size)


def _whole_numbers(value: Any, low: int) -> bool:
    return isinstance(value, list) and all(type(n) is int and low <= n < 1 << 62 for n in value)


def _check_cover(
    spans: list[tuple[int, int, str]], first: int, size: int, problems: list[str]
) -> None:
    """Every byte after the header belongs to exactly one tensor."""
    at = first
    for start, length, name in spans:
        if start != at:
            word = "overlaps the tensor before it" if start < at else "leaves a gap before it"
            problems.append(f"Tensor {name[:200]!r} {word}.")
            return
        at = start + length
    if at != size:
        word = "ends early" if at > size else "has bytes that belong to no tensor"
        problems.append(f"The weights file {word}: {size} bytes, its tensors end at {at}.")
