"""A corpus of adapters that must be refused, each with the words its report must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from engine.lora.adapter_config import MAX_CONFIG_BYTES, REFUSED
from engine.lora.check import CONFIG, WEIGHTS
from engine.lora.header import MAX_HEADER_BYTES, MAX_TENSORS
from tests.unit.engine.lora.adapter_drafts import Draft, draft, tensor_name, usual_config

Bad = tuple[str, Draft, tuple[str, ...]]  # id, folder, words of the report
Q_A, Q_B = tensor_name(), tensor_name(side="B")
DOWN_B = tensor_name("mlp.down_proj", "B", 1)


def corpus() -> list[Bad]:
    parts = (
        _config_values, _refused_features, _patterns, _config_texts, _files, _header_texts,
        _header_entries, _covers, _names, _shapes, _numbers, _many,
    )  # fmt: skip
    return [bad for part in parts for bad in part()]


def _with(**config: Any) -> Draft:
    made = draft()
    made.config |= config
    return made


def _config_values() -> Iterator[Bad]:
    for value in (None, "IA3", "LOHA", "ADALORA", "PROMPT_TUNING", "lora", 5, ["LORA"]):
        yield f"peft_type={value}", _with(peft_type=value), ("peft_type", "LORA")
    for value in ("SEQ_CLS", "SEQ_2_SEQ_LM", "FEATURE_EXTRACTION", 1):
        yield f"task_type={value}", _with(task_type=value), ("task_type", "CAUSAL_LM")
    for value in (0, -1, 1.5, "8", True, None, [8], 2**40):
        yield f"r={value}", _with(r=value), ("r is", "whole number from 1")
    yield "r=512", draft(rank=512), ("Rank 512", "limit of 256")
    for value in (0, -2, "16", None, [1], True, 1e9):
        yield f"alpha={value}", _with(lora_alpha=value), ("lora_alpha", "positive")
    for value in ([], None, "", [1], [""], 5, {"a": 1}):
        yield f"targets={value}", _with(target_modules=value), ("target_modules",)
    yield "targets twice", _with(target_modules=["q_proj"] * 2), ("target_modules", "twice")
    yield "targets unknown", _with(target_modules=["q_proj", "c_attn"]), ("c_attn", "lacks")
    yield "targets bad regex", _with(target_modules="(q_proj"), ("target_modules", "regular")
    yield "targets long regex", _with(target_modules="a" * 300), ("regular", "200 characters")
    yield "targets match nothing", _with(target_modules=r".*\.w1"), ("changes no linear",)
    many = [f"x{i}" for i in range(3000)]
    yield "too many targets", _with(target_modules=many), ("target_modules", "3000")
    for name in ("embed_tokens", "lm_head"):
        made = _with(target_modules=["q_proj", "down_proj", name])
        yield f"targets {name}", made, (name, "fixed")
    yield "all excluded", _with(exclude_modules=["q_proj", "down_proj"]), ("changes no linear",)
    yield "excluded number", _with(exclude_modules=[3]), ("exclude_modules",)
    for value in ([2], 7, [0, 5]):
        yield f"layers={value}", _with(layers_to_transform=value), ("layers_to_transform", "of 2")
    for value in (-1, "0", [0.5], [True]):
        yield f"layers={value!r}", _with(layers_to_transform=value), ("layers_to_transform",)
    for value in ("h", ["blocks"], 5):
        yield f"pattern={value}", _with(layers_pattern=value), ("layers_pattern",)
    for value in ("all", "lora_only", True, None):
        yield f"bias={value}", _with(bias=value), ("bias is",)
    for name in ("pissa", "pissa_niter_16", "olora", "loftq", "corda", "lora_ga", None, 3):
        words = ("init_lora_weights", "base model's weights")
        yield f"init={name}", _with(init_lora_weights=name), words
    yield "fan in", _with(fan_in_fan_out=True), ("fan_in_fan_out",)
    for key in ("fan_in_fan_out", "use_rslora"):
        yield f"{key} text", _with(**{key: "yes"}), (key, "true or false")
    yield "unknown key", _with(use_telepathy=True), ("use_telepathy", "not a key")


def _refused_features() -> Iterator[Bad]:
    for key in sorted(REFUSED):
        yield key, _with(**{key: {"a": 1}}), (f"{key} is not supported",)
    yield "a module to save", _with(modules_to_save=["lm_head"]), ("modules_to_save",)
    yield "DoRA", _with(use_dora=True), ("DoRA",)
    yield "replication", _with(layer_replication=[[0, 1], [0, 1]]), ("layer_replication",)


def _patterns() -> Iterator[Bad]:
    for key in ("rank_pattern", "alpha_pattern"):
        yield f"{key} list", _with(**{key: ["q_proj"]}), (key, "object")
        yield f"{key} regex", _with(**{key: {"(": 4}}), (key, "regular")
        yield f"{key} text", _with(**{key: {"q_proj": "4"}}), (key, "q_proj")
        yield f"{key} zero", _with(**{key: {"q_proj": 0}}), (key, "q_proj")
        many = {f"a{i}": 4 for i in range(600)}
        yield f"{key} many", _with(**{key: many}), (key, "512")
    yield (
        "rank_pattern high",
        draft(ranks={"q_proj": 300}, rank_pattern={"q_proj": 300}),
        ("Rank 300",),
    )
    yield "rank_pattern other", _with(rank_pattern={"q_proj": 8}), (Q_A, "needs [8, 32]")


def _config_texts() -> Iterator[Bad]:
    texts = {
        "empty": (b"", "valid JSON"),
        "prose": (b"r = 8", "valid JSON"),
        "list": (b"[]", "JSON object"),
        "number": (b"8", "JSON object"),
        "null": (b"null", "JSON object"),
        "cut": (b'{"r": 8', "valid JSON"),
        "not utf-8": (b'{"r": "\xff"}', "valid JSON"),
        "twice": (b'{"r": 8, "r": 16}', "twice"),
        "NaN": (b'{"r": 8, "lora_alpha": NaN}', "NaN"),
        "infinity": (b'{"r": 8, "lora_alpha": -Infinity}', "Infinity"),
        "deep": (b'{"a":' + b"[" * 9 + b"]" * 9 + b"}", "deep"),
        "very deep": (b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "JSON"),
        "huge number": (b'{"r": ' + b"9" * 5000 + b"}", "JSON"),
        "huge": (b"{" + b" " * MAX_CONFIG_BYTES + b"}", "bytes"),
    }
    for name, (text, word) in texts.items():
        yield f"config {name}", Draft(config_bytes=text, tensors=draft().tensors), (CONFIG, word)


def _files() -> Iterator[Bad]:
    for name in (CONFIG, WEIGHTS):
        made = draft()
        made.missing = (name,)
        yield f"no {name}", made, (f"{name} is missing",)
    both = draft()
    both.missing = (CONFIG, WEIGHTS)
    yield "empty folder", both, (f"{CONFIG} is missing", f"{WEIGHTS} is missing")
    names = (
        "adapter_model.bin", "model.pt", "weights.PTH", "data.pkl", "modeling.py", "a.zip",
        "a.tar.gz", "run.sh", "lib.so", "x.npy",
    )  # fmt: skip
    for name in names:
        made = draft()
        made.beside = {name: b"x"}
        yield name, made, (name, "code")


def _header_texts() -> Iterator[Bad]:
    for name, data, word in (
        ("empty file", b"", "cut short"),
        ("four bytes", b"abcd", "cut short"),
        ("length only", (50).to_bytes(8, "little"), "cut short"),
        ("length of 2^63", b"\xff" * 8 + b"{}", "cut short"),
        ("a zip", b"PK\x03\x04" + b"\0" * 60, "cut short"),
        ("a pickle", b"\x80\x02}q\x00." + b"\0" * 60, "cut short"),
    ):
        yield name, _file(lambda whole, data=data: data), (word,)
    yield "cut in the header", _file(lambda whole: whole[:100]), ("cut short",)
    long = MAX_HEADER_BYTES + 1
    huge = _file(lambda whole: long.to_bytes(8, "little") + b" " * long)
    yield "long header", huge, (f"header of {long} bytes",)
    for name, text, word in (
        ("prose", b"hello", "valid JSON"),
        ("list", b"[]", "JSON object"),
        ("twice", b'{"a": 1, "a": 1}', "twice"),
        ("not utf-8", b'{"\xff": 1}', "valid JSON"),
        ("deep", b'{"a":' + b"[" * 9 + b"]" * 9 + b"}", "deep"),
        ("NaN", b'{"a": NaN}', "NaN"),
    ):
        made = draft()
        made.header_bytes = text
        yield f"header {name}", made, ("header", word)
    for value in (5, ["a"], {"a": 1}, None):
        yield (
            f"metadata {value}",
            _header(lambda h, v=value: h.update(__metadata__=v)),
            ("__metadata__",),
        )
    crowd = {f"t{i}": {} for i in range(MAX_TENSORS + 1)}
    yield "many tensors", _header(lambda h: h.update(crowd)), (f"over {MAX_TENSORS}",)


def _file(change: Callable[[bytes], bytes]) -> Draft:
    made = draft()
    made.file = change
    return made


def _header(change: Callable[[dict[str, Any]], object]) -> Draft:
    made = draft()
    made.header = change
    return made


def _entry(**fields: Any) -> Draft:
    return _header(lambda h: h[Q_A].update(fields))


def _header_entries() -> Iterator[Bad]:
    for dtype in ("F64", "I8", "I64", "BOOL", "F8_E4M3", "U8", "", "f32", 5, None, ["F32"]):
        yield f"dtype {dtype}", _entry(dtype=dtype), (Q_A, "dtype")
    shapes: tuple[Any, ...] = (
        [128], [], [4, 32, 1], [4, 0], [-4, -32], [4.0, 32], [True, 128], "4x32", None, 128,
        [1 << 40, 1 << 40], [1 << 25, 1],
    )  # fmt: skip
    for shape in shapes:
        yield f"shape {shape}", _entry(shape=shape), (Q_A, "shape")
    for offsets in ([0], [0, 1, 2], [-8, 504], ["0", "512"], None, [0, 1.5], [0, 1 << 70]):
        yield f"offsets {offsets}", _entry(data_offsets=offsets), (Q_A, "data_offsets")
    for offsets in ([512, 0], [0, 100], [0, 513], [0, 0]):
        yield f"offsets {offsets}", _entry(data_offsets=offsets), (Q_A, "its shape needs 512")
    yield "extra field", _entry(note="hi"), (Q_A, "exactly")
    yield "no dtype", _header(lambda h: h[Q_A].pop("dtype")), (Q_A, "exactly")
    for value in (None, 5, [], "F32"):
        yield f"entry {value}", _header(lambda h, v=value: h.update({Q_A: v})), (Q_A, "exactly")


def _covers() -> Iterator[Bad]:
    def alias(header: dict[str, Any]) -> None:
        header[tensor_name(layer=1)]["data_offsets"] = header[Q_A]["data_offsets"]

    def shift(header: dict[str, Any]) -> None:
        for name, entry in header.items():
            if name != "__metadata__":
                entry["data_offsets"] = [at + 16 for at in entry["data_offsets"]]

    yield "alias", _header(alias), ("overlaps",)
    yield "gap", _header(shift), ("gap",)
    yield "hidden bytes", _file(lambda whole: whole + b"\0" * 64), ("belong to no tensor",)
    yield "cut body", _file(lambda whole: whole[:-10]), ("ends early",)
    yield (
        "no body",
        _file(lambda whole: whole[: 8 + int.from_bytes(whole[:8], "little")]),
        ("ends early",),
    )


def _named(name: str, shape: tuple[int, int] = (4, 32)) -> Draft:
    made = draft()
    made.tensors[name] = np.zeros(shape, np.float32)
    return made


def _names() -> Iterator[Bad]:
    for name in draft().tensors:
        made = draft()
        del made.tensors[name]
        yield f"no {name[17:]}", made, (name, "is missing")
    prefix = "base_model.model."
    for name, word in (
        (tensor_name(layer=2), "not an A or B"),
        (tensor_name("self_attn.k_proj"), "does not target"),
        (tensor_name("self_attn.qkv_proj"), "not an A or B"),
        (f"{prefix}model.embed_tokens.lora_embedding_A", "fixed"),
        (f"{prefix}lm_head.lora_A.weight", "fixed"),
        (f"{prefix}model.layers.0.self_attn.q_proj.lora_magnitude_vector", "DoRA"),
        (f"{prefix}model.layers.0.self_attn.q_proj.lora_B.bias", "bias"),
        (f"{prefix}model.layers.0.input_layernorm.weight", "not an A or B"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "not an A or B"),
        (Q_A.replace("lora_A", "lora_A.default"), "not an A or B"),
        (f"{prefix}model.layers.00.self_attn.q_proj.lora_A.weight", "not an A or B"),
        ("../../etc/passwd", "not an A or B"),
        ("", "not an A or B"),
    ):
        yield f"surplus {name[-40:]}", _named(name), (name, word)
    yield "nothing", Draft(usual_config()), (Q_A, Q_B, DOWN_B, "is missing")


def _shapes() -> Iterator[Bad]:
    for name, shape in (
        (Q_A, (32, 4)),
        (Q_A, (8, 32)),
        (Q_A, (4, 48)),
        (Q_B, (4, 32)),
        (Q_B, (32, 8)),
        (Q_B, (16, 4)),
        (DOWN_B, (48, 4)),
        (DOWN_B, (32, 1)),
    ):
        made = draft()
        made.tensors[name] = np.zeros(shape, np.float32)
        yield f"{name[17:]} {shape}", made, (name, f"is {list(shape)}", "needs")
    yield (
        "another base",
        draft(targets=("k_proj",), target_modules=["v_proj"]),
        ("does not target",),
    )


def _numbers() -> Iterator[Bad]:
    for dtype, kind, bits in (
        ("F32 NaN", np.float32, 0x7FC00000),
        ("F32 inf", np.float32, 0x7F800000),
        ("F32 -inf", np.float32, 0xFF800000),
        ("F16 NaN", np.float16, 0x7E00),
        ("F16 inf", np.float16, 0xFC00),
        ("BF16 NaN", np.uint16, 0x7FC0),
        ("BF16 inf", np.uint16, 0xFF80),
    ):
        for place in (0, -1):
            made = draft(dtype=kind)
            values = made.tensors[DOWN_B]
            plain = np.uint32 if values.itemsize == 4 else np.uint16
            values.view(plain).reshape(-1)[place] = bits
            yield f"{dtype} at {place}", made, (DOWN_B, "NaN or infinity")


def _many() -> Iterator[Bad]:
    """All problems of a folder stand in one report."""
    made = _with(bias="all", use_dora=True, lora_alpha=0, task_type="SEQ_CLS")
    del made.tensors[Q_A]
    made.tensors[Q_B] = np.zeros((8, 4), np.float32)
    made.tensors["other"] = np.zeros((1, 1), np.float32)
    made.tensors[DOWN_B].reshape(-1)[3] = np.nan
    made.beside = {"optimizer.pt": b"x"}
    words = (
        "bias is", "use_dora", "lora_alpha", "task_type", Q_A, "is missing", Q_B, "is [8, 4]",
        "other", DOWN_B, "NaN", "optimizer.pt",
    )  # fmt: skip
    yield "twelve problems", made, words
    crowd = draft()
    for i in range(2000):
        crowd.tensors[f"x{i}"] = np.zeros((1, 1), np.float32)
    yield "two thousand problems", crowd, ("x0", "more problems")
