"""What a checkpoint's files say about pooling. Torch-free: engine, web and agent read it.

Sources, weakest first: `config.json`; sentence-transformers' `modules.json` with the module files
it names and `sentence_bert_config.json`; the option `override_pooler_config`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import EngineStartError, InvalidRequest
from engine.models.registry import read_config
from engine.pooling.params import PoolingParams, PoolingTask, names_of

POOLINGS = ("cls", "mean", "last")
_MODES = {  # of 1_Pooling/config.json
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_DENSE_ACTIVATIONS = {"Identity": "identity", "Tanh": "tanh", "ReLU": "relu", "GELU": "gelu"}
_SCORE_ACTIVATIONS = {"Identity": "identity", "Sigmoid": "sigmoid"}
_ENCODERS = ("Bert", "Roberta", "XLMRoberta", "ModernBert")
_DECODERS = ("Llama", "Mistral", "Qwen2", "Qwen3")
_BASES = {f"{name}Model" for name in (*_ENCODERS, *_DECODERS)}
_MASKED = {f"{name}ForMaskedLM" for name in _ENCODERS}
_GENERATORS = {f"{name}ForCausalLM" for name in _DECODERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseModule:
    """A linear layer of sentence-transformers after pooling; `folder` holds its weights."""

    folder: str
    num_in: int
    num_out: int
    bias: bool
    activation: str  # identity, tanh, relu or gelu


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolingCard:
    """How hidden states become answers. `task`: embed, classify or token_classify."""

    task: PoolingTask
    pooling: str  # cls, mean or last
    activation: str  # of class scores: identity, sigmoid or softmax
    normalize: bool
    dense: tuple[DenseModule, ...]
    labels: tuple[str, ...]
    dimensions: int  # width of an embedding, or number of classes
    matryoshka: tuple[int, ...] | None  # allowed dimensions; empty: any; None: not that kind
    max_len: int | None
    lowercase: bool

    @property
    def tasks(self) -> frozenset[PoolingTask]:
        """What requests may ask of this model."""
        if self.task is PoolingTask.EMBED:
            return frozenset({PoolingTask.EMBED, PoolingTask.TOKEN_EMBED})
        return frozenset({self.task})

    @property
    def scores_pairs(self) -> bool:
        """Whether a pair of texts gets one number: a cross-encoder."""
        return self.task is PoolingTask.CLASSIFY and len(self.labels) == 1

    def cased(self, text: str) -> str:
        """`sentence_bert_config.json` may ask for lower case before the tokenizer."""
        return text.lower() if self.lowercase else text

    def check(self, params: PoolingParams) -> None:
        """Raise `InvalidRequest` for what this model is not for."""
        if params.task not in self.tasks:
            raise InvalidRequest(
                f"This model is not for {params.task}; it is for {names_of(self.tasks)}.",
                param="model",
            )
        asked, width = params.dimensions, self.width(params.task)
        if asked is None:
            return
        if self.matryoshka is None or self.task is not PoolingTask.EMBED:
            raise InvalidRequest(
                f"This model has vectors of {width} dimensions only (it is no Matryoshka model). "
                "Leave 'dimensions' out.",
                param="dimensions",
            )
        if not 1 <= asked <= width or (self.matryoshka and asked not in self.matryoshka):
            sizes = ", ".join(map(str, self.matryoshka))
            possible = f"one of {sizes}" if sizes else f"1 to {width}"
            raise InvalidRequest(f"'dimensions' must be {possible}.", param="dimensions")

    def width(self, task: PoolingTask) -> int:
        """Numbers per prompt, or per token, of an answer without `dimensions`."""
        if task is PoolingTask.TOKEN_EMBED and self.dense:
            return self.dense[0].num_in
        return self.dimensions


def is_encoder(config: Mapping[str, Any]) -> bool:
    """Whether the checkpoint is one of the families that attend in both directions."""
    return architecture(config).startswith(_ENCODERS)


def architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures") or []
    return str(names[0]) if isinstance(names, list) and names else ""


def read_card(
    folder: Path,
    *,
    task: str = "auto",
    override_pooler_config: str | None = None,
    hf_overrides: str | None = None,
) -> PoolingCard | None:
    """The card of a pooling model, None for a model that generates. Options as in `EngineConfig`.

    Raises `EngineStartError`.
    """
    config = read_config(folder, hf_overrides)
    modules = _modules(folder)
    kind = _kind(architecture(config), task, has_modules=bool(modules))
    if kind is None:
        if override_pooler_config is not None:
            raise EngineStartError(
                "override_pooler_config is for models that embed or classify.", "Leave it out."
            )
        return None
    bert = _read(folder / "sentence_bert_config.json", optional=True)
    dense = tuple(_dense(folder, m) for m in modules if m["type"].endswith(".Dense"))
    labels = _labels(config)
    hidden = int(config.get("hidden_size", 0))
    embeds = kind is PoolingTask.EMBED
    values: dict[str, Any] = {
        "task": kind,
        "pooling": _pooling(folder, config, modules),
        "activation": _activation(config, len(labels), task),
        "normalize": any(m["type"].endswith(".Normalize") for m in modules) or not modules,
        "dense": dense if embeds else (),
        "labels": () if embeds else labels,
        "dimensions": (dense[-1].num_out if dense else hidden) if embeds else len(labels),
        "matryoshka": _matryoshka(config),
        "max_len": bert.get("max_seq_length") or None,
        "lowercase": bool(bert.get("do_lower_case", False)),
    }
    return PoolingCard(**(values | _overrides(override_pooler_config)))


def _kind(name: str, task: str, *, has_modules: bool) -> PoolingTask | None:
    """What the checkpoint is for. Raises `EngineStartError` when the option asks for another."""
    wanted = {"score": "classify", "reward": "classify"}.get(task, task)
    if name.endswith(("ForSequenceClassification", "ForRewardModel")):
        found: PoolingTask | None = PoolingTask.CLASSIFY
    elif name.endswith("ForTokenClassification"):
        found = PoolingTask.TOKEN_CLASSIFY
    elif name in _BASES or name in _MASKED or (name in _GENERATORS and has_modules):
        found = PoolingTask.EMBED
    else:
        found = None
    if name in _GENERATORS and wanted in ("embed", "generate"):
        return PoolingTask.EMBED if wanted == "embed" else None
    is_for = "generate" if found is None else "classify" if found.per_token else found.value
    if wanted not in ("auto", is_for):
        raise EngineStartError(
            f"task={task} is not possible: a checkpoint of {name or 'no named architecture'} is "
            f"for {is_for if is_for != 'classify' else 'classify, score and reward'}.",
            "Leave the task out, or use another checkpoint.",
        )
    return found


def _modules(folder: Path) -> list[dict[str, Any]]:
    """Entries of modules.json in order; a module we do not know is refused by name."""
    file = folder / "modules.json"
    if not file.is_file():
        return []
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        found = [{"type": str(e["type"]), "path": str(e["path"])} for e in entries]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _unreadable(file, error) from None
    for entry in found:
        if not entry["type"].endswith((".Transformer", ".Pooling", ".Dense", ".Normalize")):
            raise EngineStartError(
                f"modules.json names {entry['type']}, which is not supported.",
                "Supported: Transformer, Pooling, Dense, Normalize.",
            )
        if ".." in Path(entry["path"]).parts or Path(entry["path"]).is_absolute():
            raise EngineStartError(
                f"modules.json names a folder outside its own: {entry['path']}.",
                "Download the checkpoint again.",
            )
    return found


def _pooling(folder: Path, config: Mapping[str, Any], modules: list[dict[str, Any]]) -> str:
    """The pooling module's mode; without one, encoders pool cls and decoders the last token."""
    for module in modules:
        if module["type"].endswith(".Pooling"):
            return _pooling_mode(folder / module["path"] / "config.json")
    if not is_encoder(config):
        return "last"
    return str(config.get("classifier_pooling") or "cls")


