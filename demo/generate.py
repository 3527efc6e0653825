"""Greedy generation in batches with `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BATCH_TOKENS = 49_152  # prompt and reply tokens of a batch together


class Generator:
    """A model folder, greedy, in float32; an adapter folder may be laid over it."""

    def __init__(self, folder: Path, device: str, adapter: Path | None = None) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model: Any = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
        )
        if adapter is not None:
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, adapter).eval()
        self.device = device

    def replies(self, prompts: list[str], most: int = 400) -> list[str]:
        """The reply to each prompt, in order, without its end mark."""
        ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in prompts]
        order = sorted(range(len(ids)), key=lambda idx: len(ids[idx]))
        out = [""] * len(prompts)
        while order:
            size = max(1, BATCH_TOKENS // (len(ids[order[0]]) + most))
            chosen, order = order[:size], order[size:]
            for idx, text in zip(
                chosen, self._batch([ids[idx] for idx in chosen], most), strict=True
            ):
                out[idx] = text
        return out

    @torch.inference_mode()
    def _batch(self, ids: list[list[int]], most: int) -> list[str]:
        padded = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)
        room = min(most, self.model.config.max_position_embeddings - padded["input_ids"].shape[1])
        found = self.model.generate(
            input_ids=padded["input_ids"],
            attention_mask=padded["attention_mask"],
            max_new_tokens=room,
            do_sample=False,
        )
        replies = found[:, padded["input_ids"].shape[1] :]
        return [self.tokenizer.decode(reply, skip_special_tokens=True) for reply in replies]

    @torch.inference_mode()
    def agreement(
        self, other: Generator, prompts: list[str], replies: list[str]
    ) -> tuple[int, int]:
        """(tokens of the replies that the other model's greedy choice equals, all tokens)."""
        same = total = 0
        for text, reply in zip(prompts, replies, strict=True):
            before = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            after = self.tokenizer(reply + "<|im_end|>", add_special_tokens=False)["input_ids"]
            tokens = torch.tensor([before + after], device=self.device)
            guess = other.model(tokens).logits[0, len(before) - 1 : -1].argmax(-1)
            same += int((guess == tokens[0, len(before) :]).sum())
            total += len(after)
        return same, total
