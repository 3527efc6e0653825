"""Trains the demo model, its draft and its adapters on one GPU (`python -m demo.train --help`).

Phases: model, draft, pirate, json-only, terse. A tokenizer is trained first, unless the output
folder has one. The two long phases leave checkpoints in the work folder, now and then, at their
end and when `--seconds` are over; a second start goes on from there with the batches that come
next. With `--model-seconds` the model's learning rate follows the clock where that is ahead of the
steps, so that a slow machine takes fewer steps and still ends at a rate of zero. An adapter takes
about a minute; one that is done is not trained again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from demo.corpus.chat import END, END_OF_TEXT
from demo.data import SHARD_EXAMPLES, Batches, Source
from demo.export import read_model, write_adapter, write_model
from demo.model import SIZES, Decoder, Linear, Packed
from demo.muon import Muon
from demo.tokenizer import token_id, train_tokenizer, write_tokenizer

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
    "json-only": Adapter(16, 32, (*ATTENTION, "down_proj"), 1400),
    "terse": Adapter(4, 8, MLP, 1400),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run. The committed model had more steps and a clock: demo/README.md."""

    steps: int = 12_500
    draft_steps: int = 3_000
    adapter_steps: int = 0  # 0: each adapter's own number
    batch_tokens: int = 65_536
    adapter_tokens: int = 32_768
    shards: int = 160
    shard_examples: int = SHARD_EXAMPLES
    workers: int = 12
    tokenizer_examples: int = 20_000
    seed: int = 1
    seconds: float = 0.0  # of the whole run, after which it saves and stops; 0: no limit
    model_seconds: float = 0.0  # in which the model's decay ends, all starts together; 0: by steps
    device: str = "cuda"


class Log:
    """Losses over steps and time, kept as JSON lines."""

    def __init__(self, path: Path, phase: str) -> None:
        self.path, self.phase, self.began = path, phase, time.monotonic()

    def write(self, step: int, loss: float, tokens: int) -> None:
        """One point; printed as well."""
        seconds = time.monotonic() - self.began
        point = {
            "phase": self.phase,
            "step": step,
            "loss": round(loss, 5),
            "s": round(seconds, 1),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(point) + "\n")
        print(
            f"{self.phase} step {step} loss {loss:.4f} "
            f"{seconds:.1f} s {tokens / max(1e-9, seconds):.0f} tokens/s",
            flush=True,
        )


def rate_share(step: int, steps: int, clock: float = 0.0) -> float:
    """Learning rate over its peak: warm-up, flat, linear decay to zero.

    `clock` is the share of the time that is over; the decay follows it where it is ahead of the
    steps.
    """
    left = 1 - max(step / steps, clock)
    return max(0.0, min(1.0, (step + 1) / min(WARMUP_STEPS, steps / 10), left / DECAY_SHARE))


def fade_prompts(batch: Packed, share: float) -> Packed:
    """The batch with prompts weighing less by the given share; replies and padding stay."""
    weights_T = batch.weights_T
    return replace(batch, weights_T=torch.where(weights_T < 1, weights_T * share, weights_T))


def pass_over(source: Iterator[object], count: int) -> None:
    """Drop batches that an earlier start has trained on."""
    next(islice(source, count, count), None)


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
        self.began, self.limit = time.monotonic(), math.inf  # when its time began, and its seconds

    def run(self, steps: int, source: Iterator[Packed], until: float = math.inf) -> None:
        """Train up to the given step or to the end of its time, with checkpoints now and then.

        Raises `SystemExit`, with all saved, where the clock passes `until`.
        """
        on_gpu = self.plan.device == "cuda"
        compute = torch.compile(self.decoder.loss, dynamic=False) if on_gpu else self.decoder.loss
        log, first, saved = Log(self.work / "log.jsonl", self.name), self.step, time.monotonic()
        total: Tensor | float = 0.0
        done = self.step >= steps
        while not done:
            share = rate_share(self.step, steps, self.spent() / self.limit)
            batch = fade_prompts(next(source), share)
            with _autocast(self.plan.device):
                loss = compute(batch)
            torch.autograd.backward(loss)
            self._update(share)
            total, self.step = total + loss.detach(), self.step + 1
            done = self.step >= steps or self.spent() >= self.limit
            if self.step % 100 == 0 or done:
                log.write(
                    self.step,
                    float(total) / ((self.step - 1) % 100 + 1),
                    (self.step - first) * self.plan.batch_tokens,
                )
                total = 0.0
                if time.monotonic() > until and not done:
                    self.save()
                    raise SystemExit(f"Time is over at step {self.step} of {steps}; start again.")
                if time.monotonic() - saved > SAVE_EVERY_S:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def spent(self) -> float:
        """Seconds of training so far, those of earlier starts with it."""
        return time.monotonic() - self.began

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
        clock = {"step": torch.tensor(self.step), "spent": torch.tensor(self.spent())}
        return {**state, **clock}

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
            _, number, field = key.split(".")
            kept["state"].setdefault(int(number), {})[field] = (
                state[key].cpu() if field == "step" else state[key]
            )
        self.adam.load_state_dict(kept)
        self.step = int(state["step"])
        self.began -= float(state["spent"])