def _pooling_mode(file: Path) -> str:
    found = _read(file)
    mode = found.get("pooling_mode")  # the newer spelling
    named = {"lasttoken": "last"}.get(str(mode), str(mode)) if mode else None
    on = [named] if named else [k for k, v in found.items() if k.startswith("pooling_mode_") and v]
    modes = [m if m in POOLINGS else _MODES.get(m) for m in on if m is not None]
    if len(modes) != 1 or modes[0] is None:
        raise EngineStartError(
            f"{file} asks for pooling by {', '.join(map(str, on)) or 'nothing'}.",
            "Supported is one of cls, mean and last token; override_pooler_config can name it.",
        )
    return modes[0]


def _dense(folder: Path, module: dict[str, Any]) -> DenseModule:
    file = folder / module["path"] / "config.json"
    found = _read(file)
    name = str(found.get("activation_function", "Tanh")).rpartition(".")[2]
    if name not in _DENSE_ACTIVATIONS:
        raise EngineStartError(
            f"{file} asks for the activation {name}.",
            f"Supported: {', '.join(_DENSE_ACTIVATIONS)}.",
        )
    try:
        return DenseModule(
            folder=module["path"],
            num_in=int(found["in_features"]),
            num_out=int(found["out_features"]),
            bias=bool(found.get("bias", True)),
            activation=_DENSE_ACTIVATIONS[name],
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _unreadable(file, error) from None


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes in order; transformers' default is two."""
    names = config.get("id2label")
    if isinstance(names, dict) and names:
        try:
            return tuple(str(names[key]) for key in sorted(names, key=int))
        except ValueError:
            raise EngineStartError(
                "id2label of config.json has keys that are no numbers.", "Mend config.json."
            ) from None
    count = config.get("num_labels", 2)
    return tuple(f"LABEL_{i}" for i in range(count if isinstance(count, int) else 2))


def _activation(config: Mapping[str, Any], num_labels: int, task: str) -> str:
    """Raw for rewards; what a cross-encoder's files name; else what the kind of problem means."""
    if task == "reward" or architecture(config).endswith("ForRewardModel"):
        return "identity"
    named = (config.get("sentence_transformers") or {}).get("activation_fn")
    named = named or config.get("sbert_ce_default_activation_function")
    if named:
        name = str(named).rpartition(".")[2]
        if name not in _SCORE_ACTIVATIONS:
            raise EngineStartError(
                f"config.json names the activation {name} for scores.",
                f"Supported: {', '.join(_SCORE_ACTIVATIONS)}.",
            )
        return _SCORE_ACTIVATIONS[name]
    problem = config.get("problem_type")
    if problem == "regression":
        return "identity"
    return "sigmoid" if num_labels == 1 or problem == "multi_label_classification" else "softmax"


def _matryoshka(config: Mapping[str, Any]) -> tuple[int, ...] | None:
    sizes = config.get("matryoshka_dimensions")
    if isinstance(sizes, list) and sizes and all(type(size) is int for size in sizes):
        return tuple(sizes)
    return () if config.get("is_matryoshka") else None


def _overrides(text: str | None) -> dict[str, Any]:
    """`{"pooling_type": "MEAN", "normalize": false}`; each name may be left out."""
    if text is None:
        return {}
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    kinds = {"pooling_type": str, "normalize": bool}
    if not isinstance(given, dict) or any(type(v) is not kinds.get(k) for k, v in given.items()):
        raise EngineStartError(
            f"override_pooler_config {text!r} is not possible.",
            'Give a JSON object with "pooling_type" (CLS, MEAN or LAST) and "normalize" (a bool).',
        )
    found: dict[str, Any] = {k: v for k, v in given.items() if k == "normalize"}
    if "pooling_type" in given:
        found["pooling"] = given["pooling_type"].lower()
        if found["pooling"] not in POOLINGS:
            raise EngineStartError(
                f"The pooling_type {given['pooling_type']} is not supported.",
                "Use CLS, MEAN or LAST.",
            )
    return found


def _read(file: Path, *, optional: bool = False) -> dict[str, Any]:
    if optional and not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None
    if not isinstance(found, dict):
        raise _unreadable(file, ValueError("it is not an object"))
    return found


def _unreadable(file: Path, error: Exception) -> EngineStartError:
    return EngineStartError(f"{file} cannot be read: {error}.", "Download the checkpoint again.")
