"""adapter_config.json of PEFT: what we compute, and a reason for each thing that we do not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from engine.lora.json_text import BadJson, parse_object

MAX_CONFIG_BYTES, MAX_PATTERN_CHARS, MAX_PATTERNS, MAX_NAMES = 64 << 10, 200, 512, 2048
NO_MEANING = {  # notes of the trainer: they change nothing once trained
    "peft_version", "base_model_name_or_path", "revision", "inference_mode", "lora_dropout",
    "eva_config", "megatron_core", "qalora_group_size", "runtime_config",
    "ensure_weight_tying", "loftq_config", "corda_config", "lora_ga_config",
}  # fmt: skip
READ = {
    "peft_type", "task_type", "r", "lora_alpha", "target_modules", "exclude_modules", "use_rslora",
    "rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern", "bias",
    "fan_in_fan_out", "init_lora_weights",
}  # fmt: skip
REFUSED = {  # any value but an empty one
    "modules_to_save": "whole modules beside the adapter would have to be replaced",
    "auto_mapping": "it names code to import",
    "use_dora": "DoRA is not supported; train with use_dora=false",
    "layer_replication": "the base model's layers are fixed",
    "trainable_token_indices": "embeddings cannot be changed",
    "megatron_config": "Megatron layers are not supported",
    "lora_bias": "biases on B are not supported",
    "alora_invocation_tokens": "activated LoRA is not supported",
    "use_qalora": "QALoRA is not supported",
    "target_parameters": "only linear modules can be changed",
    "use_bdlora": "block-diagonal LoRA is not supported",
    "arrow_config": "Arrow routing is not supported",
    "kasa_config": "KaSA is not supported",
    "velora_config": "VeLoRA is not supported",
    "monteclora_config": "MonteCLoRA is not supported",
    "custom_pipelines": "code is never loaded",
    "auto_map": "code is never loaded",
}
KEEPS_BASE = (True, False, "gaussian", "eva", "orthogonal", "true", "false")
N = TypeVar("N", int, float)
_EMPTY: tuple[Any, ...] = (None, False, [], {}, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """The checked config. Modules are full names such as `model.layers.0.mlp.up_proj`."""

    rank: int
    alpha: float
    rslora: bool = False
    targets: tuple[str, ...] = ()  # suffixes of module names
    target_pattern: re.Pattern[str] | None = None  # instead of `targets`
    excluded: tuple[str, ...] = ()
    layers: frozenset[int] | None = None  # None: all
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)

    def wants(self, module: str) -> bool:
        """Whether the adapter changes this linear."""
        if _named(module, self.excluded):
            return False
        if self.target_pattern is not None:
            return self.target_pattern.fullmatch(module) is not None
        if self.layers is not None and int(module.split(".")[2]) not in self.layers:
            return False
        return _named(module, self.targets)

    def rank_of(self, module: str) -> int:
        return _by_pattern(self.ranks, module, self.rank)

    def scale_of(self, module: str) -> float:
        """alpha ÷ r, or alpha ÷ √r (arXiv 2312.03732)."""
        rank, alpha = self.rank_of(module), _by_pattern(self.alphas, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def _named(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.endswith(f".{name}") for name in names)


def _by_pattern(patterns: Mapping[str, N], module: str, usual: N) -> N:
    """The first key that matches the end of the module's name, as PEFT looks it up."""
    for key, value in patterns.items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return usual


def read_config(path: Path, problems: list[str]) -> AdapterConfig | None:
    """Parse and check. None when it cannot be read at all, or a field we need is unusable."""
    if path.stat().st_size > MAX_CONFIG_BYTES:
        problems.append(f"{path.name} has over {MAX_CONFIG_BYTES} bytes.")
        return None
    try:
        values = parse_object(path.read_bytes(), path.name)
    except BadJson as error:
        problems.append(str(error))
        return None
    before = len(problems)
    reader = _Reader(values, problems)
    config = reader.config()
    return config if len(problems) == before or reader.usable else None


