"""Everything an adapter folder must be before an engine reads its weights, in one report.

Torch-free: numpy looks at the numbers, and the file's header is read by our own reader.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from engine.lora.adapter_config import AdapterConfig, read_config
from engine.lora.header import TensorEntry, read_header
from engine.lora.layout import BUCKETS, module_shapes
from engine.models.spec import ModelSpec

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
MAX_PROBLEMS = 200
CODE_SUFFIXES = {
    ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py", ".pyc", ".so", ".sh",
    ".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z", ".npy", ".npz",
}  # fmt: skip
_CHUNK = 1 << 22
_EXPONENT = {
    "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}


class Report(msgspec.Struct, kw_only=True):
    """What the check found. `problems` is empty for an adapter that works."""

    digest: str = ""
    rank: int = 0  # largest of all modules
    alpha: float = 0.0
    rslora: bool = False
    modules: list[str] = []  # last parts of their names: q_proj, …
    tensors: int = 0
    dtype: str = ""  # "mixed" where tensors differ
    bytes: int = 0  # of the weights file
    problems: list[str] = []

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(slots=True)
class CheckedAdapter:
    """A report with what the engine needs to read the weights."""

    report: Report
    config: AdapterConfig | None = None
    entries: dict[str, TensorEntry] = field(default_factory=dict)  # by full tensor name


def check_folder(folder: Path, spec: ModelSpec, *, max_rank: int = BUCKETS[-1]) -> CheckedAdapter:
    """Look at every byte. Raises nothing for what strangers can write into the folder."""
    checked = CheckedAdapter(Report(problems=[]))
    problems = checked.report.problems
    try:
        if _check_files(folder, problems):
            _check_contents(checked, folder, spec, max_rank)
    except OSError as error:
        problems.append(f"{folder.name} cannot be read: {error.strerror or error}.")
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"… and {len(problems) - MAX_PROBLEMS} more problems."]
    return checked


def adapter_digest(folder: Path) -> str:
    """SHA-256 over the SHA-256s of the two files. Names and paths do not enter."""
    whole = hashlib.sha256(b"pagoda-lora-1")
    for name in (CONFIG, WEIGHTS):
        with (folder / name).open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def weight_name(module: str, side: str) -> str:
    """Name of a module's A or B in the weights file."""
    return f"{PREFIX}{module}.lora_{side}.weight"


def _check_files(folder: Path, problems: list[str]) -> bool:
    """Both files are there and nothing that could carry code lies beside them."""
    if not folder.is_dir():
        problems.append(f"{folder.name} is not a folder.")
        return False
    before = len(problems)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            problems.append(f"{name} is missing.")
    complete = len(problems) == before
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in CODE_SUFFIXES:
            problems.append(f"{path.name} may carry code: only safetensors weights are read.")
    return complete


def _check_contents(checked: CheckedAdapter, folder: Path, spec: ModelSpec, max_rank: int) -> None:
    report, problems = checked.report, checked.report.problems
    checked.config = read_config(folder / CONFIG, problems)
    checked.entries = read_header(folder / WEIGHTS, problems)
    report.bytes = (folder / WEIGHTS).stat().st_size
    report.tensors = len(checked.entries)
    kinds = {entry.dtype for entry in checked.entries.values()}
    report.dtype = "mixed" if len(kinds) > 1 else next(iter(kinds), "")
    if checked.config is not None:
        _compare(checked, checked.config, spec, max_rank)
    _check_numbers(folder / WEIGHTS, checked.entries, problems)
    report.digest = adapter_digest(folder)


def _compare(
    checked: CheckedAdapter, config: AdapterConfig, spec: ModelSpec, max_rank: int
) -> None:
    """Config against base model, tensors against both."""
    report, problems = checked.report, checked.report.problems
    shapes = module_shapes(spec)
    wanted = {name: shape for name, shape in shapes.items() if config.wants(name)}
    _check_targets(config, shapes, spec.num_layers, problems)
    if not wanted:
        problems.append("The adapter changes no linear of this base model.")
    ranks = {name: config.rank_of(name) for name in wanted}
    report.alpha, report.rslora = config.alpha, config.rslora
    report.rank = max(ranks.values(), default=config.rank)
    report.modules = sorted({name.rpartition(".")[2] for name in wanted})
    for rank in sorted({r for r in ranks.values() if r > max_rank}):
        problems.append(f"Rank {rank} is over the limit of {max_rank}.")
    due = {}
    for name, (num_out, num_in) in wanted.items():
        due[weight_name(name, "A")] = (ranks[name], num_in)
        due[weight_name(name, "B")] = (num_out, ranks[name])
    problems += [f"Tensor {name} is missing." for name in sorted(due.keys() - checked.entries)]
    known = {weight_name(module, side) for module in shapes for side in "AB"}
    for name, entry in checked.entries.items():
        if name not in due:
            problems.append(_surplus(name, known))
        elif entry.shape != due[name]:
            problems.append(f"{name} is {list(entry.shape)}; the base needs {list(due[name])}.")


def _check_targets(
    config: AdapterConfig, modules: Iterable[str], num_layers: int, problems: list[str]
) -> None:
    """Each name must exist in the base; a name nobody has is a typo or another model's."""
    for name in config.targets:
        if not any(module == name or module.endswith(f".{name}") for module in modules):
            problems.append(f"target_modules names {name[:100]}, which the base model lacks.")
    for layer in sorted(config.layers or ()):
        if layer >= num_layers:
            problems.append(f"layers_to_transform names layer {layer} of {num_layers}.")


def _surplus(name: str, known: set[str]) -> str:
    shown = name[:200]
    if "lora_embedding" in name or "embed_tokens" in name or "lm_head" in name:
        return f"Tensor {shown} changes embeddings or the head, which are fixed here."
    if "lora_magnitude_vector" in name:
        return f"Tensor {shown} belongs to DoRA, which is not supported."
    if name.endswith(".bias"):
        return f"Tensor {shown} is a bias, which is not supported."
    if name in known:
        return f"Tensor {shown} is of a module that the config does not target."
    return f"Tensor {shown} is not an A or B of a linear of the base model."


def _check_numbers(path: Path, entries: dict[str, TensorEntry], problems: list[str]) -> None:
    """No NaN or infinity: one would spoil every token that passes through it."""
    size = path.stat().st_size
    for name, entry in entries.items():
        if entry.start + entry.size > size:
            continue  # reported by the header's reader
        kind, mask = _EXPONENT[entry.dtype]
        count = entry.size // np.dtype(kind).itemsize
        numbers = np.memmap(path, dtype=kind, mode="r", offset=entry.start, shape=(count,))
        for at in range(0, count, _CHUNK):
            if ((numbers[at : at + _CHUNK] & mask) == mask).any():
                problems.append(f"Tensor {name[:200]} holds NaN or infinity.")
                break
