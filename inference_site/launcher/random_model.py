"""Writes a small Llama with random weights: `python -m inference_site.launcher.random_model DIR`.

The default model while no trained one is bundled. Its tokenizer knows the printable ASCII
characters and frequent pairs of letters, so every id decodes to printable ASCII.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import BPE

LAYERS, HIDDEN, HEADS, KV_HEADS, FFN, CONTEXT = 2, 64, 4, 2, 160, 2048
BOS, EOS, UNKNOWN = "<|bos|>", "<|eos|>", "<|unknown|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
FIRST, SECOND = "thaeiosnrlcdumpgb", "eaionrtshldu"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def write(folder: Path) -> None:
    """All files of the checkpoint; config.json comes last, so that it marks a whole folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    vocab = tokenizer.get_vocab_size(with_added_tokens=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(_weights(vocab), str(folder / "model.safetensors"), metadata={"format": "pt"})
    ids: dict[str, object] = {
        "bos_token_id": tokenizer.token_to_id(BOS),
        "eos_token_id": tokenizer.token_to_id(EOS),
    }
    _json(folder / "tokenizer_config.json", _tokenizer_config())
    _json(folder / "generation_config.json", ids)
    _json(folder / "config.json", _config(vocab) | ids)


def _tokenizer() -> Tokenizer:
    characters = [chr(code) for code in range(32, 127)]
    merges = [(a, b) for a in FIRST for b in SECOND if a != b]
    pieces = [UNKNOWN, *characters, *(a + b for a, b in merges)]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(BPE(vocab, merges, unk_token=UNKNOWN))
    tokenizer.decoder = Fuse()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in (BOS, EOS, *ROLES)])
    return tokenizer


def _weights(vocab: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)

    def random(rows: int, columns: int) -> NDArray[np.float32]:
        scale = columns**-0.5
        values = rng.standard_normal((rows, columns), dtype=np.float32)
        return values * np.float32(scale)

    def ones() -> NDArray[np.float32]:
        return np.ones(HIDDEN, np.float32)

    head = HIDDEN // HEADS
    weights = {
        "model.embed_tokens.weight": random(vocab, HIDDEN) * np.float32(HIDDEN**0.5),
        "model.norm.weight": ones(),
        "lm_head.weight": random(vocab, HIDDEN) * np.float32(3),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        weights |= {
            f"{at}.input_layernorm.weight": ones(),
            f"{at}.post_attention_layernorm.weight": ones(),
            f"{at}.self_attn.q_proj.weight": random(HEADS * head, HIDDEN),
            f"{at}.self_attn.k_proj.weight": random(KV_HEADS * head, HIDDEN),
            f"{at}.self_attn.v_proj.weight": random(KV_HEADS * head, HIDDEN),
            f"{at}.self_attn.o_proj.weight": random(HIDDEN, HEADS * head),
            f"{at}.mlp.gate_proj.weight": random(FFN, HIDDEN),
            f"{at}.mlp.up_proj.weight": random(FFN, HIDDEN),
            f"{at}.mlp.down_proj.weight": random(HIDDEN, FFN),
        }
    return weights


def _config(vocab: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "vocab_size": vocab,
        "dtype": "float32",
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "unk_token": UNKNOWN,
        "model_max_length": CONTEXT,
        "chat_template": TEMPLATE,
    }


def _json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