def train_adapter(name: str, decoder: Decoder, plan: Plan, source: Source, work: Path) -> None:
    """Train one adapter on a frozen decoder, which carries it afterwards."""
    torch.manual_seed(plan.seed)
    adapter = ADAPTERS[name]
    decoder.requires_grad_(False)
    for path, module in decoder.named_modules():
        if isinstance(module, Linear) and path.rsplit(".", 1)[-1] in adapter.modules:
            module.add_lora(adapter.rank, adapter.alpha)
    weights = [w for w in decoder.parameters() if w.requires_grad]
    adam = torch.optim.AdamW(weights, lr=LORA_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    batches = Batches(source, max(1, plan.shards // 2), plan.workers)
    log = Log(work / "log.jsonl", name)
    steps = plan.adapter_steps or adapter.steps
    with closing(batches.spans(plan.adapter_tokens)) as spans:
        packed = batches.packed(spans, plan.adapter_tokens, plan.device)
        for step in range(steps):
            adam.param_groups[0]["lr"] = LORA_RATE * rate_share(step, steps)
            with _autocast(plan.device):
                loss = decoder.loss(next(packed))
            torch.autograd.backward(loss)
            adam.step()
            adam.zero_grad(set_to_none=True)
            if (step + 1) % 50 == 0:
                log.write(step + 1, float(loss.detach()), (step + 1) * plan.adapter_tokens)


def train_long(
    name: str, plan: Plan, source: Source, options: argparse.Namespace, until: float
) -> None:
    """Train model or draft; both read the same stream of batches from its start."""
    batches = Batches(source, plan.shards, plan.workers)
    tokenizer = Tokenizer.from_file(str(source.tokenizer))
    eos = [token_id(tokenizer, END), token_id(tokenizer, END_OF_TEXT)]
    trainer = Trainer(name, plan, options.work)
    trainer.resume()
    if name == "demo" and plan.model_seconds:
        trainer.limit = plan.model_seconds
    folder = options.out / ("pagoda-demo" if name == "demo" else "pagoda-demo-draft")
    steps = plan.steps if name == "demo" else plan.draft_steps
    if trainer.step < steps and trainer.spent() < trainer.limit:
        with closing(batches.spans(plan.batch_tokens)) as spans:
            pass_over(spans, trainer.step)
            trainer.run(steps, batches.packed(spans, plan.batch_tokens, plan.device), until)
    write_model(trainer.decoder, name, folder, eos, eos[1])
    write_tokenizer(tokenizer, folder)


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
    until = time.monotonic() + (plan.seconds or math.inf)
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("high")
    folder = options.out / "pagoda-demo"
    if not (folder / "tokenizer.json").exists():
        write_tokenizer(train_tokenizer(plan.seed, plan.tokenizer_examples), folder)
    source = Source(
        plan.seed, folder / "tokenizer.json", options.work / "shards", plan.shard_examples
    )
    for name in (phase for phase in SIZES if phase in options.phases):
        train_long(name, plan, source, options, until)
    for name in (phase for phase in options.phases if phase in ADAPTERS):
        done = options.work / f"{name}.done"
        if done.exists():
            continue
        if time.monotonic() > until:
            raise SystemExit(f"Time is over before {name}; start again.")
        # From the folder, so that an adapter fits the rounded weights it is served with.
        decoder = read_model("demo", folder, plan.device)
        train_adapter(name, decoder, plan, replace(source, adapter=name), options.work)
        settings = ADAPTERS[name]
        write_adapter(
            decoder,
            options.out / "adapters" / name,
            rank=settings.rank,
            alpha=settings.alpha,
            modules=settings.modules,
        )
        done.touch()


if __name__ == "__main__":
    main()
