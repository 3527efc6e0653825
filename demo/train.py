"""Trains the demo model, its draft and its adapters on one GPU (`python -m demo.train --help`).

Phases: model, draft, pirate, json-only, terse. Each ends with a checkpoint in the work folder, and
the two long ones also leave one now and then; a second start goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from demo.corpus.chat import END, END_OF_TEXT
from demo.data import TOKENIZER, Batches
from demo.export import read_model, write_adapter, write_model
from demo.model import SIZES, Decoder, Linear, Packed
from demo.muon import Muon
from demo.tokenizer import write_tokenizer

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
WARMUP_STEPS = 200
DECAY_SHARE = 0.45  # of the steps, at the end, linear to zero
EMBED_RATE, MATRIX_RATE, LORA_RATE = 4e-3, 0.02, 2e-3
SAVE_EVERY_S = 120.0


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's LoRA settings."""

    rank: int
    alpha: int
    modules: tuple[str, ...]
    steps: int


ADAPTERS = {
    "pirate": Adapter(8, 16, ATTENTION + MLP, 500),
    "json-only": Adapter(16, 32, (*ATTENTION, "down_proj"), 900),
    "terse": Adapter(4, 8, MLP, 900),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run; the defaults are those of the committed model."""

    steps: int = 12_500
    draft_steps: int = 3_000
    adapter_steps: int = 0  # 0: each adapter's own number
    batch_tokens: int = 65_536
    adapter_tokens: int = 32_768
    shards: int = 80
    workers: int = 15
    seed: int = 1
    device: str = "cuda"


class Log:
    """Losses over steps and time, kept as JSON lines."""

    def __init__(self, path: Path, phase: str) -> None:
        self.path, self.phase, self.began = path, phase, time.monotonic()

    def write(self, step: int, loss: float, tokens: int) -> None:
        """One point; printed as well."""
        point = {
            "phase": self.phase,
            "step": step,
            "loss": round(loss, 5),
            "s": round(time.monotonic() - self.began, 1),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(point) + "\n")
        print(
            f"{self.phase} step {step} loss {loss:.4f} "
            f"{point['s']} s {tokens / max(1e-9, point['s']):.0f} tokens/s",
            flush=True,
        )  # type: ignore[operator]


def rate_share(step: int, steps: int) -> float:
    """Learning rate over its peak: warm-up, flat, linear decay to zero."""
    decay_from = steps * (1 - DECAY_SHARE)
    return min(
        1.0, (step + 1) / min(WARMUP_STEPS, steps / 10), (steps - step) / (steps - decay_from)
    )


def _autocast(device: str) -> torch.autocast:
    return torch.autocast(device, dtype=torch.bfloat16)


class Trainer:
    """One long phase: a whole decoder, Muon for its matrices and Adam for the rest."""

    def __init__(self, name: str, plan: Plan, work: Path) -> None:
        torch.manual_seed(plan.seed)
        self.name, self.plan, self.work = name, plan, work
        self.decoder = Decoder(SIZES[name]).to(plan.device)
        matrices = [
            w for n, w in self.decoder.named_parameters() if w.ndim == 2 and "embed" not in n
        ]
        rest = [w for n, w in self.decoder.named_parameters() if w.ndim != 2 or "embed" in n]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(rest, lr=EMBED_RATE, betas=(0.9, 0.95), weight_decay=0.0)
        self.step = 0

    def run(self, steps: int, source: Iterator[Packed]) -> None:
        """Train up to the given step, with checkpoints by time."""
        on_gpu = self.plan.device == "cuda"
        compute = torch.compile(self.decoder.loss, dynamic=False) if on_gpu else self.decoder.loss
        log, first, saved = Log(self.work / "log.jsonl", self.name), self.step, time.monotonic()
        total: Tensor | float = 0.0
        while self.step < steps:
            batch = next(source)
            with _autocast(self.plan.device):
                loss = compute(batch)
            loss.backward()
            self._update(rate_share(self.step, steps))
            total, self.step = total + loss.detach(), self.step + 1
            if self.step % 100 == 0 or self.step == steps:
                log.write(
                    self.step,
                    float(total) / ((self.step - 1) % 100 + 1),
                    (self.step - first) * self.plan.batch_tokens,
                )
                total = 0.0
                if time.monotonic() - saved > SAVE_EVERY_S:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def _update(self, share: float) -> None:
        nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        self.muon.step(MATRIX_RATE * share)
        self.adam.param_groups[0]["lr"] = EMBED_RATE * share
        self.adam.step()
        self.decoder.zero_grad(set_to_none=True)

    def _state(self) -> dict[str, Tensor]:
        state = {f"model.{k}": v for k, v in self.decoder.state_dict().items()}
        state |= {f"muon.{i}": m for i, m in enumerate(self.muon.state())}
        for idx, entry in self.adam.state_dict()["state"].items():
            state |= {f"adam.{idx}.{k}": torch.as_tensor(v) for k, v in entry.items()}
        return {**state, "step": torch.tensor(self.step)}

    def save(self) -> None:
        """Write the checkpoint; a crash while writing leaves the old one."""
        path = self.work / f"{self.name}.safetensors"
        save_file(
            {k: v.detach().cpu().contiguous() for k, v in self._state().items()},
            path.with_suffix(".new"),
        )
        path.with_suffix(".new").replace(path)

    def resume(self) -> None:
        """Take up the checkpoint, if there is one."""
        path = self.work / f"{self.name}.safetensors"
        if not path.exists():
            return
        state = load_file(path, device=self.plan.device)
        self.decoder.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model.")})
        for idx, momentum in enumerate(self.muon.state()):
            momentum.copy_(state[f"muon.{idx}"])
        kept = self.adam.state_dict()
        for key in (k for k in state if k.startswith("adam.")):
            _, idx, field = key.split(".")
            kept["state"].setdefault(int(idx), {})[field] = (
                state[key].cpu() if field == "step" else state[key]
            )
        self.adam.load_state_dict(kept)
        self.step = int(state["step"])


def train_adapter(name: str, decoder: Decoder, plan: Plan, work: Path) -> None:
    """Train one adapter on a frozen decoder, which carries it afterwards."""
    torch.manual_seed(plan.seed)
    adapter = ADAPTERS[name]
    decoder.requires_grad_(False)
    for path, module in decoder.named_modules():
        if isinstance(module, Linear) and path.rsplit(".", 1)[-1] in adapter.modules:
            module.add_lora(adapter.rank, adapter.alpha)
    weights = [w for w in decoder.parameters() if w.requires_grad]
    adam = torch.optim.AdamW(weights, lr=LORA_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    source = Batches(plan.seed, max(1, plan.shards // 2), plan.workers, name).batches(
        plan.adapter_tokens, plan.device
    )
    log = Log(work / "log.jsonl", name)
    steps = plan.adapter_steps or adapter.steps
    for step in range(steps):
        adam.param_groups[0]["lr"] = LORA_RATE * rate_share(step, steps)
        with _autocast(plan.device):
            loss = decoder.loss(next(source))
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        if (step + 1) % 50 == 0:
            log.write(step + 1, float(loss.detach()), (step + 1) * plan.adapter_tokens)


def main() -> None:
    """Run the phases that are wanted and write what they give."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of checkpoints and the log"
    )
    parser.add_argument(
        "--phases",
        nargs="+",
        default=["demo", "draft", *ADAPTERS],
        choices=["demo", "draft", *ADAPTERS],
    )
    for field, default in ((f, getattr(Plan(), f)) for f in Plan.__dataclass_fields__):
        parser.add_argument(f"--{field.replace('_', '-')}", type=type(default), default=default)
    options = parser.parse_args()
    plan = Plan(**{field: getattr(options, field) for field in Plan.__dataclass_fields__})
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("high")
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    eos = [tokenizer.token_to_id(END), tokenizer.token_to_id(END_OF_TEXT)]
    long = [phase for phase in options.phases if phase in SIZES]
    source = (
        Batches(plan.seed, plan.shards, plan.workers).batches(plan.batch_tokens, plan.device)
        if long
        else iter(())
    )
    for name in long:
        trainer = Trainer(name, plan, options.work)
        trainer.resume()
        trainer.run(plan.steps if name == "demo" else plan.draft_steps, source)
        folder = options.out / ("pagoda-demo" if name == "demo" else "pagoda-demo-draft")
        write_model(trainer.decoder, name, folder, eos, eos[1])
        write_tokenizer(tokenizer, folder)
    for name in (phase for phase in options.phases if phase in ADAPTERS):
        # From the folder, so that an adapter fits the rounded weights it is served with.
        decoder = read_model("demo", options.out / "pagoda-demo", plan.device)
        train_adapter(name, decoder, plan, options.work)
        settings = ADAPTERS[name]
        write_adapter(
            decoder,
            options.out / "adapters" / name,
            rank=settings.rank,
            alpha=settings.alpha,
            modules=settings.modules,
        )


if __name__ == "__main__":
    main()
