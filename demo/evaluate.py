"""Scores the demo model, its adapters and its draft: `python -m demo.evaluate --out FOLDER`.

Everything is greedy and in float32, on prompts of the held-out side of the split; 100 prompts
written by hand, and some that were written after training, are scored apart. Results are kept per
part, so a second start goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import torch

from demo.corpus.adapted import TASKS, adapted
from demo.corpus.chat import START, Answer, parse, prompt, render
from demo.corpus.conversation import held_out
from demo.corpus.core import Example, Json, Message, Split
from demo.generate import Generator
from demo.scoring import fulfils, is_json_answer, is_pirate, is_terse, meets, repeated_share
from demo.split_check import check, held_keys

HERE = Path(__file__).parent
GOALS = {
    "arithmetic": 0.97,
    "lists": 0.95,
    "facts": 0.95,
    "json": 0.97,
    "tool call": 0.95,
    "tool result": 0.95,
    "system prompt": 0.95,
    "story": 0.95,
    "small talk": 0.95,
    "talk": 0.95,
    "thinking": 0.95,
    "pagoda": 0.95,
    "unknown": 0.95,
    "echo": 0.95,
    "word problem": 0.95,
    "reading": 0.95,
    "records": 0.97,
    "by hand": 0.70,
    "by hand, second set": 0.70,
    "by hand, unseen": 0.70,
    "draft": 0.70,
    **{f"{name} form": 0.95 for name in ("pirate", "json-only", "terse")},
    **{f"{name} arithmetic": 0.85 for name in ("pirate", "json-only", "terse")},
}
TASK_NAMES = tuple(GOALS)[:17]
FORMS: dict[str, Callable[[str], bool]] = {
    "pirate": is_pirate,
    "json-only": is_json_answer,
    "terse": is_terse,
}
BY_HAND = {
    "by hand": "prompts.jsonl",
    "by hand, second set": "prompts_second.jsonl",
    "by hand, unseen": "prompts_unseen.jsonl",
}
MISSES_SHOWN = 5
PARTS = ("tasks", "hand", "adapters", "draft", "split")


class Report:
    """Results by part, written after each one.

    Raises `SystemExit` where the folder holds figures of another seed or count or of other
    weights: they would be taken for finished parts of this run.
    """

    def __init__(self, folder: Path, settings: dict[str, Json], device: str = "cpu") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.device = device
        self.path = folder / "evaluation.json"
        self.parts: dict[str, Json] = (
            json.loads(self.path.read_text()) if self.path.exists() else {}
        )
        if self.parts.setdefault("settings", settings) != settings:
            raise SystemExit(
                f"{self.path} holds figures of {self.parts['settings']}, not of {settings}: "
                "take another --out folder or delete the file."
            )

    def add(self, name: str, right: int, total: int, **more: Json) -> None:
        """Keep and print one part."""
        self.parts[name] = {
            "right": right,
            "total": total,
            "share": round(right / total, 4),
            "goal": GOALS[name],
            "device": self.device,
            **more,
        }
        self.save()
        print(f"{name}: {right}/{total} = {right / total:.1%} (goal {GOALS[name]:.0%})", flush=True)

    def save(self) -> None:
        """Write all parts; a run broken off leaves the old file or the new one."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.parts, indent=1, ensure_ascii=False) + "\n")
        new.replace(self.path)

    def missed(self) -> list[str]:
        """The parts that are below their goal."""
        return [
            n for n, p in self.parts.items() if n in GOALS and p["right"] / p["total"] < p["goal"]
        ]

    def table(self) -> str:
        """All parts as a Markdown table."""
        rows = [
            f"| {n} | {p['right']} / {p['total']} | {p['share']:.1%} | {p['goal']:.0%} |"
            for n, p in self.parts.items()
            if n in GOALS
        ]
        return "\n".join(["| part | right | share | goal |", "| --- | --- | --- | --- |", *rows])


def _misses(examples: list[Example], replies: list[str]) -> list[Json]:
    wrong = [(e, r) for e, r in zip(examples, replies, strict=True) if not fulfils(e, r)]
    return [
        {"user": e.messages[-2]["content"][-300:], "expect": e.expect, "reply": r[:300]}
        for e, r in wrong[:MISSES_SHOWN]
    ]


