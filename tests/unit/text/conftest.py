"""Small real tokenizers of the three kinds, trained on a few lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Fast
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from engine.tokenizer import Tokenizer

TEXT = [
    "The quick brown fox jumps over the lazy dog, isn't it? Yes: 3.14 > 2.",
    "naïve café, 中文字, кириллица, emoji 😀👩‍👩‍👧, tab\tand\nnewlines\n\n",
    "def f(x): return [x ** 2 for x in range(10)]",
] * 4
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def byte_level() -> Fast:
    fast = Fast(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    fast.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet),
    )
    return fast


def sentencepiece() -> Fast:
    """Llama-2 style: ▁ for space, byte fallback, one leading space stripped."""
    base = Fast(models.BPE())
    base.normalizer = normalizers.Replace(" ", "▁")
    base.train_from_iterator(
        [t.replace("😀", "") for t in TEXT[:1]],
        trainers.BpeTrainer(vocab_size=150, special_tokens=["<unk>", *SPECIAL]),
    )
    model = json.loads(base.to_str())["model"]
    vocab = dict(model["vocab"])
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    merges = [tuple(merge) for merge in model["merges"]]
    fast = Fast(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    fast.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    fast.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    fast.add_special_tokens(SPECIAL)
    return fast


def wordpiece() -> Fast:
    fast = Fast(models.WordPiece(unk_token="[UNK]"))
    fast.normalizer = normalizers.BertNormalizer(lowercase=True)
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.decoder = decoders.WordPiece()
    fast.train_from_iterator(
        TEXT, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]", *SPECIAL])
    )
    return fast


KINDS = {"byte-level": byte_level, "sentencepiece": sentencepiece, "wordpiece": wordpiece}


def saved(kind: str, factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = factory.mktemp(kind)
    KINDS[kind]().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    return Tokenizer.load(folder)


@pytest.fixture(scope="session", params=sorted(KINDS))
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    return saved(request.param, tmp_path_factory)


@pytest.fixture(scope="session", params=["byte-level", "sentencepiece"])
def byte_tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    """A kind that spells unknown characters as bytes."""
    return saved(request.param, tmp_path_factory)
