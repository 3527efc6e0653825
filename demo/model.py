"""The demo decoder for training: Qwen3's architecture over packed documents.

Letters: T tokens of the flat batch, H query heads, G kv heads, D head size, E model width, F ffn
width, V vocabulary, N documents. Parameters carry the names that `transformers` gives them.
"""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

try:  # the packed attention kernel, in torch >= 2.10
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # pragma: no cover - CPU training only
    varlen_attn = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class ModelSize:
    """The dimensions of a model; head size is 64 throughout."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int = 4096
    head_dim: int = 64
    context: int = 2048
    rope_theta: float = 10000.0
    eps: float = 1e-6

    def config(self) -> dict[str, Any]:
        """The config.json of `transformers`."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "vocab_size": self.vocab,
            "hidden_size": self.width,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.context,
            "rms_norm_eps": self.eps,
            "rope_theta": self.rope_theta,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "tie_word_embeddings": True,
            "use_cache": True,
            "use_sliding_window": False,
            "torch_dtype": "bfloat16",
        }


DEMO = ModelSize(width=320, layers=8, heads=6, kv_heads=2, ffn=1024)
DRAFT = ModelSize(width=192, layers=3, heads=3, kv_heads=1, ffn=512)
SIZES = {"demo": DEMO, "draft": DRAFT}


class Linear(nn.Linear):
    """A projection without bias that can carry a LoRA pair."""

    lora_a: nn.Parameter | None
    lora_b: nn.Parameter | None

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__(fan_in, fan_out, bias=False)
        self.register_parameter("lora_a", None)
        self.register_parameter("lora_b", None)
        self.scale = 0.0

    def add_lora(self, rank: int, alpha: float) -> None:
        """Attach A (random) and B (zero), so that the output does not change yet."""
        self.lora_a = nn.Parameter(
            torch.randn(rank, self.in_features, device=self.weight.device) / self.in_features**0.5
        )
        self.lora_b = nn.Parameter(torch.zeros(self.out_features, rank, device=self.weight.device))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """x [T,in] -> [T,out]."""
        out = F.linear(x, self.weight)
        if self.lora_a is not None and self.lora_b is not None:
            out = out + F.linear(F.linear(x, self.lora_a), self.lora_b) * self.scale
        return out


class Norm(nn.Module):
    """RMS normalisation with a gain."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Over the last dimension, in float32."""
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps).to(x.dtype)


@dataclass(frozen=True, slots=True)
class Packed:
    """A flat batch of whole documents; `ends_N1` starts with 0 and is padded with T."""

    tokens_T: Tensor
    targets_T: Tensor
    weights_T: Tensor
    positions_T: Tensor
    ends_N1: Tensor


def _attend_cpu(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, ends_N1: Tensor) -> Tensor:
    """Reference: causal attention inside each document by a dense mask."""
    idx = torch.arange(q_THD.shape[0])
    doc_T = torch.bucketize(idx, ends_N1[1:].long(), right=True)
    mask_TT = (doc_T[:, None] == doc_T[None, :]) & (idx[:, None] >= idx[None, :])
    q_HTD, k_HTD, v_HTD = (x.transpose(0, 1) for x in (q_THD, k_THD, v_THD))
    out = F.scaled_dot_product_attention(q_HTD, k_HTD, v_HTD, attn_mask=mask_TT)
    return out.transpose(0, 1)


_CAUSAL: dict[str, Any] = {}
if varlen_attn is not None:  # 2.10 says is_causal, later versions say it by the window
    _known = inspect.signature(varlen_attn).parameters
    _CAUSAL = {"window_size": (-1, 0)} if "window_size" in _known else {"is_causal": True}


def attend(q_THD: Tensor, k_THD: Tensor, v_THD: Tensor, ends_N1: Tensor, longest: int) -> Tensor:
    """Causal attention inside each document, kv heads already repeated."""
    if not q_THD.is_cuda:
        return _attend_cpu(q_THD, k_THD, v_THD, ends_N1)
    ends = (ends_N1, ends_N1, longest, longest)
    return cast(Tensor, varlen_attn(q_THD, k_THD, v_THD, *ends, **_CAUSAL))