def score_tasks(
    report: Report, base: Generator, tasks: tuple[str, ...], seed: int, count: int
) -> None:
    """Held-out prompts of every task."""
    for task in (t for t in tasks if t not in report.parts):
        examples = held_out(seed, task, count)
        replies = base.replies([prompt(e) for e in examples])
        right = sum(fulfils(e, r) for e, r in zip(examples, replies, strict=True))
        more: dict[str, Json] = {"misses": _misses(examples, replies)}
        if task == "story":
            more["samples"] = [
                {"user": e.messages[-2]["content"], "reply": r}
                for e, r in list(zip(examples, replies, strict=True))[:5]
            ]
            more["mean repeated share"] = round(sum(map(repeated_share, replies)) / len(replies), 4)
        report.add(task, right, len(examples), **more)


def hand_written(part: str) -> list[Json]:
    """The prompts of a part by hand."""
    return [json.loads(line) for line in (HERE / BY_HAND[part]).read_text().splitlines()]


def score_by_hand(report: Report, base: Generator, part: str) -> None:
    """Prompts in other words than the generator's."""
    if part in report.parts:
        return
    prompts = hand_written(part)
    texts = []
    for entry in prompts:
        system: list[Message] = (
            [{"role": "system", "content": entry["system"]}] if "system" in entry else []
        )
        texts.append(
            render([*system, {"role": "user", "content": entry["user"]}], entry.get("tools", []))
            + f"{START}assistant\n"
        )
    replies = base.replies(texts, 200)
    right: dict[str, list[bool]] = {}
    misses = []
    for entry, reply in zip(prompts, replies, strict=True):
        good = meets(entry["expect"], reply)
        right.setdefault(entry["task"], []).append(good)
        if not good:
            misses.append({"user": entry["user"], "expect": entry["expect"], "reply": reply[:200]})
    by_task = {task: f"{sum(found)}/{len(found)}" for task, found in right.items()}
    report.add(part, sum(map(sum, right.values())), len(prompts), by_task=by_task, misses=misses)


def _adapter_number(name: str, answer: Answer, wanted: int) -> bool:
    if name != "json-only":
        return meets({"kind": "number", "value": wanted}, answer.content)
    return is_json_answer(answer.content) and json.loads(answer.content)["answer"] == wanted


def form_examples(name: str, seed: int, count: int) -> list[Example]:
    """Held-out conversations that show an adapter's form."""
    # Where the base replies with one sentence already, terse has nothing to change.
    tasks = (
        ("small talk", "pagoda", "unknown", "story")
        if name == "terse"
        else tuple(t for t in dict.fromkeys(TASKS) if t != "arithmetic")
    )
    rng = Random(f"adapters/{seed}")
    return [adapted(rng, Split.HELD, name, tasks[idx % len(tasks)]) for idx in range(count)]


