"""Trains the byte-level BPE tokenizer on a sample of the corpus: `python -m demo.tokenizer`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from demo.corpus.chat import END, END_OF_TEXT, MARKUP, SPECIAL, render
from demo.corpus.conversation import training

HERE = Path(__file__).parent
VOCAB_SIZE = 4096
CONTEXT_TOKENS = 2048
SAMPLE_SHARD = 999_999  # outside the shards that training reads
# Contractions, words with one leading mark, single digits, marks with their line ends, spaces:
# the pattern of Qwen2's tokenizer (Apache-2.0), which descends from tiktoken's cl100k (MIT).
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _texts(seed: int, count: int) -> Iterator[str]:
    for example in training(seed, SAMPLE_SHARD, count):
        yield render(example.messages, example.tools, thinking=example.thinking)


def train_tokenizer(seed: int, examples: int) -> Tokenizer:
    """A BPE tokenizer of VOCAB_SIZE entries, digits apart, with the chat markup as added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(SPECIAL) - len(MARKUP),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed, examples), trainer)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in MARKUP])
    return tokenizer


def token_id(tokenizer: Tokenizer, mark: str) -> int:
    """The id of a chat mark; ValueError where the tokenizer does not know it."""
    found = tokenizer.token_to_id(mark)
    if found is None:
        raise ValueError(f"The tokenizer has no token {mark!r}; run `python -m demo.tokenizer`.")
    return found


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, chat template inside."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_TOKENS,
        "bos_token": None,
        "eos_token": END,
        "pad_token": END_OF_TEXT,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "chat_template": (HERE / "chat_template.jinja").read_text().rstrip("\n"),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    """Train once and write it beside the model and the draft."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the models' folders")
    options = parser.parse_args()
    tokenizer = train_tokenizer(seed=1, examples=20_000)
    for name in ("pagoda-demo", "pagoda-demo-draft"):
        write_tokenizer(tokenizer, options.out / name)
    print(f"{tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
