"""The linears of a base model an adapter may change, and how the engine merges them.

Linears that read the same input are one matrix in the engine; an adapter keeps one A and one B for
each such group, the parts (slices) side by side.
"""

from __future__ import annotations

from engine.models.spec import ModelSpec

GROUPS: dict[str, tuple[str, ...]] = {  # the engine's matrix → published names of its parts
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
BUCKETS = (8, 16, 64, 256)  # ranks that slots are made for


def linear_shapes(spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of each linear of a layer."""
    hidden = spec.hidden
    return {
        "self_attn.q_proj": (spec.q_size, hidden),
        "self_attn.k_proj": (spec.kv_size, hidden),
        "self_attn.v_proj": (spec.kv_size, hidden),
        "self_attn.o_proj": (hidden, spec.q_size),
        "mlp.gate_proj": (spec.ffn, hidden),
        "mlp.up_proj": (spec.ffn, hidden),
        "mlp.down_proj": (hidden, spec.ffn),
    }


def module_shapes(spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """The same by full module name, `model.layers.0.self_attn.q_proj` and so on."""
    return {
        f"model.layers.{i}.{name}": shape
        for i in range(spec.num_layers)
        for name, shape in linear_shapes(spec).items()
    }


def bucket_of(rank: int) -> int:
    """The smallest slot size that holds the rank."""
    return next(bucket for bucket in BUCKETS if rank <= bucket)