def draft_examples(seed: int, count: int) -> list[Example]:
    """Held-out conversations of all tasks for the draft."""
    each = max(1, count // len(TASK_NAMES) + 1)
    return [e for task in TASK_NAMES for e in held_out(seed + 2, task, each)]


def scored(seed: int, count: int) -> Iterator[Example]:
    """Every generated example that any part scores."""
    for task in TASK_NAMES:
        yield from held_out(seed, task, count)
    for name in FORMS:
        yield from form_examples(name, seed, count)
    yield from held_out(seed + 1, "arithmetic", count)
    yield from draft_examples(seed, count)


def score_adapter(
    report: Report, model: Path, folder: Path, name: str, base: Generator, seed: int, count: int
) -> None:
    """Whether replies have the adapter's form and differ from the base's, and its arithmetic."""
    if f"{name} arithmetic" in report.parts:
        return
    examples = form_examples(name, seed, count)
    with_adapter = Generator(model, base.device, folder / name)
    texts = [prompt(e) for e in examples]
    plain, changed = base.replies(texts), with_adapter.replies(texts)
    good = [FORMS[name](c) and c != p for c, p in zip(changed, plain, strict=True)]
    misses = [
        {"user": e.messages[-2]["content"][-200:], "reply": c[:300]}
        for e, c, g in zip(examples, changed, good, strict=True)
        if not g
    ]
    samples = [
        {"user": e.messages[-2]["content"][-200:], "base": p[:300], "adapter": c[:300]}
        for e, p, c in list(zip(examples, plain, changed, strict=True))[:6]
    ]
    report.add(f"{name} form", sum(good), count, misses=misses[:MISSES_SHOWN], samples=samples)
    sums = held_out(seed + 1, "arithmetic", count)
    replies = with_adapter.replies([prompt(e) for e in sums])
    right = sum(
        _adapter_number(name, parse(r), e.expect["value"])
        for e, r in zip(sums, replies, strict=True)
    )
    report.add(f"{name} arithmetic", right, count)


def score_draft(report: Report, base: Generator, draft: Generator, seed: int, count: int) -> None:
    """Greedy tokens of the base model that the draft would have guessed, over all tasks."""
    if "draft" in report.parts:
        return
    texts = [prompt(e) for e in draft_examples(seed, count)]
    same, total = base.agreement(draft, texts, base.replies(texts))
    report.add("draft", same, total)


def check_split(
    report: Report, seed: int, count: int, train_seed: int, shards: int, examples: int, workers: int
) -> None:
    """Assert that nothing held out and no prompt by hand occurs in the training text."""
    if report.parts.get("split", {}).get("training examples") == shards * examples:
        return
    keys = held_keys(scored(seed, count))
    by_hand = {entry["user"].strip().lower() for part in BY_HAND for entry in hand_written(part)}
    read, found = check(train_seed, shards, examples, keys, by_hand, workers)
    if found:
        kinds = ", ".join(f"{count} × {leak}" for leak, count in Counter(found).most_common(20))
        raise SystemExit(f"{len(found)} leaks in {read} training examples: {kinds}")
    report.parts["split"] = {
        "training examples": read,
        "pairs": len(keys.pairs),
        "names": len(keys.names),
        "shapes": len(keys.shapes),
        "paragraphs": len(keys.paragraphs),
        "prompts by hand": len(by_hand),
        "leaks": 0,
    }
    report.save()
    print(f"split: no leak in {read} training examples", flush=True)


def digest(demo: Path) -> str:
    """Short name of all weights below a folder."""
    found = hashlib.sha256()
    for path in sorted(demo.rglob("*.safetensors")):
        found.update(
            str(path.relative_to(demo)).encode() + hashlib.sha256(path.read_bytes()).digest()
        )
    return found.hexdigest()[:12]


def main() -> None:
    """Run the parts that are wanted and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--demo",
        type=Path,
        default=HERE,
        help="folder with pagoda-demo, pagoda-demo-draft and adapters",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of evaluation.json")
    parser.add_argument(
        "--parts",
        nargs="+",
        default=list(PARTS),
        choices=[*PARTS, *TASK_NAMES],
        metavar="PART",
        help=f"{', '.join(PARTS)}, or tasks by name: {', '.join(TASK_NAMES)} (default: all)",
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=200, help="prompts a task (default: 200)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--train-seed", type=int, default=1)
    parser.add_argument("--train-shards", type=int, default=160)
    parser.add_argument("--shard-examples", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.count < 1:
        parser.error(f"--count is {options.count}, but a task needs at least one prompt.")
    weights = options.demo / "pagoda-demo" / "model.safetensors"
    if not weights.is_file():
        parser.error(f"--demo {options.demo} has no pagoda-demo/model.safetensors to score.")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(
            f"--device {options.device}: torch finds no GPU here; leave it out for the CPU."
        )
    torch.set_num_threads(options.threads)
    settings = {
        "seed": options.seed,
        "count": options.count,
        "train seed": options.train_seed,
        "weights": digest(options.demo),
    }
    report = Report(options.out, settings, options.device)
    model = options.demo / "pagoda-demo"
    base = Generator(model, options.device)
    parts = options.parts
    if "hand" in parts:
        for part in BY_HAND:
            score_by_hand(report, base, part)
    score_tasks(
        report,
        base,
        TASK_NAMES if "tasks" in parts else tuple(p for p in parts if p in TASK_NAMES),
        options.seed,
        options.count,
    )
    if "adapters" in parts:
        for name in FORMS:
            score_adapter(
                report, model, options.demo / "adapters", name, base, options.seed, options.count
            )
    if "draft" in parts:
        score_draft(
            report,
            base,
            Generator(options.demo / "pagoda-demo-draft", options.device),
            options.seed,
            options.count,
        )
    if "split" in parts:
        check_split(
            report,
            options.seed,
            options.count,
            options.train_seed,
            options.train_shards,
            options.shard_examples,
            options.workers,
        )
    print(report.table())
    if report.missed():
        raise SystemExit(f"Below the goal: {', '.join(report.missed())}.")


if __name__ == "__main__":
    main()
