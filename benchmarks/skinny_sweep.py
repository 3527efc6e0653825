"""One-row products beside cuBLAS, over launch variants: `python -m benchmarks.kernels skinny`."""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
import torch.nn.functional as F

from benchmarks.kernel_scenes import COLD_BYTES, CUDA, timed
from engine.kernels.skinny_gemm import skinny_gemm
from engine.kernels.tuning import SkinnyLaunch

MATRICES = {  # (outputs, inputs) of one layer
    "qwen3-0.6b": ((4096, 1024), (1024, 2048), (6144, 1024), (1024, 3072), (151936, 1024)),
    "llama-8b": ((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336), (128256, 4096)),
    "qwen2.5-0.5b": ((1152, 896), (896, 896), (9728, 896), (896, 4864), (151936, 896)),
}
VARIANTS = [
    SkinnyLaunch(block_n=n, block_k=k, warps=w)
    for n, k, w in product((1, 2, 4, 8, 16), (256, 512, 1024), (2, 4, 8))
    if 512 <= n * k <= 8192 and n * k >= 64 * w
]


def skinny() -> None:
    for name, matrices in MATRICES.items():
        print(f"\none row, {name}\n       N x K       cuBLAS us   ours us  TB/s   best launch")
        for num_out, width in matrices:
            count = min(32, max(2, COLD_BYTES // (num_out * width * 2)))
            weights = [
                torch.randn(num_out, width, device=CUDA, dtype=torch.bfloat16) for _ in range(count)
            ]
            x = torch.randn(1, width, device=CUDA, dtype=torch.bfloat16)
            theirs = timed([partial(F.linear, x, w) for w in weights])
            found: list[tuple[float, SkinnyLaunch]] = []
            for launch in VARIANTS:
                if launch.block_k <= width:
                    span = timed([partial(skinny_gemm, x, w, None, launch) for w in weights])
                    found.append((span, launch))
            best, launch = min(found, key=lambda pair: pair[0])
            chosen = timed([partial(skinny_gemm, x, w, None) for w in weights])
            print(
                f"{num_out:>8} x {width:<6}{theirs * 1e6:>12.1f}{best * 1e6:>10.1f}"
                f"{num_out * width * 2 / best / 1e12:>6.2f}   n {launch.block_n}, k "
                f"{launch.block_k}, warps {launch.warps}; by default {chosen * 1e6:.1f}",
                flush=True,
            )
