"""Small random checkpoints of every pooling family, made with transformers and a fixed seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedModel

VOCAB = 160
LENGTHS = (1, 2, 9, 33, 64, 5, 17, 40)
_ENCODER = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 96,
    "initializer_range": 0.15,
    "pad_token_id": 1,
    "attn_implementation": "eager",
}
_MODERN = _ENCODER | {
    "local_attention": 12,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "eos_token_id": 3,
    "sep_token_id": 3,
}
_DECODER = _ENCODER | {
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}
_ROBERTA = _ENCODER | {"max_position_embeddings": 98, "type_vocab_size": 1}


@dataclass(frozen=True)
class Case:
    """A checkpoint; `heads` names its class after the family: Model, ForSequenceClassification…"""

    name: str
    family: str
    head: str = "Model"
    base: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)


def _all() -> list[Case]:
    cases = [
        Case(f"{family.lower()}-{head.lower()}", family, head, base)
        for family, base in (
            ("Bert", _ENCODER),
            ("Roberta", _ROBERTA),
            ("XLMRoberta", _ROBERTA),
            ("ModernBert", _MODERN),
            ("Llama", _DECODER),
            ("Qwen3", _DECODER | {"head_dim": 16}),
        )
        for head in ("Model", "ForSequenceClassification", "ForTokenClassification")
    ]
    one = {"num_labels": 1}
    return [
        *cases,
        Case("bert-relu", "Bert", base=_ENCODER, changes={"hidden_act": "relu"}),
        Case("bert-tanh-gelu", "Bert", base=_ENCODER, changes={"hidden_act": "gelu_new"}),
        Case("bert-odd-head", "Bert", base=_ENCODER, changes={"num_attention_heads": 8}),
        Case("bert-reranker", "Bert", "ForSequenceClassification", _ENCODER, one),
        Case("mistral-embedder", "Mistral", base=_DECODER, changes={"sliding_window": 7}),
        Case("qwen2-reward", "Qwen2", "ForSequenceClassification", _DECODER, one),
        Case(
            "modernbert-mean", "ModernBert", "ForSequenceClassification", _MODERN,
            {"classifier_pooling": "mean", "norm_bias": True, "mlp_bias": True,
             "attention_bias": True, "classifier_bias": True},
        ),
    ]  # fmt: skip


CASES = _all()


def make_model(case: Case, folder: Path) -> PreTrainedModel:
    """Draw the weights, save them under `folder`, return the reference in float32."""
    torch.manual_seed(sum(map(ord, case.name)))
    labels = {"num_labels": 3} if case.head != "Model" else {}
    config = getattr(hf, f"{case.family}Config")(**(case.base | labels | case.changes))
    model: PreTrainedModel = getattr(hf, f"{case.family}{case.head}")(config).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name.lower() and name.endswith("weight"):  # ones would hide a lost norm
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                tensor.normal_(0.0, 0.2)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return model


def write_tokenizer(folder: Path) -> None:
    """WordPiece over letters, with BERT's special tokens and token types."""
    words = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!"
    words += [*letters, *(f"##{letter}" for letter in letters)]
    words += ["the", "cat", "dog", "paris", "france", "is", "of", "capital"]
    tokenizer = Tokenizer(
        models.WordPiece(vocab={w: i for i, w in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))


def prompts(seed: int = 0) -> list[list[int]]:
    """Ragged prompts without the padding id."""
    made = torch.Generator().manual_seed(seed)
    return [torch.randint(2, VOCAB, (n,), generator=made).tolist() for n in LENGTHS]