class _Reader:
    """Reads one parsed config and notes every problem on the way."""

    def __init__(self, values: dict[str, Any], problems: list[str]) -> None:
        self._values, self._problems = values, problems
        self.usable = True  # tensors can still be compared with it

    def config(self) -> AdapterConfig:
        self._check_kind()
        self._check_refused()
        pattern, targets = self._targets()
        return AdapterConfig(
            rank=self._rank("r", self._values.get("r", 8)),
            alpha=self._alpha("lora_alpha", self._values.get("lora_alpha", 8)),
            rslora=self._flag("use_rslora"),
            targets=targets,
            target_pattern=pattern,
            excluded=self._names("exclude_modules") or (),
            layers=self._layers(),
            ranks=self._patterns("rank_pattern", self._rank),
            alphas=self._patterns("alpha_pattern", self._alpha),
        )

    def _problem(self, text: str, *, fatal: bool = False) -> None:
        self._problems.append(text)
        self.usable &= not fatal

    def _check_kind(self) -> None:
        kind = self._values.get("peft_type")
        if kind != "LORA":
            self._problem(f"peft_type is {_show(kind)}; only LORA is supported.", fatal=True)
        task = self._values.get("task_type")
        if task not in (None, "CAUSAL_LM"):
            self._problem(f"task_type is {_show(task)}; it must be CAUSAL_LM.")

    def _check_refused(self) -> None:
        for key, value in self._values.items():
            empty = any(value is e or (value == e and type(value) is type(e)) for e in _EMPTY)
            if key in REFUSED and not empty:
                self._problem(f"{key} is not supported: {REFUSED[key]}.")
            elif key not in READ and key not in NO_MEANING and key not in REFUSED and not empty:
                self._problem(f"{key[:100]!r} is not a key of a LoRA config that we know.")
        if (bias := self._values.get("bias", "none")) != "none":
            self._problem(f"bias is {_show(bias)}; only 'none' is supported.")
        if self._flag("fan_in_fan_out"):
            self._problem("fan_in_fan_out is for Conv1D layers, which these models do not have.")
        start = self._values.get("init_lora_weights", True)
        if not any(start is kept or start == kept for kept in KEEPS_BASE if start is not None):
            self._problem(
                f"init_lora_weights={_show(start)} changes the base model's weights; convert the "
                "adapter to plain LoRA (save_pretrained with path_initial_model_for_weight_"
                "conversion)."
            )

    def _targets(self) -> tuple[re.Pattern[str] | None, tuple[str, ...]]:
        value = self._values.get("target_modules")
        if isinstance(value, str) and value:
            if value.lower() == "all-linear":
                return re.compile(r"model\.layers\.\d+\..*"), ()
            return self._regex("target_modules", value), ()
        names = self._names("target_modules")
        if not names:
            self._problem("target_modules is missing or empty: name the linears.", fatal=True)
        for name in names or ():
            last = name.rpartition(".")[2]
            if last in ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out"):
                self._problem(f"target_modules names {last}; embeddings and heads are fixed here.")
        return None, names or ()

    def _names(self, key: str) -> tuple[str, ...] | None:
        value = self._values.get(key)
        if value in (None, [], ""):
            return None
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
            self._problem(f"{key} must be a list of module names.", fatal=True)
            return None
        if len(names) > MAX_NAMES:
            self._problem(f"{key} has {len(names)} entries, over {MAX_NAMES}.", fatal=True)
            return None
        if len(set(names)) != len(names):
            self._problem(f"{key} names a module twice.")
        return tuple(names)

    def _regex(self, key: str, text: str) -> re.Pattern[str] | None:
        try:
            if len(text) > MAX_PATTERN_CHARS:
                raise re.error(f"longer than {MAX_PATTERN_CHARS} characters")
            return re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            self._problem(f"{key}: {text[:50]!r} is no regular expression: {error}.", fatal=True)
            return None

    def _layers(self) -> frozenset[int] | None:
        pattern = self._values.get("layers_pattern")
        if pattern not in (None, "", [], "layers", ["layers"]):
            self._problem(f"layers_pattern is {_show(pattern)}; these models say 'layers'.")
        value = self._values.get("layers_to_transform")
        if value is None or value == []:
            return None
        layers = value if isinstance(value, list) else [value]
        if not all(type(layer) is int and layer >= 0 for layer in layers):
            self._problem("layers_to_transform must hold layer numbers from 0.", fatal=True)
            return None
        return frozenset(layers)

    def _patterns(self, key: str, check: Any) -> dict[str, Any]:
        value = self._values.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or len(value) > MAX_PATTERNS:
            word = f"an object of at most {MAX_PATTERNS} module names"
            self._problem(f"{key} must be {word}.", fatal=True)
            return {}
        return {
            name: check(f"{key}[{name[:50]!r}]", number)
            for name, number in value.items()
            if self._regex(key, name) is not None
        }

    def _rank(self, key: str, value: Any) -> int:
        if type(value) is int and 1 <= value <= 1 << 20:
            return value
        self._problem(f"{key} is {_show(value)}; a rank is a whole number from 1.", fatal=True)
        return 1

    def _alpha(self, key: str, value: Any) -> float:
        number = type(value) in (int, float)
        if number and abs(value) < 1e6 and value > 0:
            return float(value)
        self._problem(f"{key} is {_show(value)}; it must be a positive finite number.")
        return 1.0

    def _flag(self, key: str) -> bool:
        value = self._values.get(key, False)
        if value is not None and not isinstance(value, bool):
            self._problem(f"{key} is {_show(value)}; it must be true or false.")
        return value is True


def _show(value: Any) -> str:
    return repr(value)[:80]