def rotate(x_THD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Rotary position embedding, halves apart as Qwen3 has them."""
    first, second = x_THD.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return x_THD * cos_TD[:, None] + turned * sin_TD[:, None]


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.size = size
        self.q_proj = Linear(size.width, size.heads * size.head_dim)
        self.k_proj = Linear(size.width, size.kv_heads * size.head_dim)
        self.v_proj = Linear(size.width, size.kv_heads * size.head_dim)
        self.o_proj = Linear(size.heads * size.head_dim, size.width)
        self.q_norm, self.k_norm = Norm(size.head_dim, size.eps), Norm(size.head_dim, size.eps)

    def forward(self, x_TE: Tensor, cos_TD: Tensor, sin_TD: Tensor, ends_N1: Tensor) -> Tensor:
        """x [T,E] -> [T,E]."""
        tokens, groups = x_TE.shape[0], self.size.heads // self.size.kv_heads
        q_THD = self.q_norm(self.q_proj(x_TE).view(tokens, -1, self.size.head_dim))
        k_TGD = self.k_norm(self.k_proj(x_TE).view(tokens, -1, self.size.head_dim))
        v_TGD = self.v_proj(x_TE).view(tokens, -1, self.size.head_dim)
        q_THD, k_TGD = rotate(q_THD, cos_TD, sin_TD), rotate(k_TGD, cos_TD, sin_TD)
        k_THD, v_THD = k_TGD.repeat_interleave(groups, 1), v_TGD.repeat_interleave(groups, 1)
        out_THD = attend(q_THD, k_THD, v_THD, ends_N1, self.size.context)
        return self.o_proj(out_THD.reshape(tokens, -1))


class Mlp(nn.Module):
    """Gated feed-forward layer."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = Linear(size.width, size.ffn), Linear(size.width, size.ffn)
        self.down_proj = Linear(size.ffn, size.width)

    def forward(self, x_TE: Tensor) -> Tensor:
        """x [T,E] -> [T,E]."""
        return self.down_proj(F.silu(self.gate_proj(x_TE)) * self.up_proj(x_TE))


class Layer(nn.Module):
    """Attention and feed-forward with residuals."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = Norm(size.width, size.eps), Attention(size)
        self.post_attention_layernorm, self.mlp = Norm(size.width, size.eps), Mlp(size)

    def forward(self, x_TE: Tensor, cos_TD: Tensor, sin_TD: Tensor, ends_N1: Tensor) -> Tensor:
        """x [T,E] -> [T,E]."""
        x_TE = x_TE + self.self_attn(self.input_layernorm(x_TE), cos_TD, sin_TD, ends_N1)
        return x_TE + self.mlp(self.post_attention_layernorm(x_TE))


class Decoder(nn.Module):
    """The whole model; input and output embedding are one matrix."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.size = size
        self.embed_tokens = nn.Embedding(size.vocab, size.width)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norm = Norm(size.width, size.eps)
        inverse = size.rope_theta ** (-torch.arange(0, size.head_dim, 2).float() / size.head_dim)
        angles = torch.outer(torch.arange(size.context).float(), inverse).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * size.layers) ** 0.5 if last else 0.02)

    def forward(self, batch: Packed) -> Tensor:
        """Logits [T,V]."""
        cos_TD, sin_TD = self.cos[batch.positions_T], self.sin[batch.positions_T]
        x_TE = self.embed_tokens(batch.tokens_T)
        if torch.is_autocast_enabled(x_TE.device.type):
            dtype = torch.get_autocast_dtype(x_TE.device.type)
            x_TE, cos_TD, sin_TD = x_TE.to(dtype), cos_TD.to(dtype), sin_TD.to(dtype)
        for layer in self.layers:
            x_TE = layer(x_TE, cos_TD, sin_TD, batch.ends_N1)
        return F.linear(self.norm(x_TE), self.embed_tokens.weight)

    def loss(self, batch: Packed) -> Tensor:
        """Weighted mean cross-entropy, in nats a weighted token."""
        each_T = F.cross_entropy(self(batch).float(), batch.targets_T, reduction="none")
        return (each_T * batch.weights_T).sum() / batch.weights_T.sum()

    def describe(self) -> dict[str, Any]:
        """Dimensions and parameter count."""
        return {**asdict(self.size), "parameters": sum(p.numel() for p in self.parameters())}
