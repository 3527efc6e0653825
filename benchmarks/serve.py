"""Our endpoint on a GPU under streamed load: `python -m benchmarks.serve [SHAPE] [--levels 1,128]`.

`serve` runs as a user starts it, with a key that has limits, usage on and prefix cache off, random
bfloat16 weights and a tokenizer of the vocabulary. One JSON line for each number of streams:
512 tokens in, 128 out, greedy; client processes share the streams so that none is busy.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmarks.gpu_workloads import SHAPES, write_config
from benchmarks.load import quantile
from benchmarks.serve_client import Shard
from benchmarks.web_rows import limited_key
from tests.served import ROOT, Served, serving

TOKENS_IN, TOKENS_OUT, PER = 512, 128, 4
STREAMS_A_CLIENT = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--levels", default="1,32,128,256")
    parser.add_argument("--web", default="4", help="web processes")
    parser.add_argument("--device", default="cuda")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = write_config(asked.shape, Path(place) / "model")
        write_tokenizer(folder, SHAPES[asked.shape]["vocab_size"])
        flags = [str(folder), "--load-format", "dummy", "--device", asked.device]
        flags += [
            "--max-model-len",
            "8192",
            "--max-num-seqs",
            "256",
            "--api-server-count",
            asked.web,
        ]
        flags += ["--no-enable-prefix-caching", "--dtype", "bfloat16"]
        began = time.perf_counter()
        with serving(Path(place) / "home", *flags) as served:
            model, key = served.get("/v1/models")["data"][0]["id"], limited_key(served)
            print(json.dumps({"ready_s": round(time.perf_counter() - began, 1)}), flush=True)
            level(served, model, key, streams=32, per=2, seed=999)
            for streams in map(int, asked.levels.split(",")):
                found = level(served, model, key, streams=streams, per=8 if streams == 1 else PER)
                say = {"server": "pagoda", "shape": asked.shape, "web": int(asked.web)}
                print(json.dumps(say | found), flush=True)


def level(
    served: Served, model: str, key: str, *, streams: int, per: int, seed: int = 0
) -> dict[str, Any]:
    clients = -(-streams // STREAMS_A_CLIENT)
    shares = [streams // clients + (i < streams % clients) for i in range(clients)]
    start = time.time() + 2.0 + 0.01 * streams
    shards = [
        Shard(
            port=served.port, key=key, model=model, streams=share, per=per, tokens_in=TOKENS_IN,
            tokens_out=TOKENS_OUT, seed=seed + 1000 * streams + i, start=start,
        )
        for i, share in enumerate(shares)
    ]  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.serve_client"]
    running = [
        subprocess.Popen([*command, shard.dumps()], stdout=subprocess.PIPE, cwd=ROOT)
        for shard in shards
    ]
    found = [json.loads(process.communicate()[0]) for process in running]
    times = [tuple(pair) for one in found for pair in one["times"]]
    wall = max(one["wall"] for one in found)
    first = [1000 * begin for begin, _ in times]
    each = [1000 * (end - begin) / (TOKENS_OUT - 1) for begin, end in times]
    return {
        "concurrency": streams,
        "requests": len(times),
        "seconds": round(wall, 2),
        "client_cpu": round(max(one["cpu"] for one in found), 2),
        "out_tok_s": round(len(times) * TOKENS_OUT / wall, 1),
        "ttft_ms_p50": round(quantile(first, 0.5), 2),
        "ttft_ms_p99": round(quantile(first, 0.99), 2),
        "tpot_ms_p50": round(quantile(each, 0.5), 3),
        "tpot_ms_p99": round(quantile(each, 0.99), 3),
    }


def write_tokenizer(folder: Path, vocab: int) -> None:
    """A byte-level BPE of Python's own library, filled up to the model's vocabulary."""
    files = sorted(map(str, Path(sysconfig.get_paths()["stdlib"]).glob("*.py")))[:150]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train(files, trainers.BpeTrainer(
        vocab_size=30000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    ))  # fmt: skip
    found = json.loads(made.to_str())
    known = found["model"]["vocab"]
    known |= {f"Ġt{i}": i for i in range(len(known), vocab)}
    (folder / "tokenizer.json").write_text(json.dumps(found))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": special[0]})
    )


if __name__ == "__main__":
    main()
