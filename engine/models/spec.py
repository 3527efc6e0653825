"""A model family as data: what one decoder must know to compute any of them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeSpec:
    """Rotary embedding of one model. `kind` is default, linear, dynamic, llama3 or yarn."""

    kind: str
    theta: float
    dim: int  # rotated part of the head, even
    trained_len: int  # max_position_embeddings of the config
    factor: float = 1.0
    original_len: int = 0  # llama3, yarn: context before stretching
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0  # llama3
    beta_fast: float = 32.0  # yarn
    beta_slow: float = 1.0  # yarn
    attention_factor: float = 1.0  # yarn: multiplies cos and sin
    truncate: bool = True  # yarn: whole-numbered correction range


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Shapes and switches of a decoder-only model, read from its config.json."""

    architecture: str
    num_layers: int
    hidden: int
    ffn: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_len: int  # longest context the positions allow
    norm_eps: float
    rope: RopeSpec
    activation: str = "silu"
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False  # RMS norm over each head of q and k, before rope
    tied: bool = False
    windows: tuple[int, ...] = ()  # per layer; 0 sees everything, w sees the last w tokens
    dtype: str = "float32"  # of the checkpoint
    eos_ids: frozenset[int] = field(default_factory=frozenset)

    @property
    def q_size(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        return self.num_kv_heads * self.head_dim

    def kv_bytes_per_token(self, itemsize: int) -> int:
        """K and V of all layers."""
        return 2 * self.num_layers * self.kv_size * itemsize
